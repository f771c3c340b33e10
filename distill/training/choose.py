"""Which rung of the ladder is the student: the smallest that clears every development bar with margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_TRIED = 2  # a small student that clears its bars still has a larger one beside it to be compared with
LEAST_ROWS = 20  # of a slice among the dev rows; fewer say nothing about it


@dataclass(frozen=True, slots=True)
class Tried:
    """A trained rung on the dev rows: (agreements with the teacher, rows) of each slice."""

    rung: str
    dev_nll: float
    fidelity: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Choice:
    """The rung that the gate is asked about first; None: no rung cleared its bars, and `reasons` says which missed.

    `enough` is whether the next larger rung need not be trained.
    """

    rung: str | None
    reasons: Mapping[str, str]  # of each rung, in the order in which they were tried
    enough: bool


def choose_rung(tried: Sequence[Tried], bars: Mapping[str, float], margin: float) -> Choice:
    """`tried` from small to large; `bars` by slice; `margin` in share of rows above the bar."""
    missed = {one.rung: _missed(one, bars, margin) for one in tried}
    clear = [rung for rung, misses in missed.items() if not misses]
    reasons = {rung: "; ".join(misses) or _cleared(bars, margin) for rung, misses in missed.items()}
    return Choice(clear[0] if clear else None, reasons, bool(clear) and len(tried) >= LEAST_TRIED)


def _missed(one: Tried, bars: Mapping[str, float], margin: float) -> list[str]:
    misses = []
    for name, bar in bars.items():
        agreements, rows = one.fidelity.get(name, (0, 0))
        if rows >= LEAST_ROWS and agreements / rows < bar + margin:
            misses.append(
                f"{name}: {agreements} of {rows} dev rows agree ({agreements / rows:.1%}), below the bar of"
                f" {bar:.0%} and the margin of {margin:.0%}"
            )
    return misses


def _cleared(bars: Mapping[str, float], margin: float) -> str:
    return f"clears {len(bars)} bars with a margin of {margin:.0%}"
