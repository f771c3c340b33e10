"""Intervals of shares against their bars, one line each: who passes can be seen without reading numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.drawing.charts import whole_percent
from monitor.drawing.markup import NOTHING, Markup, joined
from monitor.drawing.plot import Frame, Span, across_axis, dot, drawing, line, ticks, words
from monitor.drawing.words import percent

WIDTH, ROW, NAMES = 960, 24, 240  # units; NAMES is the room for names on the left
STYLES = {"pass": "certified", "fail": "limit", "inconclusive": "outline"}
POINTS = {"pass": "certified-point", "fail": "alarm", "inconclusive": "bar"}
LONGEST_NAME = 38  # characters that fit there


@dataclass(frozen=True, slots=True)
class IntervalLine:
    """A share with its interval, and the bar that it is held to."""

    name: str
    value: float
    low: float
    high: float
    bar: float | None
    outcome: str
    said: str


def interval_chart(name: str, title: str, lines: Sequence[IntervalLine]) -> Markup:
    """One row a line; the upright mark is the bar."""
    height = 44 + ROW * len(lines)
    frame = Frame(WIDTH, height, _span(lines), (0, len(lines)), left=NAMES, right=24, top=6, bottom=38)
    return drawing(
        name,
        title,
        f"{len(lines)} slices, each with its interval and its bar; the table beneath has the numbers.",
        WIDTH,
        height,
        across_axis(frame, "agreement with the teacher", whole_percent, ticks(frame.x, 6)),
        *(_row(frame, place, one) for place, one in enumerate(lines)),
    )


def _span(lines: Sequence[IntervalLine]) -> Span:
    """From below the least of everything up to 1, in steps of five points."""
    least = min((min(one.low, one.bar or 1.0) for one in lines), default=0.0)
    return max(0.0, int(least * 20 - 0.2) / 20), 1.0


def _row(frame: Frame, place: int, one: IntervalLine) -> Markup:
    y = frame.top + ROW * (place + 0.5)
    x = frame.across(one.value)
    bar = NOTHING
    if one.bar is not None:
        at = frame.across(one.bar)
        bar = line(at, y - ROW / 2 + 3, at, y + ROW / 2 - 3, "bar-mark")
    shown = one.name if len(one.name) <= LONGEST_NAME else f"{one.name[: LONGEST_NAME - 1]}…"
    said = f"{one.name}: {percent(one.value)} ({percent(one.low)} to {percent(one.high)}); {one.said}"
    return joined(
        line(frame.left, y + ROW / 2, frame.width - frame.right, y + ROW / 2, "grid"),
        words(frame.left - 12, y + 4, shown, "end", "note"),
        bar,
        line(frame.across(one.low), y, frame.across(one.high), y, f"span {STYLES[one.outcome]}"),
        dot(x, y, 4.5, POINTS[one.outcome], said),
    )
