"""The pairs on which student and teacher differ most: found page by page, with memory for a few of them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import orjson
from sqlmodel import Session, col, select

from ledger.answer_pages import NOTHING, decoded, plain
from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, parse_exchange_id
from ledger.exchange_file import exchange_path, exchange_paths, reading
from ledger.tables import LabelRow
from monitor.columns import PairColumns
from monitor.histograms import UNIT
from monitor.reading import Limits, read_arrivals
from monitor.slicing import NO_SLICE
from stillgate.report.period import Period

MOST = 12  # of the worst, and of the latest
MOST_OF_A_SLICE = 3
TEXT_LENGTH = 300  # characters of an input that are shown
A_PAGE = Limits(answers=4000, pairs=50_000)

_FIRST = "SELECT sequence FROM exchange WHERE started_at_us >= ? ORDER BY sequence LIMIT 1"
_BEFORE = (
    "SELECT min(number) FROM (SELECT number FROM answer WHERE exchange_sequence >= ?"
    " ORDER BY exchange_sequence LIMIT 10000)"  # answers overtake each other by no more than a queue
)
_TEXTS = "SELECT inputs, teacher FROM exchange WHERE sequence = ?"
_AUDIT = "SELECT observations FROM answer WHERE exchange_sequence = ? AND responder = ?"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One input that the student answered otherwise than the teacher."""

    exchange_id: str
    input_index: int
    at_us: int
    slices: tuple[str, ...]
    teacher_class: str
    teacher_probability: float | None
    student_class: str
    student_confidence: float
    total_variation: float  # 0 to 1: how far apart the two distributions are
    label: str | None  # the true class, where it is known
    input_digest: str
    text: str | None  # cut; None where the task stores none, or it was erased or left out


