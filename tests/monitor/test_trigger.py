"""The false-alarm budget and what follows from an alarm."""

import math
from dataclasses import replace

import pytest

from ledger.configuration import TriggerSection
from monitor.trigger import (
    NEW_STREAMS,
    Circumstances,
    Decision,
    Stream,
    decide,
    log_threshold,
    stream_masses,
    tick_mass,
)

FREE = Circumstances(open_job=None, last_job_finished_us=None, newer_student=None, licensed=True, pairs=200)
NOW_US = 10_000 * 1_000_000


@pytest.mark.parametrize(
    ("changes", "settings", "decision"),
    [
        ({}, {}, Decision.JOB_OPENED),
        ({"open_job": 3}, {}, Decision.JOB_ALREADY_OPEN),
        ({}, {"launch": False}, Decision.LAUNCH_OFF),
        ({"licensed": False}, {}, Decision.NOT_LICENSED),
        ({"newer_student": "s-2"}, {}, Decision.NEWER_STUDENT),
        ({"last_job_finished_us": NOW_US - 3_599_000_000}, {}, Decision.COOLDOWN),
        ({"last_job_finished_us": NOW_US - 3_600_000_000}, {}, Decision.JOB_OPENED),
        ({"last_job_finished_us": NOW_US}, {"cooldown_seconds": 0}, Decision.JOB_OPENED),
        ({"last_job_finished_us": 0, "pairs": 199, "after_alarm": True}, {}, Decision.SETTLING),
        ({"last_job_finished_us": 0, "pairs": 199}, {}, Decision.JOB_OPENED),
        ({"pairs": 0}, {}, Decision.JOB_OPENED),
        ({"not_distillable": "job 3 found so"}, {}, Decision.NOT_DISTILLABLE),
        ({"not_distillable": "job 3 found so", "licensed": False}, {}, Decision.NOT_LICENSED),
        ({"labels_moved": "they did", "open_job": 3}, {}, Decision.LABELS_MOVED),
    ],
)
def test_what_an_alarm_leads_to(
    changes: dict[str, object], settings: dict[str, object], decision: Decision
) -> None:
    """One job at a time, none against the settings, none right after another."""
    trigger = TriggerSection.model_validate({"cooldown_seconds": 3600} | settings)

    found, reason = decide(trigger, replace(FREE, **changes), NOW_US)  # type: ignore[arg-type]

    assert found is decision
    assert reason


def test_the_threshold_follows_from_the_budget_in_words() -> None:
    """One false alarm in 30 days at a tick each 10 s: 259,200 units of mass, so A is that."""
    assert log_threshold(false_alarms=1, period_days=30, tick_seconds=10) == pytest.approx(math.log(259_200))
    assert log_threshold(false_alarms=2, period_days=30, tick_seconds=10) == pytest.approx(math.log(129_600))


@pytest.mark.parametrize(("known", "new"), [(0, 0), (1, 0), (7, 3), (0, 500), (2000, 500)])
def test_a_tick_never_spends_more_than_its_mass(known: int, new: int) -> None:
    """However many streams there are, known or new."""
    masses = stream_masses(
        [Stream("s", f"k{index}") for index in range(known)],
        [Stream("s", f"n{index}") for index in range(new)],
        0.7,
    )

    assert len(masses) == known + new
    assert math.fsum(masses.values()) <= 0.7 * (1 + 1e-12)
    assert all(mass >= 0 for mass in masses.values())


def test_what_a_stream_may_spend_does_not_depend_on_newcomers() -> None:
    """It has to be fixed before the tick's counts are seen."""
    known = [Stream("s", "all"), Stream("s", "area=a")]

    alone = stream_masses(known, [], 1.0)
    crowded = stream_masses(known, [Stream("s", f"n{index}") for index in range(NEW_STREAMS)], 1.0)

    assert {stream: crowded[stream] for stream in known} == alone
    assert stream_masses([], [Stream("s", "x")], 1.0)[Stream("s", "x")] == crowded[Stream("s", "n1")]


def test_ticks_in_quick_succession_share_the_mass_of_the_time() -> None:
    """Working off a backlog or restarting in a loop must not spend the budget faster."""
    assert tick_mass(None, 10) == 1.0
    assert tick_mass(10.0, 10) == 1.0
    assert tick_mass(86_400.0, 10) == 1.0
    assert tick_mass(2.5, 10) == 0.25
    assert tick_mass(-5.0, 10) == 0.0
