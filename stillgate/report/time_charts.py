"""Charts over time: fidelity with its interval, divergence, and what happened meanwhile."""

import math
from collections.abc import Callable, Iterator, Sequence

from monitor.drawing.charts import round_above, whole_percent
from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.plot import (
    Frame,
    Span,
    across_axis,
    area,
    dot,
    drawing,
    line,
    path,
    up_axis,
    words,
)
from monitor.drawing.words import clock, count, number
from stillgate.report.course import Course, Line, Mark, Point

WIDE = (960, 250)
SLIM = (470, 170)
LEAST_MARK_DISTANCE = 16.0  # between two letters above a chart
Value = Callable[[Point], float]


def fidelity_chart(name: str, title: str, course: Course, lines: Sequence[Line], wide: bool = True) -> Markup:
    """Fidelity by time with its interval, the bar, and what happened."""
    lows = [p.fidelity for one in lines for p in one.points] + [
        one.bar for one in lines if one.bar is not None
    ]
    lowest = math.floor((min(lows, default=0.5) - 0.05) * 10) / 10
    return _over_time(
        name,
        title,
        course,
        lines,
        wide,
        (max(0.0, lowest), 1.0),
        "fidelity",
        whole_percent,
        lambda p: p.fidelity,
        True,
    )


def divergence_chart(name: str, title: str, course: Course, lines: Sequence[Line]) -> Markup:
    highest = max((p.divergence_bits for one in lines for p in one.points), default=0.0)
    return _over_time(
        name,
        title,
        course,
        lines,
        True,
        (0.0, round_above(max(highest, 0.01))),
        "divergence, bits",
        lambda value: f"{value:g}",
        lambda p: p.divergence_bits,
        False,
    )


def _over_time(
    name: str,
    title: str,
    course: Course,
    lines: Sequence[Line],
    wide: bool,
    y: Span,
    label: str,
    said: Callable[[float], str],
    value: Value,
    is_fidelity: bool,
) -> Markup:
    width, height = WIDE if wide else SLIM
    x = _time_span(course, lines)
    frame = Frame(width, height, x, y, right=34, top=26, bottom=28)
    own = [mark for mark in course.marks if x[0] <= mark.at_us <= x[1] and _concerns(mark, lines)]
    bars = sorted({one.bar for one in lines if one.bar is not None}) if is_fidelity else []
    return drawing(
        name,
        title,
        _time_description(lines, own, value, said),
        width,
        height,
        up_axis(frame, label, said, 4),
        across_axis(
            frame, "", lambda at: clock(int(at), (x[1] - x[0]) / 1e6), _time_ticks(x, 7 if wide else 4)
        ),
        *(_limit_at(frame, bar) for bar in bars),
        *(_interval(frame, one, place) for place, one in enumerate(lines) if is_fidelity),
        *_marks(frame, own),
        *(_series(frame, one, place, value, course, said) for place, one in enumerate(lines)),
    )


def _concerns(mark: Mark, lines: Sequence[Line]) -> bool:
    """Alarms of the slices that are drawn; on a chart of all traffic every alarm."""
    drawn = {one.slice for one in lines}
    return mark.kind != "alarm" or mark.slice in drawn or "all" in drawn


def _limit_at(frame: Frame, bar: float) -> Markup:
    y = frame.up(bar)
    right = frame.width - frame.right
    return joined(
        line(frame.left, y, right, y, "limit"),
        words(right + 4, y + 4, "bar", "start", "note"),
    )


def _time_span(course: Course, lines: Sequence[Line]) -> Span:
    points = [p for one in (*course.overall, *lines) for p in one.points]
    if not points:
        return 0.0, 1.0
    return float(min(p.start_us for p in points)), float(max(p.end_us for p in points))


def _time_ticks(x: Span, most: int) -> list[float]:
    """Full minutes, hours or days inside a span."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
    span = (x[1] - x[0]) / 1e6
    days = math.ceil(span / 86_400 / most) * 86_400
    step = next((step for step in steps if span / step <= most), days) * 1_000_000
    return [float(at) for at in range(-int(-x[0] // step) * step, int(x[1]) + 1, step)]


def _middle(p: Point) -> float:
    return (p.start_us + p.end_us) / 2


def _runs(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """Stretches without a bin missing between them."""
    start = 0
    for place in range(1, len(points) + 1):
        if place == len(points) or points[place].start_us != points[place - 1].end_us:
            yield points[start:place]
            start = place


def _interval(frame: Frame, one: Line, place: int) -> Markup:
    return joined(
        *(
            area(
                [(frame.across(_middle(p)), frame.up(p.fidelity_high)) for p in run]
                + [(frame.across(_middle(p)), frame.up(p.fidelity_low)) for p in reversed(run)],
                f"interval-{place}",
            )
            for run in _runs(one.points)
            if len(run) > 1
        )
    )


def _series(
    frame: Frame, one: Line, place: int, value: Value, course: Course, said: Callable[[float], str]
) -> Markup:
    paths = [
        path([(frame.across(_middle(p)), frame.up(value(p))) for p in run], f"series-{place}")
        for run in _runs(one.points)
    ]
    dots = [
        dot(
            frame.across(_middle(p)),
            frame.up(value(p)),
            2.4,
            f"point-{place}",
            f"{clock(p.start_us, 0)}: {number(value(p))} of {count(p.pairs)} pairs",
        )
        for p in one.points
    ]
    return joined(*paths, *dots)


def _marks(frame: Frame, marks: Sequence[Mark]) -> Iterator[Markup]:
    """Alarms as triangles, stage changes and epochs as lines with a letter where there is room for it."""
    taken = -math.inf
    for mark in marks:
        x = frame.across(mark.at_us)
        if mark.kind == "alarm":
            corners = [(x - 4.5, frame.top - 12), (x + 4.5, frame.top - 12), (x, frame.top - 3)]
            yield joined(
                line(x, frame.top - 3, x, frame.height - frame.bottom, "alarm-line"),
                element("g", None, element("title", None, mark.text), area(corners, "alarm")),
            )
            continue
        letter = "S" if mark.kind == "stage" else "E"
        yield line(x, frame.top - 3, x, frame.height - frame.bottom, f"{mark.kind}-line")
        if x - taken >= LEAST_MARK_DISTANCE:
            taken = x
            yield element(
                "g", None, element("title", None, mark.text), words(x, 11, letter, "middle", "letter")
            )


def _time_description(
    lines: Sequence[Line], marks: Sequence[Mark], value: Value, said: Callable[[float], str]
) -> str:
    parts = [
        f"{one.artifact} on {one.slice}: from {said(round(value(one.points[0]), 3))} to"
        f" {said(round(value(one.points[-1]), 3))} over {len(one.points)} bins"
        for one in lines
        if one.points
    ]
    alarms = sum(mark.kind == "alarm" for mark in marks)
    return f"{'; '.join(parts) or 'No pairs'}. {alarms} alarms. The table beneath has every bin."
