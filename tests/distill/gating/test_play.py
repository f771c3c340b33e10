"""Plays: each is checked with its own numbers, and what is not known never passes."""

from dataclasses import replace

import pytest

from distill.gating.play import PlayFacts, check_play
from ledger.artifacts import CriterionVerdict
from ledger.configuration import CostPlay, LatencyPlay, SpecializationPlay, StabilityPlay
from monitor.verdict import Known

FACTS = PlayFacts(
    alpha=0.05,
    pairs=500,
    agreements=470,
    served=400,
    drawn=500,
    audit_share=0.05,
    inputs_per_day=100_000,
    call_cost=0.0004,
    latency=(),
    gain=None,
)
COST = CostPlay(kind="cost", min_fidelity=0.9, build_cost=300, serving_cost_per_day=5, payback_days=30)


def timed(outcome: str) -> CriterionVerdict:
    return CriterionVerdict.model_validate(
        {
            "criterion": "latency",
            "name": "1 inputs",
            "outcome": outcome,
            "decides": outcome != "not_judged",
            "count": 80,
            "value": 0.01,
            "low": None,
            "high": 0.02,
            "bar": 0.05,
            "reason": "timed",
        }
    )


def outcomes(rows: tuple[CriterionVerdict, ...]) -> dict[str, str]:
    return {row.name: row.outcome for row in rows}


def test_no_play_is_said_and_judges_nothing() -> None:
    """An existing file declares none."""
    (row,) = check_play(None, FACTS)
    assert (row.outcome, row.decides) == ("not_judged", False)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "pass"),  # 400 of 500 served: 30.4 a day less 5: twelve days
        ({"served": 150}, "fail"),  # 6.4 a day: 47 days
        ({"served": 50}, "fail"),  # it never pays
        ({"call_cost": None}, "inconclusive"),
        ({"inputs_per_day": None}, "inconclusive"),
    ],
)
def test_savings_pay_the_build_back_in_time(changes: dict[str, float | None], outcome: str) -> None:
    """From the bounds of the share that would be served; without a price nothing is proven."""
    rows = check_play(COST, replace(FACTS, **changes))  # type: ignore[arg-type]

    assert outcomes(rows) == {"quality floor": "pass", "payback": outcome}


def test_the_reason_of_a_payback_has_its_numbers() -> None:
    """Saved a day, cost, days, and what is allowed."""
    row = check_play(COST, FACTS)[1]

    assert "25.4 saved a day" in row.reason
    assert "paid back after 11.8 days" in row.reason
    assert "30 allowed" in row.reason


@pytest.mark.parametrize(("agreements", "outcome"), [(470, "pass"), (455, "fail")])
def test_every_cheaper_play_keeps_a_floor(agreements: int, outcome: str) -> None:
    """Proven on the locked rows: the lower bound counts, not the share."""
    facts = replace(FACTS, agreements=agreements)

    assert outcomes(check_play(COST, facts))["quality floor"] == outcome


@pytest.mark.parametrize(
    ("latency", "outcome"), [(("pass", "pass"), "pass"), (("pass", "fail"), "fail"), ((), "inconclusive")]
)
def test_a_latency_play_needs_every_pattern(latency: tuple[str, ...], outcome: str) -> None:
    """One pattern that is too slow fails it; a mix that was not measured proves nothing."""
    play = LatencyPlay(kind="latency", min_fidelity=0.9, p95_seconds=0.05)
    rows = check_play(play, replace(FACTS, latency=[timed(one) for one in latency]))

    worst = {row.outcome for row in rows if row.name != "quality floor"}
    assert outcome in worst
    assert {row.criterion for row in rows} == {"play"}


@pytest.mark.parametrize(("served", "outcome"), [(400, "pass"), (380, "fail")])
def test_a_stability_play_has_to_serve_enough(served: int, outcome: str) -> None:
    """Three quarters without the teacher, proven."""
    play = StabilityPlay(kind="stability", min_fidelity=0.9, min_served=0.75)

    assert outcomes(check_play(play, replace(FACTS, served=served)))["served without the teacher"] == outcome


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        (Known("labels", 200, 0.05, 0.02, 0.08), "pass"),
        (Known("labels", 200, 0.0, -0.02, 0.02), "fail"),
        (None, "inconclusive"),
    ],
)
def test_a_specialist_has_to_beat_the_teacher(gain: Known | None, outcome: str) -> None:
    """To equal it is not enough, and without labels nobody knows."""
    rows = check_play(SpecializationPlay(kind="specialization"), replace(FACTS, gain=gain))

    assert outcomes(rows) == {"gain over the teacher": outcome}
