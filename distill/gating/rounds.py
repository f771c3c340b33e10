"""What a round came to, kept in its job's folder, so that the next one can be compared with it row by row.

A round is new rows and a whole ladder of candidates. What is kept of a row is its digest, and an erasure takes it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from ledger.job_folders import ROUND_FILE, write_whole


@dataclass(frozen=True, slots=True)
class SliceRound:
    """A slice that has to meet a bar, in one round: its gate rows, and how many rows it learnt from."""

    slice: str
    outcome: str  # pass, fail, inconclusive
    bar: float
    pairs: int
    agreements: int
    train_rows: int


@dataclass(frozen=True, slots=True)
class Hints:
    """What else is known of why a student does not get there; None where nobody measured it."""

    ceiling: float | None = None  # upper bound of how often the teacher agrees with itself
    label_noise: float | None = None  # share of training rows whose answer looks wrong
    next_rung_gain: float | None = None  # fidelity that the largest candidate has over the one before
    neighbour_agreement: float | None = None  # how often the nearest rows name the teacher's class


@dataclass(frozen=True, slots=True)
class Round:
    """The best candidate of one job, as its gate or its held-out rows showed it."""

    job_id: int
    teacher_version: str
    passed: bool
    alpha: float
    slices: tuple[SliceRound, ...]
    agreed: Mapping[str, bool]  # digest of a row -> whether student and teacher agree
    members: Mapping[str, tuple[str, ...]]  # digest of a row -> its slices that have to meet a bar
    hints: Hints = Hints()
    ended: bool = False  # by a kill: what follows is another history

    @property
    def failing(self) -> tuple[str, ...]:
        return tuple(one.slice for one in self.slices if one.outcome != "pass")

    def share(self, name: str) -> float:
        of_slice = [hit for digest, hit in self.agreed.items() if name in self.members[digest]]
        return sum(of_slice) / len(of_slice) if of_slice else 0.0


def write_round(folder: Path, one: Round) -> None:
    write_whole(folder / ROUND_FILE, asdict(one))


def rounds_before(jobs_folder: Path, teacher_version: str, job_ids: Sequence[int]) -> tuple[Round, ...]:
    """The rounds of these jobs, oldest first, since the last one that passed, was the end, or had another teacher."""
    found: list[Round] = []
    for job_id in sorted(job_ids):
        path = jobs_folder / str(job_id) / ROUND_FILE
        if not path.is_file():
            continue
        one = _read(orjson.loads(path.read_bytes()))
        if one.passed or one.ended or one.teacher_version != teacher_version:
            found = []
        else:
            found.append(one)
    return tuple(found)


def _read(document: dict[str, Any]) -> Round:
    slices = tuple(SliceRound(**one) for one in document.pop("slices"))
    members = {digest: tuple(names) for digest, names in document.pop("members").items()}
    return Round(slices=slices, members=members, hints=Hints(**document.pop("hints")), **document)
