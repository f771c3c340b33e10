"""Whether a student is what it was made for: the play that the task declares, with its own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from distill.gating.criterion import NOT_JUDGED, Criterion, judged, not_judged
from ledger.artifacts import CriterionVerdict
from ledger.configuration import (
    CostPlay,
    LatencyPlay,
    PlaySection,
    SpecializationPlay,
    StabilityPlay,
)
from monitor.intervals import lower_bound, upper_bound
from monitor.verdict import Bar, Known

LEAST_ROWS = 30


@dataclass(frozen=True, slots=True)
class PlayFacts:
    """What the gate found, and what is known of the traffic."""

    alpha: float
    pairs: int  # locked rows drawn whatever their slice
    agreements: int
    served: int  # of the drawn rows, those that the certificate would serve
    drawn: int
    audit_share: float
    inputs_per_day: float | None  # measured from the record
    call_cost: float | None  # teacher.call_cost
    latency: Sequence[CriterionVerdict]  # rows that were judged against the play's own bar
    gain: Known | None  # accuracy on verified labels above the teacher's; None without labels


def check_play(section: PlaySection | None, facts: PlayFacts) -> tuple[CriterionVerdict, ...]:
    """The rows of the play's success gate; one that says so where the task declares no play."""
    match section:
        case None:
            return (not_judged(Criterion.PLAY, "play", "the task declares no [task.play]"),)
        case CostPlay():
            return _floor(section.min_fidelity, facts), _payback(section, facts)
        case LatencyPlay():
            return _floor(section.min_fidelity, facts), *_latency(facts)
        case StabilityPlay():
            return _floor(section.min_fidelity, facts), _served(section, facts)
        case SpecializationPlay():
            return (_gain(section, facts),)


def _floor(bar: float, facts: PlayFacts) -> CriterionVerdict:
    known = _share(facts.agreements, facts.pairs, facts.alpha, "pairs agree")
    return judged(Criterion.PLAY, "quality floor", known, Bar(bar), LEAST_ROWS)


def _served(section: StabilityPlay, facts: PlayFacts) -> CriterionVerdict:
    known = _share(facts.served, facts.drawn, facts.alpha, "rows would be served")
    return judged(Criterion.PLAY, "served without the teacher", known, Bar(section.min_served), LEAST_ROWS)


def _payback(section: CostPlay, facts: PlayFacts) -> CriterionVerdict:
    """Days until the savings have paid for the build, from the bounds of the share that is served."""
    if facts.call_cost is None or not facts.inputs_per_day:
        return _unknown(
            "payback",
            "teacher.call_cost is not set, so nobody knows what an answer saves; set it"
            if facts.call_cost is None
            else "the record spans less than an hour, so nobody knows how many inputs a day has; let it run on",
        )
    share = _share(facts.served, facts.drawn, facts.alpha, "rows would be served")
    saved = facts.inputs_per_day * facts.call_cost * (1 - facts.audit_share)

    def days(part: float | None) -> float | None:
        a_day = saved * (part or 0.0) - section.serving_cost_per_day
        return section.build_cost / a_day if a_day > 0 else None

    a_day = saved * (share.value or 0.0) - section.serving_cost_per_day
    said = f"{share.counts}; {a_day:.4g} saved a day after serving, build cost {section.build_cost:.4g}"
    if days(share.value) is None:
        said += ", which never pays it back"
    known = Known(said, facts.drawn, days(share.value), days(share.high), days(share.low))
    verdict = judged(Criterion.PLAY, "payback", known, Bar(section.payback_days, False), LEAST_ROWS)
    return verdict.model_copy(
        update={"reason": f"{said}: {_days(known)}, {section.payback_days:.4g} allowed"}
    )


def _days(known: Known) -> str:
    if known.value is None:
        return "no payback"
    upper = "without an upper bound" if known.high is None else f"{known.high:.3g} at most"
    return f"paid back after {known.value:.3g} days, {upper}"


def _latency(facts: PlayFacts) -> tuple[CriterionVerdict, ...]:
    rows = [row.model_copy(update={"criterion": Criterion.PLAY}) for row in facts.latency]
    if not rows or any(row.outcome == NOT_JUDGED for row in rows):
        return (_unknown("latency", "the mix of requests was not measured"),)
    return tuple(rows)


def _gain(section: SpecializationPlay, facts: PlayFacts) -> CriterionVerdict:
    if facts.gain is None:
        return _unknown("gain over the teacher", "no row of the gate has a verified label; import some")
    # what is proven has to lie above the bar: a student that merely equals the teacher is no specialist
    bar = Bar(max(section.min_gain, 1e-9))
    return judged(Criterion.PLAY, "gain over the teacher", facts.gain, bar, LEAST_ROWS)


def _unknown(name: str, reason: str) -> CriterionVerdict:
    """A bar without a number to hold against it: never a pass."""
    row = not_judged(Criterion.PLAY, name, reason)
    return row.model_copy(update={"outcome": "inconclusive", "decides": True, "reason": reason})


def _share(part: int, whole: int, alpha: float, said: str) -> Known:
    return Known(
        f"{part} of {whole} {said}",
        whole,
        part / whole if whole else None,
        lower_bound(part, whole, alpha),
        upper_bound(part, whole, alpha),
    )
