"""The live verdict by table: every judged criterion has to pass, and what is not judged is said."""

from pathlib import Path
from typing import Any

import pytest

from ledger.configuration import TaskSection
from monitor.criteria import Criterion
from monitor.histograms import LATENCY_EDGES, UNIT, place
from monitor.intervals import confidence_sequence
from monitor.live_verdict import LiveVerdict, judge_live, judge_live_slice
from monitor.sums import SliceSums
from tests.monitor.world import build_configuration

GATE = {"bar": 0.8, "alpha": 0.05, "rows": 100, "slice_rows": 50}
BARS = {
    "max_regret": 0.05,
    "max_calibration_error": 0.1,
    "max_latency_seconds": 0.1,
    "min_saved": 0.3,
}


def task(verdict: dict[str, float] | None = None) -> TaskSection:
    return build_configuration(Path("nowhere"), gate=GATE, verdict=verdict or {}).task[0]


def counts(pairs: int, agreements: int) -> SliceSums:
    return SliceSums(pairs=pairs, agreements=agreements)


def good(**changes: Any) -> SliceSums:
    """Passes all five bars: 10,000 pairs, of which 9,500 agree."""
    fields: dict[str, Any] = {
        "pairs": 10_000,
        "agreements": 9_500,
        "reliability_pairs": ((19, 10_000),),
        "reliability_confidence": ((19, 9_500 * UNIT),),
        "reliability_right": ((19, 9_500),),
        "coverage_pairs": ((95, 10_000),),
        "coverage_disagreements": ((95, 500),),
        "student_latency": ((place(5000, LATENCY_EDGES), 10_000),),
        "both_right": 1800,
        "teacher_alone_right": 40,
        "student_alone_right": 60,
        "both_wrong": 100,
    }
    return SliceSums(**(fields | changes))


def judged(sums: SliceSums, **changes: float) -> LiveVerdict:
    return judge_live({"all": sums}, task(BARS | changes), {"all": 0.6})


def outcomes(verdict: LiveVerdict) -> dict[str, str]:
    return {str(one.criterion): one.outcome for one in verdict.slices[0].criteria}


@pytest.mark.parametrize(
    ("sums", "outcome"),
    [
        ({}, "inconclusive"),
        ({"all": counts(99, 99)}, "inconclusive"),
        ({"all": counts(400, 360)}, "pass"),
        ({"all": counts(200, 100)}, "fail"),
        ({"all": counts(400, 360), "area=a": counts(60, 30)}, "fail"),
        ({"all": counts(400, 360), "area=a": counts(60, 50)}, "pass"),
        ({"all": counts(400, 360), "area=a": counts(5, 4)}, "pass"),
        ({"all": counts(400, 360), "length=50+": counts(60, 0)}, "pass"),
        ({"area=a": counts(400, 360)}, "inconclusive"),
    ],
    ids=[
        "nothing",
        "too little",
        "overall proven",
        "overall refuted",
        "critical slice refuted",
        "critical slice open",
        "critical slice too small",
        "other slice is only shown",
        "no overall counts",
    ],
)
def test_fidelity_alone(sums: dict[str, SliceSums], outcome: str) -> None:
    """The overall slice must be proven and no critical slice refuted."""
    assert judge_live(sums, task(), {}).outcome == outcome


def test_a_look_does_not_use_up_the_level() -> None:
    """Bounds are those of the confidence sequence, which are wider than those for one look."""
    line = judge_live({"all": counts(400, 340)}, task(), {}).slices[0]
    fidelity = line.criteria[0]
    assert (fidelity.low, fidelity.high) == confidence_sequence(340, 400, 0.05)
    assert fidelity.outcome == "inconclusive"  # the exact bound for one look, 0.817, would pass


def test_all_five_pass() -> None:
    """Each with its own reason, and nothing is left unjudged."""
    verdict = judged(good())
    assert verdict.outcome == "pass"
    assert set(outcomes(verdict).values()) == {"pass"}
    assert [reason.split(": ")[1] for reason in verdict.reasons] == list(Criterion)


