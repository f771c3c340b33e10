"""Evidence that a certified threshold still holds: an e-process against "the disagreement is above what was certified".

The mirror of the drift detector: it bets that few pairs disagree, so its wealth grows while they do not. Reaching
level L by chance has probability at most 1 / L, however often one looks (Ville).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.detector import log_mean
from monitor.detector_state import finite_or_none, none_as_nothing

SUPPOSED = (0.0, 0.25, 0.5, 0.75)  # of what was certified: the disagreements that the bets are best for


@dataclass(frozen=True, slots=True)
class Renewal:
    """What pairs have shown since the certificate was issued or last renewed."""

    log_wealth_by_bet: tuple[float, ...] = (0.0,) * len(SUPPOSED)
    inputs: int = 0
    disagreements: int = 0

    @property
    def log_wealth(self) -> float:
        return log_mean(self.log_wealth_by_bet)


def counted(renewal: Renewal, certified: float, inputs: int, disagreements: int) -> Renewal:
    """After some more pairs, against "at least `certified` of them disagree"."""
    wealth = (
        before + _log_evidence(certified, 1 - supposed, inputs, disagreements)
        for before, supposed in zip(renewal.log_wealth_by_bet, SUPPOSED, strict=True)
    )
    return Renewal(tuple(wealth), renewal.inputs + inputs, renewal.disagreements + disagreements)


def plain(renewal: Renewal) -> dict[str, Any]:
    return {
        "log_wealth_by_bet": finite_or_none(renewal.log_wealth_by_bet),
        "inputs": renewal.inputs,
        "disagreements": renewal.disagreements,
    }


def read_renewal(document: Mapping[str, Any]) -> Renewal:
    """The inverse of plain."""
    wealth = none_as_nothing(document["log_wealth_by_bet"])
    return Renewal(wealth, document["inputs"], document["disagreements"])


def _log_evidence(certified: float, bet: float, inputs: int, disagreements: int) -> float:
    """log of the product of 1 + bet ((1 - x) / (1 - certified) - 1) over 0/1 disagreements x."""
    if bet == 1 and disagreements:
        return -math.inf
    agreed = (inputs - disagreements) * math.log1p(bet * (1 / (1 - certified) - 1))
    return agreed + (disagreements * math.log1p(-bet) if disagreements else 0.0)
