"""How a detector lies in the control file and in a receipt: JSON from which every number reads back bit for bit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monitor.detector import Detector, Standing, Terms, Tick

FORMAT = 2


def to_json(detector: Detector) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **terms_to_json(detector.terms),
        "standing": standing_to_json(detector.standing),
        "owed_mass": detector.owed_mass,
        "start": standing_to_json(detector.start),
        "ticks": ticks_to_json(detector.ticks),
        "totals": list(detector.totals),
    }


def from_json(document: Mapping[str, Any]) -> Detector | None:
    """None for a state that another release wrote in another format."""
    if document.get("format") != FORMAT:
        return None
    return Detector(
        terms=terms_from_json(document),
        standing=standing_from_json(document["standing"]),
        owed_mass=document["owed_mass"],
        start=standing_from_json(document["start"]),
        ticks=ticks_from_json(document["ticks"]),
        totals=tuple(document["totals"]),
    )


def terms_to_json(terms: Terms) -> dict[str, Any]:
    return {"m0": terms.m0, "bets": list(terms.bets), "losses": list(terms.losses)}


def terms_from_json(document: Mapping[str, Any]) -> Terms:
    return Terms(document["m0"], tuple(document["bets"]), tuple(document["losses"]))


def standing_to_json(standing: Standing) -> dict[str, Any]:
    """A wealth of nothing, whose logarithm JSON has no word for, becomes null."""
    return {
        "log_wealth_by_bet": finite_or_none(standing.log_wealth_by_bet),
        "log_cusum_by_bet": finite_or_none(standing.log_cusum_by_bet),
        "restarted_us": list(standing.restarted_us),
    }


def standing_from_json(document: Mapping[str, Any]) -> Standing:
    return Standing(
        none_as_nothing(document["log_wealth_by_bet"]),
        none_as_nothing(document["log_cusum_by_bet"]),
        tuple(document["restarted_us"]),
    )


def ticks_to_json(ticks: Sequence[Tick]) -> list[list[Any]]:
    """Restart mass, start, then the counts by loss."""
    return [[tick.mass, tick.at_us, *tick.counts] for tick in ticks]


def ticks_from_json(rows: Sequence[Sequence[Any]]) -> tuple[Tick, ...]:
    return tuple(Tick(mass, at_us, tuple(counts)) for mass, at_us, *counts in rows)


def finite_or_none(logs: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in logs]


def none_as_nothing(logs: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in logs)