@pytest.mark.parametrize(
    ("criterion", "changes", "bars"),
    [
        ("fidelity", {"agreements": 7_000}, {}),
        ("accuracy", {"teacher_alone_right": 400}, {}),
        ("calibration", {"reliability_right": ((19, 7_000),)}, {}),
        ("latency", {"student_latency": ((place(400_000, LATENCY_EDGES), 10_000),)}, {}),
        ("cost", {"coverage_pairs": ((30, 9_000), (95, 1_000))}, {}),
    ],
)
def test_one_that_fails_fails_all(criterion: str, changes: dict[str, Any], bars: dict[str, float]) -> None:
    """However good the other four are, and the reason names it with value, bounds, bar and counts."""
    verdict = judged(good(**changes), **bars)

    assert verdict.outcome == "fail"
    assert {name for name, outcome in outcomes(verdict).items() if outcome == "fail"} == {criterion}
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(f"all: {criterion}: ")
    assert "the bar" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("criterion", "changes"),
    [
        ("fidelity", {"pairs": 90, "agreements": 90}),
        (
            "accuracy",
            dict.fromkeys(("both_right", "both_wrong", "teacher_alone_right", "student_alone_right"), 0),
        ),
        ("calibration", {"reliability_pairs": (), "reliability_confidence": (), "reliability_right": ()}),
        ("latency", {"student_latency": ()}),
    ],
)
def test_one_that_is_not_known_keeps_it_inconclusive(criterion: str, changes: dict[str, Any]) -> None:
    """A bar that is set and has no evidence never passes."""
    verdict = judged(good(**changes))
    assert verdict.outcome == "inconclusive"
    assert outcomes(verdict)[criterion] == "inconclusive"


def test_what_has_no_bar_is_not_judged_and_that_is_said() -> None:
    """The reasons of a pass name the settings that nobody set."""
    verdict = judge_live({"all": good()}, task(), {})

    assert verdict.outcome == "pass"
    assert outcomes(verdict) == {"fidelity": "pass"} | dict.fromkeys(
        ("accuracy", "calibration", "latency", "cost"), "not_judged"
    )
    assert verdict.reasons[-1] == (
        "not judged, since they are not set: verdict.max_regret, verdict.max_calibration_error,"
        " verdict.max_latency_seconds, verdict.min_saved"
    )


def test_savings_are_judged_over_all_traffic_alone() -> None:
    """A hard slice may save little; the other bars hold in each slice."""
    line = judge_live_slice("area=a", {"all": good(), "area=a": good()}, task(BARS), {"all": 0.6})
    assert line.decides
    assert [one.outcome for one in line.criteria] == ["pass", "pass", "pass", "pass", "not_judged"]


def test_without_a_certificate_that_holds_nothing_is_saved() -> None:
    """So a student whose lines are all void misses its bar of savings."""
    verdict = judge_live({"all": good()}, task(BARS), {})
    assert verdict.outcome == "fail"
    assert "0 of 10000 pairs would be served" in verdict.reasons[0]


def test_a_slice_without_any_bar_is_inconclusive() -> None:
    """And says what would judge it."""
    line = judge_live_slice("length=50+", {"length=50+": counts(60, 60)}, task(), {})
    assert (line.outcome, line.decides) == ("inconclusive", False)
    assert "bar is not set" in line.reason


def test_a_live_failure_names_the_slice() -> None:
    """The reason of the slice that stands in the way, not of the others."""
    verdict = judge_live({"all": counts(400, 360), "area=a": counts(60, 30)}, task(), {})

    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["area=a"]
    assert [line.slice for line in verdict.slices] == ["all", "area=a"]


def test_a_bar_that_so_few_pairs_cannot_prove_says_how_many_it_takes() -> None:
    """Full agreement included."""
    section = build_configuration(Path("nowhere"), gate=GATE | {"bar": 0.99, "rows": 30}).task[0]
    reason = judge_live({"all": counts(100, 100)}, section, {}).reasons[0]
    needed = int(reason.split("it takes ")[1].split()[0])

    assert judge_live({"all": counts(needed, needed)}, section, {}).outcome == "pass"
    assert judge_live({"all": counts(needed - 1, needed - 1)}, section, {}).outcome == "inconclusive"
