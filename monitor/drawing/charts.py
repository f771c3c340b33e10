"""Two small charts of a slice: reliability, and risk against coverage."""

import math
from collections.abc import Sequence

from monitor.drawing.curves import BinPoint, RiskPoint, SliceCurves
from monitor.drawing.markup import NOTHING, Markup, joined
from monitor.drawing.plot import (
    Frame,
    across_axis,
    area,
    box,
    dot,
    drawing,
    line,
    path,
    ticks,
    up_axis,
    words,
)
from monitor.drawing.words import count, percent

SMALL = (340, 300)
COUNTS_HEIGHT = 34  # of the bars beneath a reliability diagram
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def whole_percent(value: float) -> str:
    return f"{100 * value:g}%" if abs(100 * value - round(100 * value)) < 1e-6 else f"{100 * value:.1f}%"


def reliability_chart(name: str, slice_name: str, against: str, bins: Sequence[BinPoint]) -> Markup:
    """Share that was right by confidence, with what a calibrated student would show, and counts beneath."""
    width, height = SMALL
    frame = Frame(width, height, (0, 1), (0, 1), bottom=40 + COUNTS_HEIGHT)
    middle = [(frame.across(b.mean_confidence), frame.up(b.right_share)) for b in bins]
    most = max((b.count for b in bins), default=1)
    return drawing(
        name,
        f"Reliability of {slice_name} against {against}",
        _reliability_description(bins),
        width,
        height,
        up_axis(frame, "share that is right", whole_percent, 4),
        *(_band(frame, b) for b in bins),
        line(frame.across(0), frame.up(0), frame.across(1), frame.up(1), "ideal"),
        path(middle, "series-0"),
        *(dot(x, y, 3.5, "point-0", _bin_said(b)) for (x, y), b in zip(middle, bins, strict=True)),
        *(_count_bar(frame, b, most) for b in bins),
        across_axis(frame, "", str, ()),
        _confidence_axis(frame),
    )


def _band(frame: Frame, b: BinPoint) -> Markup:
    left, right = frame.across(b.low), frame.across(b.high)
    top, bottom = frame.up(b.band_high), frame.up(b.band_low)
    return box(left, top, right - left, max(1.0, bottom - top), "band")


def _count_bar(frame: Frame, b: BinPoint, most: int) -> Markup:
    """Beneath the plot, hanging from nothing: heights compare bins, the table has the counts."""
    floor = frame.height - 40
    tall = max(1.0, (COUNTS_HEIGHT - 6) * b.count / most)
    left, right = frame.across(b.low), frame.across(b.high)
    return box(left + 0.5, floor - tall, right - left - 1, tall, "bar", f"{count(b.count)} answers")


def _confidence_axis(frame: Frame) -> Markup:
    floor = Frame(frame.width, frame.height, frame.x, frame.y)
    return across_axis(floor, "confidence of the student (bars: how many)", whole_percent, QUARTERS)


def _bin_said(b: BinPoint) -> str:
    return f"confidence {percent(b.mean_confidence)}: {percent(b.right_share)} of {count(b.count)} right"


def _reliability_description(bins: Sequence[BinPoint]) -> str:
    if not bins:
        return "No answers."
    outside = sum(not b.band_low <= b.right_share <= b.band_high for b in bins)
    return (
        f"{len(bins)} confidence bins with {count(sum(b.count for b in bins))} answers; {outside} of them lie outside"
        " the band in which a calibrated student would lie nine times out of ten. Below the diagonal is"
        " overconfident. The table beneath has every bin."
    )


def risk_chart(name: str, curves: SliceCurves) -> Markup:
    """Disagreement among the accepted against the share accepted; the certified threshold is marked."""
    width, height = SMALL
    curve = curves.risk_coverage
    highest = max([p.risk_share for p in curve if p.accepted >= 20] + [curves.max_disagreement or 0.0, 0.02])
    frame = Frame(width, height, (0, 1), (0, round_above(highest)))
    drawn = [(frame.across(p.coverage_share), frame.up(p.risk_share)) for p in curve]
    return drawing(
        name,
        f"Risk and coverage of {curves.slice}",
        _risk_description(curves),
        width,
        height,
        up_axis(frame, "disagreement with the teacher", whole_percent, 5),
        across_axis(frame, "share of inputs that the student would serve", whole_percent, QUARTERS),
        _limit(frame, curves.max_disagreement),
        _risk_band(frame, curve),
        path(drawn, "series-0"),
        *(dot(x, y, 5, "reach", _risk_said(p)) for (x, y), p in zip(drawn, curve, strict=True)),
        _certified(frame, curves),
    )


def _risk_band(frame: Frame, curve: Sequence[RiskPoint]) -> Markup:
    """Between the bounds of the risk, cut off at the top of the plot."""
    top = frame.y[1]
    high = [(frame.across(p.coverage_share), frame.up(min(top, p.risk_high_share))) for p in curve]
    low = [(frame.across(p.coverage_share), frame.up(min(top, p.risk_low_share))) for p in reversed(curve)]
    return area([*high, *low], "band") if len(curve) > 1 else NOTHING


def round_above(value: float) -> float:
    """The end of an axis: the first tick at or above a value."""
    step = ticks((0, value), 5)[1]
    return math.ceil(value / step - 1e-9) * step


def _limit(frame: Frame, most: float | None) -> Markup:
    if most is None:
        return NOTHING
    y = frame.up(most)
    right = frame.width - frame.right
    return joined(
        line(frame.left, y, right, y, "limit"),
        words(frame.left + 4, y - 5, f"allowed {whole_percent(most)}", "start", "note"),
    )


def _certified(frame: Frame, curves: SliceCurves) -> Markup:
    point = certified_point(curves)
    if point is None:
        return NOTHING
    x, y = frame.across(point.coverage_share), frame.up(point.risk_share)
    anchor, shift = ("end", -7) if point.coverage_share > 0.5 else ("start", 7)
    return joined(
        line(x, frame.top, x, frame.height - frame.bottom, "certified"),
        dot(x, y, 5, "certified-point", _risk_said(point)),
        words(x + shift, frame.top + 12, f"certified from {point.threshold:.2f}", anchor, "note"),
    )


def certified_point(curves: SliceCurves) -> RiskPoint | None:
    """The point of the curve at the certified threshold, or the next stricter one that accepts as many."""
    if curves.threshold is None:
        return None
    stricter = [p for p in curves.risk_coverage if p.threshold >= curves.threshold - 1e-9]
    return stricter[-1] if stricter else None


def _risk_said(p: RiskPoint) -> str:
    return (
        f"from confidence {p.threshold:.2f}: {percent(p.coverage_share)} of inputs,"
        f" {percent(p.risk_share)} of them disagree ({p.disagreements} of {count(p.accepted)}; between"
        f" {percent(p.risk_low_share)} and {percent(p.risk_high_share)})"
    )


def _risk_description(curves: SliceCurves) -> str:
    if not curves.risk_coverage:
        return "No pairs."
    everything = curves.risk_coverage[-1]
    point = certified_point(curves)
    certified = "No threshold is certified here." if point is None else f"Certified: {_risk_said(point)}."
    return f"Serving everything would disagree on {percent(everything.risk_share)}. {certified}"
