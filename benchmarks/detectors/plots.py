"""Plots of the page as SVG: delays beside the oracle, and delays of everybody at equally many false alarms."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.detectors.delays import DelayCell
from benchmarks.detectors.equal import Compared
from benchmarks.detectors.equal_table import medians_at_ten_thousand

WIDTH, HEIGHT, LEFT, TOP, LEGEND = 900, 420, 70, 40, 330
COLOURS = ("#1b6ca8", "#d1495b", "#3c896d", "#edae49", "#7a5195", "#555555", "#00a6a6", "#b0578d", "#8d6b4f",
           "#2f4b7c", "#ff7c43", "#a05195", "#665191", "#5b8c5a", "#c2185b", "#0b6623", "#b8860b", "#4682b4",
           "#800000", "#778899")  # fmt: skip

Points = Sequence[tuple[float, float]]


def write_plots(folder: Path, cells: Sequence[DelayCell], found: Sequence[Compared]) -> list[Path]:
    """Of the parts that were measured."""
    folder.mkdir(exist_ok=True)
    plots = {"detectors-oracle.svg": _oracle(cells)} if cells else {}
    for compared in found:
        plots["detectors-equal.svg"] = _equal(compared)
    for name, content in plots.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in plots]


def _oracle(cells: Sequence[DelayCell]) -> str:
    at = [cell for cell in cells if cell.change]
    lines = {
        "oracle, knows both rates": _points([(cell.after, cell.oracle.quantile(0.5)) for cell in at]),
        "ours, null known": _points([(cell.after, cell.ours.quantile(0.5)) for cell in at]),
    }
    for pairs in at[0].estimated:
        name = f"ours, null from {pairs:,} pairs and tolerance"
        lines[name] = _points([(cell.after, cell.estimated[pairs].quantile(0.5)) for cell in at])
    return chart("Median delay from 5 % at request 10,000, A = 1e6", lines)


def _equal(found: Compared) -> str:
    lines = {row.name: _points(medians_at_ten_thousand(row)) for row in found.tuned}
    return chart(
        "Median delay at equally many false alarms", {name: line for name, line in lines.items() if line}
    )


def chart(title: str, lines: dict[str, Points]) -> str:
    """Rate after the change across, delay in requests upwards, both logarithmic."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEGEND - LEFT) * math.log(x / xs[0]) / math.log(xs[-1] / xs[0])

    def up(y: float) -> float:
        return HEIGHT - TOP - (HEIGHT - 2 * TOP) * math.log(y / low) / math.log(high / low)

    parts = [_text(LEFT, 22, title, size=15)]
    for x in xs:
        parts += [
            _line(across(x), TOP, across(x), HEIGHT - TOP),
            _text(across(x) - 12, HEIGHT - 20, f"{100 * x:g} %"),
        ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        y = up(10.0**power)
        parts += [_line(LEFT, y, WIDTH - LEGEND, y), _text(8, y + 4, f"{10**power:,}")]
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        corners = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(WIDTH - LEGEND + 12, TOP + 12 + 20 * number, name, colour))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{ground}{"".join(parts)}</svg>\n'


def _points(points: Sequence[tuple[float, float | None]]) -> Points:
    return [(x, y) for x, y in points if y is not None]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, colour: str = "#222222", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
