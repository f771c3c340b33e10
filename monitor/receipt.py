"""The receipt of an alarm: all that is needed to compute it again, bit for bit."""

from collections.abc import Mapping
from typing import Any

from ledger.configuration import TriggerSection
from monitor.baseline import Null
from monitor.detector import Detector, after_tick, finite_or_none, log_mean, none_as_zero_wealth

FORMAT = 1


def receipt_of(
    detector: Detector,
    overall: Detector | None,
    null: Null,
    trigger: TriggerSection,
    tick_seconds: float,
    log_threshold: float,
) -> dict[str, Any]:
    """`overall` is the detector of the same student's overall slice, told for comparison alone."""
    return {
        "format": FORMAT,
        "m0": detector.m0,
        "null_source": null.source,
        "null_reason": null.reason,
        "bets": list(detector.bets),
        "start": finite_or_none(detector.start),
        "ticks": [list(tick) for tick in detector.ticks],  # restart mass, distinct inputs, disagreements
        "log_wealth": detector.log_wealth,
        "log_threshold": log_threshold,
        "false_alarms": trigger.false_alarms,
        "period_days": trigger.period_days,
        "tick_seconds": tick_seconds,
        "inputs": detector.inputs,
        "disagreements": detector.disagreements,
        "change_us": detector.change_us,
        "overall": None if overall is None else _overall(overall),
    }


def replay_alarm(receipt: Mapping[str, Any]) -> float:
    """The log-wealth that the receipt's own counts lead to."""
    wealth = none_as_zero_wealth(receipt["start"])
    for mass, inputs, disagreements in receipt["ticks"]:
        wealth = after_tick(wealth, receipt["m0"], receipt["bets"], (mass, inputs, disagreements))
    return log_mean(wealth)


def _overall(detector: Detector) -> dict[str, Any]:
    return {
        "m0": detector.m0,
        "inputs": detector.inputs,
        "disagreements": detector.disagreements,
        "log_wealth": finite_or_none([detector.log_wealth])[0],
    }
