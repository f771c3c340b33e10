"""What follows from the rounds so far: ship the student, iterate with the rows that are missing, or give up.

Two rounds without progress, or three without passing, and the task is not distillable as it is: a further round
would look at the gate once more in the hope of luck.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from distill.gating.bounds import rows_to_prove
from distill.gating.rounds import Hints, Round, SliceRound

MOST_ROUNDS = 3  # without passing
DRAWS, LEVEL = 1000, 0.9  # of the paired bootstrap
LEAST_TRAIN_ROWS = 200  # of a slice that has to meet a bar
NOISY, GAIN = 0.1, 0.01  # shares from which on noise and a larger student explain a failure


class Step(StrEnum):
    """What is done next."""

    SHIP = "ship"
    ITERATE = "iterate"
    KILL = "kill"


class Diagnosis(StrEnum):
    """Why a task is not distillable."""

    CEILING = "ceiling"  # the teacher does not agree with itself often enough
    DATA = "data"  # slices have too few rows
    NOISE = "noise"  # too many answers to learn from look wrong
    CAPACITY = "capacity"  # larger students still gain
    REPRESENTATION = "representation"  # not even the nearest rows name the teacher's class
    UNCLEAR = "unclear"  # nothing that was measured points anywhere


@dataclass(frozen=True, slots=True)
class Need:
    """What a slice needs in the next round."""

    slice: str
    gate_rows: (
        int | None
    )  # that prove its bar at its present fidelity; None: none do, it has to become better
    has_gate_rows: int
    train_rows: int
    has_train_rows: int

    @property
    def said(self) -> str:
        train = f"{self.train_rows} training rows (has {self.has_train_rows})"
        if self.gate_rows is None:
            return f"{self.slice}: its fidelity is not above its bar; {train}"
        return f"{self.slice}: {self.gate_rows} gate rows (has {self.has_gate_rows}), {train}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The step, why, and what it takes or what stood in the way."""

    step: Step
    reasons: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    diagnosis: Diagnosis | None = None

    def plain(self, teacher_version: str) -> dict[str, Any]:
        """As it is kept with the job."""
        return {**asdict(self), "teacher_version": teacher_version}


def outcome_of(rounds: Sequence[Round]) -> Outcome:
    """From the rounds since the last student or the last end, the newest one last."""
    last = rounds[-1]
    if last.passed:
        return Outcome(Step.SHIP, ("a candidate passed its gate",))
    needs = tuple(need_of(one, last.alpha) for one in last.slices if one.outcome != "pass")
    why = _give_up(rounds)
    if why is None:
        said = tuple(need.said for need in needs) or ("a criterion beside fidelity is not met",)
        return Outcome(Step.ITERATE, said, needs)
    diagnosis, sentence = diagnose(last.hints, last.slices, needs)
    return Outcome(Step.KILL, (f"not distillable: {why}", f"{diagnosis}: {sentence}"), needs, diagnosis)


def _give_up(rounds: Sequence[Round]) -> str | None:
    if len(rounds) >= MOST_ROUNDS:
        return f"{len(rounds)} rounds without passing"
    if len(rounds) < 2:
        return None
    low, high, name = progress(rounds[-2], rounds[-1])
    if len(rounds[-1].failing) < len(rounds[-2].failing) or low is None or low > 0:
        return None
    return f"two rounds without progress: {name} changed by {low:+.3f} to {high:+.3f} ({LEVEL:.0%} of paired draws)"


def progress(before: Round, now: Round) -> tuple[float | None, float, str]:
    """How much better the worst failing slice of the earlier round became, row by row: interval and name.

    None as lower end where the rounds share no rows of it.
    """
    failing = before.failing or tuple(one.slice for one in before.slices)
    name = min(failing, key=before.share, default="all")
    shared = [digest for digest in before.agreed if digest in now.agreed and name in before.members[digest]]
    if not shared:
        return None, 0.0, name
    change = np.array([int(now.agreed[digest]) - int(before.agreed[digest]) for digest in sorted(shared)])
    draw = np.random.default_rng(0)  # the same history gives the same outcome
    means = change[draw.integers(0, len(change), (DRAWS, len(change)))].mean(axis=1)
    low, high = (float(np.quantile(means, level)) for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return low, high, name


def need_of(one: SliceRound, alpha: float) -> Need:
    share = one.agreements / one.pairs if one.pairs else 0.0
    return Need(
        one.slice,
        rows_to_prove(one.bar, share, alpha),
        one.pairs,
        max(LEAST_TRAIN_ROWS, 2 * one.train_rows if share <= one.bar else one.train_rows),
        one.train_rows,
    )


def diagnose(hints: Hints, slices: Sequence[SliceRound], needs: Sequence[Need]) -> tuple[Diagnosis, str]:
    """The first cause that what was measured supports, from what nothing can mend to what takes work."""
    bar = max((one.bar for one in slices if one.outcome != "pass"), default=0.0)
    if hints.ceiling is not None and hints.ceiling < bar:
        return Diagnosis.CEILING, (
            f"the teacher agrees with itself in at most {hints.ceiling:.3f} of cases, and the bar is {bar:.3f};"
            " lower the bar, or make the teacher's answers repeatable"
        )
    short = [need for need in needs if _is_short(need)]
    if needs and len(short) == len(needs):
        return Diagnosis.DATA, "; ".join(need.said for need in short)
    if hints.label_noise is not None and hints.label_noise >= NOISY:
        return Diagnosis.NOISE, (
            f"{hints.label_noise:.1%} of the answers to learn from look wrong; review them, or verify labels"
        )
    if hints.next_rung_gain is not None and hints.next_rung_gain >= GAIN:
        return Diagnosis.CAPACITY, (
            f"the largest candidate gained {hints.next_rung_gain:.3f} over the one before; add a larger one"
        )
    if hints.neighbour_agreement is not None and hints.neighbour_agreement < bar:
        return Diagnosis.REPRESENTATION, (
            f"the nearest rows name the teacher's class in {hints.neighbour_agreement:.3f} of cases only; texts that"
            " look alike mean different things to it, so another encoder or more context is needed"
        )
    return Diagnosis.UNCLEAR, "nothing that was measured explains it; look at the review queue and the slices"


def _is_short(need: Need) -> bool:
    too_few = need.gate_rows is not None and need.has_gate_rows < need.gate_rows
    return too_few or need.has_train_rows < LEAST_TRAIN_ROWS
