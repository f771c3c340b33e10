"""A frame with two axes in SVG: where a value lies, gridlines, ticks and the outline of a chart."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from monitor.drawing.markup import NOTHING, Markup, element, joined, void

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """The plotting area inside a drawing of `width` x `height` units."""

    width: int
    height: int
    x: Span
    y: Span
    left: int = 52
    right: int = 14
    top: int = 12
    bottom: int = 40

    def across(self, value: float) -> float:
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * self.plot_width

    def up(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.top + (1 - min(1.0, max(0.0, share))) * self.plot_height

    @property
    def plot_width(self) -> int:
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> int:
        return self.height - self.top - self.bottom


def drawing(name: str, title: str, description: str, width: int, height: int, *parts: Markup) -> Markup:
    """An SVG image with the words that a screen reader says; `name` is unique on the page."""
    return element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria_labelledby": f"{name}-title {name}-description",
            "class_": "wide" if width > 600 else "slim" if width > 400 else "small",
        },
        element("title", {"id": f"{name}-title"}, title),
        element("desc", {"id": f"{name}-description"}, description),
        *parts,
    )


def ticks(span: Span, most: int) -> list[float]:
    """Round values inside a span, at most so many."""
    raw = (span[1] - span[0]) / most
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(
        step for step in (magnitude, 2 * magnitude, 5 * magnitude, 10 * magnitude) if step >= raw * 0.999
    )
    first = math.ceil(span[0] / step - 1e-9)
    last = math.floor(span[1] / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def up_axis(frame: Frame, label: str, said: Callable[[float], str], most: int = 5) -> Markup:
    return joined(*_up_ticks(frame, said, most), _up_label(frame, label))


def _up_ticks(frame: Frame, said: Callable[[float], str], most: int) -> Iterator[Markup]:
    for value in ticks(frame.y, most):
        y = frame.up(value)
        yield line(frame.left, y, frame.width - frame.right, y, "grid")
        yield words(frame.left - 7, y + 4, said(value), "end")


def _up_label(frame: Frame, label: str) -> Markup:
    middle = frame.top + frame.plot_height / 2
    return element(
        "text",
        {
            "x": 12,
            "y": middle,
            "class_": "axis",
            "text_anchor": "middle",
            "transform": f"rotate(-90 12 {middle:g})",
        },
        label,
    )


def across_axis(frame: Frame, label: str, said: Callable[[float], str], values: Sequence[float]) -> Markup:
    bottom = frame.height - frame.bottom
    marks = [
        joined(line(x, bottom, x, bottom + 4, "outline"), words(x, bottom + 17, said(value), "middle"))
        for value in values
        for x in (frame.across(value),)
    ]
    middle = frame.left + frame.plot_width / 2
    name = words(middle, frame.height - 6, label, "middle", "axis") if label else NOTHING
    return joined(line(frame.left, bottom, frame.width - frame.right, bottom, "outline"), *marks, name)


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return void("line", {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2), "class_": style})


def path(points: Iterable[tuple[float, float]], style: str) -> Markup:
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return void("polyline", {"points": drawn, "class_": style})


def area(points: Iterable[tuple[float, float]], style: str) -> Markup:
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return void("polygon", {"points": drawn, "class_": style})


def box(x: float, y: float, width: float, height: float, style: str, tip: str | None = None) -> Markup:
    given: dict[str, object] = {
        "x": float(x), "y": float(y), "width": float(max(0.0, width)), "height": float(max(0.0, height)),
        "class_": style,
    }  # fmt: skip
    return void("rect", given) if tip is None else element("rect", given, element("title", None, tip))


def dot(x: float, y: float, radius: float, style: str, tip: str | None = None) -> Markup:
    given: dict[str, object] = {"cx": float(x), "cy": float(y), "r": float(radius), "class_": style}
    return void("circle", given) if tip is None else element("circle", given, element("title", None, tip))


def words(x: float, y: float, said: str, anchor: str = "start", style: str | None = None) -> Markup:
    return element("text", {"x": float(x), "y": float(y), "text_anchor": anchor, "class_": style}, said)