@dataclass(frozen=True, slots=True)
class Disagreements:
    """Of identical inputs only the worst is listed."""

    pairs: int  # of the student in the period, counted in the exchange files
    agreements: int
    worst: tuple[Disagreement, ...] = ()
    latest: tuple[Disagreement, ...] = ()
    by_slice: Mapping[str, tuple[Disagreement, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class _Search:
    """What was found so far."""

    slices: frozenset[str]
    pairs: int = 0
    agreements: int = 0
    worst: list[Disagreement] = field(default_factory=list)
    latest: list[Disagreement] = field(default_factory=list)
    by_slice: dict[str, list[Disagreement]] = field(default_factory=dict)

    def add(self, found: Sequence[Disagreement]) -> None:
        self.worst = _worst([*self.worst, *found], MOST)
        self.latest = sorted([*self.latest, *found], key=_at_us, reverse=True)[:MOST]
        for one in found:
            for name in self.slices.intersection(one.slices):
                self.by_slice[name] = _worst([*self.by_slice.get(name, ()), one], MOST_OF_A_SLICE)


_at_us = attrgetter("at_us")


def find_disagreements(
    session: Session,
    data_directory: Path,
    task: TaskSection,
    artifact: str,
    period: Period,
    slices: Sequence[str],
    with_texts: bool,
) -> Disagreements:
    """Read every answer of the period; files that cannot be read are the coverage's to tell."""
    search = _Search(frozenset(slices))
    for path in exchange_paths(data_directory):
        try:
            for columns in _pages(path, task, period):
                _look_through(columns, task, artifact, period, search)
        except sqlite3.Error:
            continue
    listed = {
        _key(one): one for some in (search.worst, search.latest, *search.by_slice.values()) for one in some
    }
    full = _completed(session, data_directory, task, listed, with_texts)
    return Disagreements(
        pairs=search.pairs,
        agreements=search.agreements,
        worst=tuple(full[_key(one)] for one in search.worst),
        latest=tuple(full[_key(one)] for one in search.latest),
        by_slice={
            name: tuple(full[_key(one)] for one in search.by_slice[name])
            for name in slices
            if name in search.by_slice
        },
    )


def _key(one: Disagreement) -> tuple[str, int]:
    return one.exchange_id, one.input_index


def _worst(found: Sequence[Disagreement], most: int) -> list[Disagreement]:
    """Identical inputs once; the furthest apart first, of equals the most confident, then the latest."""
    ranked = sorted(found, key=lambda one: (-one.total_variation, -one.student_confidence, -one.at_us))
    by_digest: dict[str, Disagreement] = {}
    for one in ranked:
        by_digest.setdefault(one.input_digest, one)
    return list(by_digest.values())[:most]


def _pages(path: Path, task: TaskSection, period: Period) -> Iterator[PairColumns]:
    position = _position_before(path, period)
    while True:
        arrivals = read_arrivals(path, position, A_PAGE, {task.name: task})
        yield from arrivals.pairs
        if not arrivals.is_behind:
            return
        position = arrivals.position


def _position_before(path: Path, period: Period) -> int:
    """The number of an answer before any to an exchange of the period."""
    with reading(path) as connection:
        first = connection.execute(_FIRST, (period.bounds_us[0],)).fetchone()
        if first is None:
            (last,) = connection.execute("SELECT max(number) FROM answer").fetchone()
            return int(last or 0)
        (number,) = connection.execute(_BEFORE, first).fetchone()
    return 0 if number is None else int(number) - 1


def _look_through(
    columns: PairColumns, task: TaskSection, artifact: str, period: Period, search: _Search
) -> None:
    if artifact not in columns.artifacts:
        return
    since, until = period.bounds_us
    own = columns.artifact == columns.artifacts.index(artifact)
    own &= (columns.at_us >= since) & (columns.at_us < until)
    agrees = columns.measures.agrees
    search.pairs += int(own.sum())
    search.agreements += int((own & agrees).sum())
    search.add([_disagreement(columns, int(place), task.classes) for place in np.flatnonzero(own & ~agrees)])


def _disagreement(columns: PairColumns, place: int, classes: Sequence[str]) -> Disagreement:
    measures = columns.measures
    return Disagreement(
        exchange_id=columns.exchange_ids[place],
        input_index=int(columns.input_index[place]),
        at_us=int(columns.at_us[place]),
        slices=tuple(
            rule.names[rule.codes[place]] for rule in columns.slices if rule.codes[place] != NO_SLICE
        ),
        teacher_class=classes[measures.teacher_top[place]],
        teacher_probability=None,
        student_class=classes[measures.student_top[place]],
        student_confidence=float(measures.confidence[place]),
        total_variation=int(measures.total_variation[place]) / UNIT,
        label=None,
        input_digest=columns.digests[place],
        text=None,
    )


def _completed(
    session: Session,
    data_directory: Path,
    task: TaskSection,
    listed: Mapping[tuple[str, int], Disagreement],
    with_texts: bool,
) -> dict[tuple[str, int], Disagreement]:
    """With label, the teacher's probability and the text."""
    labels = _labels(session, {exchange for exchange, _ in listed})
    found = {}
    for key, one in listed.items():
        text, probability = _stored(data_directory, one, task.classes)
        found[key] = replace(
            one,
            label=labels.get(key),
            teacher_probability=probability,
            text=text if with_texts and task.capture.inputs == "text" else None,
        )
    return found


def _labels(session: Session, exchanges: Iterable[str]) -> dict[tuple[str, int], str]:
    """The last label of each input."""
    rows = session.exec(
        select(LabelRow).where(col(LabelRow.exchange_id).in_(exchanges)).order_by(col(LabelRow.number))
    )
    return {(row.exchange_id, row.input_index): row.label for row in rows}


def _stored(
    data_directory: Path, one: Disagreement, classes: Sequence[str]
) -> tuple[str | None, float | None]:
    """Text and the probability of the teacher's class, as far as they are still there."""
    named = parse_exchange_id(one.exchange_id)
    if named is None:
        return None, None
    gateway, sequence = named
    try:
        with reading(exchange_path(data_directory, gateway)) as connection:
            row = connection.execute(_TEXTS, (sequence,)).fetchone()
            audit = connection.execute(_AUDIT, (sequence, TEACHER)).fetchone()
    except sqlite3.Error:
        return None, None
    if row is None:
        return None, None
    inputs, teacher = row
    observations = plain(decoded([teacher if teacher != NOTHING or audit is None else audit[0]])[0])
    return _at(orjson.loads(inputs), one.input_index), _probability(observations, one, classes)


def _at(inputs: Sequence[str], index: int) -> str | None:
    if index >= len(inputs) or not inputs[index]:
        return None
    text = inputs[index]
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + "..."


def _probability(observations: Sequence[object], one: Disagreement, classes: Sequence[str]) -> float | None:
    observed = observations[one.input_index] if one.input_index < len(observations) else None
    return float(observed[classes.index(one.teacher_class)]) if isinstance(observed, list) else None
