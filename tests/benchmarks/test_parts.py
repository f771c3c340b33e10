"""From what was measured to rows and floors."""

import numpy as np
import pytest

from benchmarks import failure_table, latency, memory, peer_table
from benchmarks.open_loop import Offered
from benchmarks.report import MISSED, text

ACCOUNT = (30, 28, 2, 0)


def leg(cost_us: float, errors: int = 0, mirrored: float | None = 1.0) -> peer_table.Leg:
    return peer_table.Leg(10, errors, 100.0, 1000.0, 2000.0, {"gateway": cost_us}, mirrored)


def offered(milliseconds: float, errors: int = 0) -> Offered:
    """A hundred requests, two of them as slow as that."""
    latencies_us = np.array([1000.0] * 98 + [milliseconds * 1e3] * 2)
    return Offered(latencies_us, np.arange(100.0), {"cut": errors} if errors else {}, 10.0)


def whole(milliseconds: float, errors: int = 0) -> failure_table.Leg:
    """A leg of them that nothing disturbed."""
    seen = offered(milliseconds, errors)
    return failure_table.Leg(seen, seen.latencies_us)


def block(off: float, during: float, errors: int = 0, held: bool = True) -> failure_table.Block:
    return failure_table.Block(whole(off), (whole(during), whole(during, errors)), whole(off), held)


def outcome(*blocks: failure_table.Block, unaccounted: int = 0) -> failure_table.Outcome:
    ratios = [failure_table.p99_ratio([one]) for one in blocks]
    return failure_table.Outcome(
        "student hung", blocks, {"shadow deadline": 5}, unaccounted, max(ratios), 1.0
    )


def test_ratios_are_those_of_the_same_round() -> None:
    """A machine that is slow for one round leaves the ratio alone."""
    assert peer_table.ratios([leg(200), leg(400)], [leg(100), leg(200)]) == [2.0, 2.0]


def test_a_peer_that_did_not_start_leaves_its_floor_unmeasured() -> None:
    """And an unmeasured floor does not hold."""
    legs = {peer_table.STILLGATE: [leg(200)], peer_table.ENVOY: [leg(100)]}
    report = peer_table.peer_report(legs, {"gateway": 0.01}, ACCOUNT)
    broken = [floor.what for floor in report.floors if floor.breaks]
    assert broken == ["LiteLLM with a silent model, times ours"]


def test_requests_that_nobody_accounts_for_break_a_floor() -> None:
    """So do errors, and shadow answers that are missing."""
    legs = {
        peer_table.STILLGATE: [leg(200, errors=1, mirrored=0.5)],
        peer_table.ENVOY: [leg(100)],
        peer_table.LITELLM: [leg(20_000)],
    }
    report = peer_table.peer_report(legs, {"gateway": 0.01}, (30, 20, 2, 0))
    assert sum(floor.breaks for floor in report.floors) == 3


def test_a_condition_holds_or_is_missed_by_name() -> None:
    """A slow tail, an error, a request that is not accounted for, a condition that was none."""
    assert failure_table.row_of(outcome(block(2, 2.2)))[-1] == "holds"
    for missed in (
        outcome(block(2, 2.6)),
        outcome(block(2, 2, errors=1)),
        outcome(block(2, 2), unaccounted=1),
        outcome(block(2, 2, held=False)),
    ):
        assert failure_table.row_of(missed)[-1] == MISSED


def test_a_condition_that_could_not_be_made_is_a_missed_row() -> None:
    """With its reason among the floors; the table stays rectangular."""
    rows = [outcome(block(2, 2)), failure_table.Unmeasured("disk full", "only root may mount")]
    report = failure_table.failure_report(rows, 11.0, "a note")
    assert "disk full: only root may mount" in [floor.what for floor in report.floors if floor.breaks]
    assert "not measured" in text(report.tables[0])


def test_the_ratio_is_that_of_the_middle_blocks() -> None:
    """Each against its own off legs; a block in which the host was restless changes nothing."""
    restless = failure_table.Block(whole(2), (whole(900), whole(3)), whole(2), held=True)
    assert failure_table.p99_ratio([block(2, 3), restless, block(2, 3), block(4, 6)]) == pytest.approx(1.5)
    assert failure_table.p99_ratio([*[block(2, 900)] * 3, block(2, 3)]) == pytest.approx(450)
    assert failure_table.off_ratio([block(2, 3)]) == pytest.approx(1.0)


def test_added_latency_is_the_difference_within_a_round() -> None:
    """In milliseconds, round by round."""
    rounds = [{"a": [offered(5)], "b": [offered(3)]}, {"a": [offered(7)], "b": [offered(3)]}]
    assert latency.added(rounds, "a", "b", 0.99) == pytest.approx([2.0, 4.0])
    assert latency.added(rounds, "a", "b", 0.5) == pytest.approx([0.0, 0.0])


def test_growth_is_told_for_ten_minutes_and_a_rise_from_first_to_last() -> None:
    """A process that comes later has fewer looks."""
    looks = [
        (float(at), {"gateway": 100 + at / 60, **({"late": 50.0} if at > 60 else {})})
        for at in range(0, 120, 2)
    ]
    assert memory.growth_of(looks, "gateway") == pytest.approx(10.0)
    assert memory.growth_of(looks, "late") == pytest.approx(0.0)
    assert memory.rise_of(looks, "gateway") == pytest.approx(80 / 60, abs=0.05)
    assert memory.rise_of(looks, "nobody") == 0.0
