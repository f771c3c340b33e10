"""What the exchange files say of a task's traffic: who answered, what became a pair, and what is missing."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ledger.answer_pages import NOTHING
from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Outcome, ServedBy
from ledger.exchange_file import exchange_paths, reading
from ledger.slices import OVERALL, SliceRule, Subject, serving_slices_of
from stillgate.report.period import Period

Interval = tuple[int, int]  # [from, to) in microseconds

_KINDS = (
    "SELECT outcome, served_by, fallback, unpaired, count(*) FROM exchange"
    " WHERE task = ? AND started_at_us >= ? AND started_at_us < ? GROUP BY 1, 2, 3, 4"
)
_EPOCHS = (
    "SELECT teacher_epoch, min(started_at_us), count(*) FROM exchange"
    " WHERE task = ? AND started_at_us >= ? AND started_at_us < ? GROUP BY 1"
)
_ANSWERED_BY = "EXISTS (SELECT 1 FROM answer a WHERE a.exchange_sequence = e.sequence AND a.responder = ?)"
# One line for each combination of headers and lengths: what the rules over a request can tell apart.
_SLICES = (
    "SELECT attributes, input_words, count(*), sum(served), sum(eligible), sum(eligible AND answered) FROM"
    " (SELECT e.attributes, e.input_words, e.served_by = ? AND e.artifact = ? AS served,"
    f" e.outcome = ? AND e.unpaired IS NULL AND e.measured AND ({{during}}) AS eligible,"
    f" {_ANSWERED_BY} AND (e.teacher != ? OR {_ANSWERED_BY}) AS answered"
    " FROM exchange e WHERE e.task = ? AND e.started_at_us >= ? AND e.started_at_us < ?) GROUP BY 1, 2"
)
_UNFOLDED = (
    "SELECT count(*) FROM answer a JOIN exchange e ON e.sequence = a.exchange_sequence WHERE a.number > ?"
    " AND a.responder = ? AND e.task = ? AND e.started_at_us >= ? AND e.started_at_us < ?"
)


@dataclass(frozen=True, slots=True)
class SliceTraffic:
    """Requests of one slice; one with several inputs belongs to the slices of all of them."""

    requests: int = 0
    served_by_student: int = 0
    eligible: int = (
        0  # readable, and the teacher was asked whatever the student said, while the student answered
    )
    answered: int = 0  # of those, with an answer of the student and one of the teacher

    def plus(self, requests: int, served: int, eligible: int, answered: int) -> "SliceTraffic":
        return SliceTraffic(
            self.requests + requests,
            self.served_by_student + served,
            self.eligible + eligible,
            self.answered + answered,
        )


@dataclass(frozen=True, slots=True)
class Epoch:
    """The first exchange of one version of the teacher in the period."""

    teacher_epoch: str
    first_at_us: int
    requests: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Recorded requests of one task in the period."""

    requests: int
    outcomes: Mapping[str, int]
    served_by: Mapping[str, int]
    fallbacks: Mapping[str, int]
    unpaired: Mapping[str, int]
    epochs: tuple[Epoch, ...]
    slices: Mapping[str, SliceTraffic]
    unfolded_answers: int  # of the student: the monitor has not read them yet
    unreadable_files: Mapping[str, str]  # gateway -> why


def read_traffic(
    data_directory: Path,
    task: TaskSection,
    artifact: str | None,
    answering: Sequence[Interval],
    period: Period,
    positions: Mapping[str, int],
) -> Traffic:
    """`answering` says when the student had to answer; `positions`, by gateway, how far the monitor has read."""
    kinds: Counter[tuple[str, ...]] = Counter()
    epochs: list[Epoch] = []
    slices: dict[str, SliceTraffic] = {}
    unfolded, problems = 0, {}
    for path in exchange_paths(data_directory):
        try:
            with reading(path) as connection:
                kinds.update(_kinds(connection, task.name, period))
                epochs += _epochs(connection, task.name, period)
                for name, counts in _slice_counts(connection, task, artifact, answering, period):
                    slices[name] = slices.get(name, SliceTraffic()).plus(*counts)
                read = positions.get(path.stem, 0)
                (waiting,) = connection.execute(
                    _UNFOLDED, (read, artifact, task.name, *period.bounds_us)
                ).fetchone()
                unfolded += waiting
        except sqlite3.Error as error:
            problems[path.stem] = f"{path.name} cannot be read: {error}"
    return Traffic(
        requests=kinds.total(),
        outcomes=_totals(kinds, 0),
        served_by=_totals(kinds, 1),
        fallbacks=_totals(kinds, 2),
        unpaired=_totals(kinds, 3),
        epochs=tuple(_merged(epochs)),
        slices=slices,
        unfolded_answers=unfolded,
        unreadable_files=problems,
    )


def _kinds(connection: sqlite3.Connection, task: str, period: Period) -> dict[tuple[str, ...], int]:
    rows = connection.execute(_KINDS, (task, *period.bounds_us))
    return {tuple(word or "" for word in row[:4]): row[4] for row in rows}


def _totals(kinds: Mapping[tuple[str, ...], int], place: int) -> dict[str, int]:
    """By the word at one place, the most frequent first."""
    totals: Counter[str] = Counter()
    for words, count in kinds.items():
        if words[place]:
            totals[words[place]] += count
    return dict(totals.most_common())


def _epochs(connection: sqlite3.Connection, task: str, period: Period) -> list[Epoch]:
    return [Epoch(*row) for row in connection.execute(_EPOCHS, (task, *period.bounds_us))]


def _merged(epochs: Iterable[Epoch]) -> list[Epoch]:
    """The same epoch of several gateways once, in order of appearance."""
    found: dict[str, Epoch] = {}
    for epoch in epochs:
        seen = found.get(epoch.teacher_epoch, Epoch(epoch.teacher_epoch, epoch.first_at_us, 0))
        first = min(seen.first_at_us, epoch.first_at_us)
        found[epoch.teacher_epoch] = Epoch(epoch.teacher_epoch, first, seen.requests + epoch.requests)
    return sorted(found.values(), key=lambda epoch: epoch.first_at_us)


def _slice_counts(
    connection: sqlite3.Connection,
    task: TaskSection,
    artifact: str | None,
    answering: Sequence[Interval],
    period: Period,
) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    during = " OR ".join(["e.started_at_us >= ? AND e.started_at_us < ?"] * len(answering)) or "0"
    student = artifact or ""
    parameters = (
        *(str(ServedBy.STUDENT), student, str(Outcome.COMPLETE)),
        *(at for interval in answering for at in interval),
        *(student, NOTHING, TEACHER, task.name, *period.bounds_us),
    )
    rules = [rule for rule in task.rules if _is_told(rule)]
    for attributes, words, *counts in connection.execute(_SLICES.format(during=during), parameters):
        names = _slice_names(rules, orjson.loads(attributes), orjson.loads(words))
        for name in names:
            yield name, tuple(counts)


def _is_told(rule: SliceRule) -> bool:
    """Whether the recorded attributes and word counts alone tell its slices: texts and hours are not grouped by."""
    return rule.kind in ("header", "pointer", "words") or (
        rule.kind == "of" and all(map(_is_told, rule.parts))
    )


def _slice_names(rules: Sequence[SliceRule], attributes: Any, words: Sequence[int]) -> list[str]:
    """Slices that the request alone tells; the overall one for a request whose inputs could not be read."""
    subjects = [Subject(attributes, count) for count in words]
    names = [name for subject in subjects for name in serving_slices_of(rules, subject)]
    return list(dict.fromkeys([OVERALL, *names]))
