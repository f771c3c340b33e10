"""The receipt of an alarm: all that is needed to compute it again, bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.configuration import TriggerSection
from monitor.baseline import Null
from monitor.detector import Detector, Standing, after_tick
from monitor.detector_state import (
    FORMAT,
    finite_or_none,
    standing_from_json,
    standing_to_json,
    terms_from_json,
    terms_to_json,
    ticks_from_json,
    ticks_to_json,
)
from monitor.trigger import log_threshold


@dataclass(frozen=True, slots=True)
class Replay:
    """What a receipt's own counts lead to, beside what was found when the alarm was raised."""

    found: Mapping[str, Any]
    replayed: Mapping[str, Any]

    @property
    def is_alarm(self) -> bool:
        """The counts suffice for an alarm within the budget that the receipt states."""
        return bool(self.replayed["log_wealth"] >= self.replayed["log_threshold"])

    @property
    def is_same(self) -> bool:
        return self.is_alarm and self.found == self.replayed


def receipt_of(
    detector: Detector, overall: Detector | None, null: Null, trigger: TriggerSection, tick_seconds: float
) -> dict[str, Any]:
    """`overall` is the detector of the same student's overall slice, told for comparison alone."""
    return {
        "format": FORMAT,
        **terms_to_json(detector.terms),
        "null_source": null.source,
        "null_reason": null.reason,
        "start": standing_to_json(detector.start),
        "ticks": ticks_to_json(detector.ticks),
        "false_alarms": trigger.false_alarms,
        "period_days": trigger.period_days,
        "tick_seconds": tick_seconds,
        "log_threshold": log_threshold(trigger.false_alarms, trigger.period_days, tick_seconds),
        "log_wealth": detector.log_wealth,
        "change_us": detector.change_us,
        **_seen(detector),
        "overall": None if overall is None else _overall(overall),
    }


def replay_alarm(receipt: Mapping[str, Any]) -> Replay | None:
    """Compute the alarm again. None for a receipt of another format, which another release replays."""
    if receipt.get("format") != FORMAT:
        return None
    standing = _standing(receipt)
    replayed = {
        "log_wealth": standing.log_wealth,
        "log_threshold": log_threshold(
            receipt["false_alarms"], receipt["period_days"], receipt["tick_seconds"]
        ),
        "change_us": standing.change_us,
    }
    return Replay({name: receipt[name] for name in replayed}, replayed)


def _standing(receipt: Mapping[str, Any]) -> Standing:
    terms, standing = terms_from_json(receipt), standing_from_json(receipt["start"])
    for tick in ticks_from_json(receipt["ticks"]):
        standing = after_tick(standing, terms, tick)
    return standing


def _seen(detector: Detector) -> dict[str, Any]:
    return {"inputs": detector.inputs, "mean_loss": detector.mean_loss}


def _overall(detector: Detector) -> dict[str, Any]:
    return {
        "m0": detector.terms.m0,
        **_seen(detector),
        "log_wealth": finite_or_none([detector.log_wealth])[0],
    }
