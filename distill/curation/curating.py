"""The training rows of a split as they will be learned from: looked through, thinned and weighed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import numpy as np

from distill.curation.embedded import Embedded
from distill.curation.live_match import Cells, cells_of, live_factors
from distill.curation.review import Answer, Decision, Doubtful
from distill.curation.rows import Row
from distill.curation.semantic import semantic_duplicates
from distill.curation.split import Split
from distill.curation.teacher_errors import doubtful_rows
from distill.curation.weighing import WeightSummary, weighed
from ledger.configuration import TaskSection
from ledger.observation import Observation


class Untrained(StrEnum):
    """Why a row of the training part does not train."""

    DROPPED = "dropped"  # a person said so
    DOUBTFUL = "doubtful"  # it waits for review
    SEMANTIC_DUPLICATE = "semantic_duplicate"  # another one means the same


@dataclass(frozen=True, slots=True)
class Curated:
    """`rows` train, each with its final weight; `cells` are of the pool, in its order, for the audit of coverage."""

    rows: tuple[Row, ...]
    review: tuple[Doubtful, ...]
    left_out: Mapping[str, int]
    weights: WeightSummary
    cells: Cells


class Answering(Protocol):
    """Whatever answers texts as the student process would."""

    def answer(self, texts: Sequence[str]) -> Sequence[Observation]: ...


@dataclass(frozen=True, slots=True)
class Beside:
    """What else is known when rows are curated."""

    incumbent: Mapping[str, Observation] = field(
        default_factory=dict
    )  # its answers to training rows, by digest
    answers: Mapping[str, Answer] = field(default_factory=dict)  # distill.curation.review.answers_of_task
    seed: int = 0


def curated(
    train: Sequence[Row],
    pool: Sequence[Row],
    task: TaskSection,
    space: Embedded,
    beside: Beside | None = None,
) -> Curated:
    """`train` is the training part, replayed rows included; `pool` every row that tells how live traffic is.

    `space` has the vectors of all of them: those of an encoder, or distill.curation.embedded.lexical.
    """
    beside = beside or Beside()
    settings = task.curation
    answered = _as_people_said(train, task.classes, beside.answers)
    doubts = doubtful_rows(answered, task.classes, space, settings.doubtful_share, beside.seed)
    gone: dict[str, Untrained] = {
        entry.digest: Untrained.DOUBTFUL
        for entry in doubts
        if entry.set_aside and entry.digest not in beside.answers
    }
    believed = [row for row in answered if row.digest not in gone]
    doubles = semantic_duplicates(
        believed, space, settings.semantic_duplicate, settings.slice_quota, beside.seed
    )
    gone |= dict.fromkeys(doubles, Untrained.SEMANTIC_DUPLICATE)
    rows = [row for row in answered if row.digest not in gone]
    cells, factors = _matched(rows, pool, task, space, beside.seed)
    trained, summary = weighed(rows, factors, settings, beside.incumbent)
    left_out = Counter(map(str, gone.values()))
    left_out[Untrained.DROPPED] = len(train) - len(answered)
    waiting = tuple(entry for entry in doubts if entry.digest not in beside.answers)
    return Curated(trained, waiting, dict(+left_out), summary, cells)


def curated_split(
    split: Split,
    pool: Sequence[Row],
    task: TaskSection,
    space: Embedded,
    incumbent: Answering | None = None,
    answers: Mapping[str, Answer] | None = None,
) -> tuple[Split, Curated]:
    """The split with its training part curated; the incumbent is asked about training rows alone."""
    said = incumbent.answer([row.text for row in split.train]) if incumbent and split.train else ()
    by_digest = {row.digest: one for row, one in zip(split.train, said, strict=False)}
    found = curated(split.train, pool, task, space, Beside(by_digest, answers or {}))
    left_out = {**split.left_out, **found.left_out}
    return replace(split, train=found.rows, left_out=left_out), found


def _as_people_said(rows: Sequence[Row], classes: Sequence[str], answers: Mapping[str, Answer]) -> list[Row]:
    """Without the rows that somebody dropped; those that somebody relabelled have that true class."""
    found = []
    for row in rows:
        answer = answers.get(row.digest)
        if answer is not None and answer.decision is Decision.RELABEL and answer.label in classes:
            row = replace(row, truth=classes.index(answer.label))
        if answer is None or answer.decision is not Decision.DROP:
            found.append(row)
    return found


def _matched(
    rows: Sequence[Row], pool: Sequence[Row], task: TaskSection, space: Embedded, seed: int
) -> tuple[Cells, np.ndarray]:
    """Cells of the pool, and for each training row the factor that matches training to it."""
    known = {row.digest for row in pool}
    everything = [*pool, *(row for row in rows if row.digest not in known)]
    cells = cells_of(everything, [rule.name for rule in task.rules if rule.decides_who_serves], space, seed)
    trains = {row.digest for row in rows}
    factors = live_factors(
        cells,
        np.array([row.live for row in everything]),
        np.array([row.natural_weight for row in everything]),
        np.array([row.digest in trains for row in everything], dtype=bool),
    )
    by_digest = {row.digest: factor for row, factor in zip(everything, factors.tolist(), strict=True)}
    of_pool = replace(cells, codes=cells.codes[:, : len(pool)])
    return of_pool, np.array([by_digest[row.digest] for row in rows])
