"""Rows that people should look at, listed in the job's folder by digest and exchange, never with their texts.

What people say of a row holds for every later job of the task. An erasure takes rows out of the list.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from distill.curation.rows import Row
from ledger.clock import now_us
from ledger.job_folders import REVIEW_FILE, write_whole


class Doubt(StrEnum):
    """Why somebody should look at a row."""

    CONFIDENT_LEARNING = "confident_learning"  # its neighbours say that the teacher's class is another one
    INCONSISTENT = "inconsistent"  # nearly the same text got another answer, and more often
    UNSTEADY = "unsteady"  # the teacher gave the same text several answers
    PRINCIPAL_SHARE = "principal_share"  # its caller had given as many rows as one may


class Decision(StrEnum):
    KEEP = "keep"  # it trains as it is
    DROP = "drop"  # it never trains
    RELABEL = "relabel"  # it trains with the class that the person names


class ReviewRefused(Exception):
    """An answer that cannot be taken, and why."""


@dataclass(frozen=True, slots=True)
class Doubtful:
    """One entry of the queue; `set_aside`: it does not train until somebody says so."""

    digest: str
    exchange_id: str
    input_index: int
    doubt: Doubt
    slices: tuple[str, ...]
    teacher_class: str
    suggested_class: str | None
    set_aside: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of a row."""

    decision: Decision
    person: str
    at_us: int
    label: str | None = None  # of a RELABEL


def doubtful(
    row: Row, doubt: Doubt, classes: Sequence[str], suggested: int | None, set_aside: bool
) -> Doubtful:
    """The entry of a row."""
    return Doubtful(
        row.digest,
        row.exchange_id,
        row.input_index,
        doubt,
        row.slices,
        classes[row.teacher.top],
        None if suggested is None else classes[suggested],
        set_aside,
    )


def write_queue(folder: Path, task: str, entries: Iterable[Doubtful]) -> None:
    """The queue of a job; answers that were given to an earlier one of the same job stay."""
    answered = {digest: entry["answer"] for digest, entry in _rows(folder).items() if entry["answer"]}
    rows = {entry.digest: {**_entry(entry), "answer": answered.get(entry.digest)} for entry in entries}
    write_whole(folder / REVIEW_FILE, {"task": task, "rows": dict(sorted(rows.items()))})


def read_queue(folder: Path) -> list[tuple[Doubtful, Answer | None]]:
    """In the order of the digests; empty where the job has none."""
    return [(_doubtful(digest, entry), _answer(entry["answer"])) for digest, entry in _rows(folder).items()]


def answer_queue(
    folder: Path,
    digest: str,
    decision: Decision,
    person: str,
    classes: Sequence[str],
    label: str | None = None,
) -> Answer:
    """Take what a person says of a row; a later word replaces it. Raises ReviewRefused."""
    path = folder / REVIEW_FILE
    document = orjson.loads(path.read_bytes()) if path.exists() else {"rows": {}}
    if digest not in document["rows"]:
        raise ReviewRefused(f"no row {digest} waits for review in {path}")
    if (decision is Decision.RELABEL) != (label is not None):
        raise ReviewRefused("relabel needs a class, and nothing else takes one")
    if label is not None and label not in classes:
        raise ReviewRefused(f"{label!r} is no class of the task; those are {', '.join(classes)}")
    if not person.strip():
        raise ReviewRefused("an answer needs the name of the person who gives it")
    answer = Answer(decision, person, now_us(), label)
    said = {"decision": str(decision), "person": person, "at_us": answer.at_us, "label": label}
    document["rows"][digest]["answer"] = said
    write_whole(path, document)
    return answer


def answers_of_task(jobs_folder: Path, task: str) -> dict[str, Answer]:
    """By digest, what people said last in any job of the task."""
    found: dict[str, Answer] = {}
    for path in jobs_folder.glob(f"*/{REVIEW_FILE}"):
        document = orjson.loads(path.read_bytes())
        for digest, entry in document["rows"].items() if document["task"] == task else ():
            answer = _answer(entry["answer"])
            if answer is not None and (digest not in found or found[digest].at_us < answer.at_us):
                found[digest] = answer
    return found


def _rows(folder: Path) -> dict[str, Any]:
    path = folder / REVIEW_FILE
    rows: dict[str, Any] = orjson.loads(path.read_bytes())["rows"] if path.exists() else {}
    return rows


def _entry(entry: Doubtful) -> dict[str, Any]:
    return {
        "exchange": entry.exchange_id,
        "input": entry.input_index,
        "doubt": str(entry.doubt),
        "slices": entry.slices,
        "teacher_class": entry.teacher_class,
        "suggested_class": entry.suggested_class,
        "set_aside": entry.set_aside,
    }


def _doubtful(digest: str, entry: Mapping[str, Any]) -> Doubtful:
    return Doubtful(
        digest,
        entry["exchange"],
        entry["input"],
        Doubt(entry["doubt"]),
        tuple(entry["slices"]),
        entry["teacher_class"],
        entry["suggested_class"],
        entry["set_aside"],
    )


def _answer(said: Mapping[str, Any] | None) -> Answer | None:
    if said is None:
        return None
    return Answer(Decision(said["decision"]), said["person"], said["at_us"], said["label"])
