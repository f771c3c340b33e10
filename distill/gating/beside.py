"""Gathers what a candidate is judged beside: the incumbent, verified labels, the mix of traffic, the user's tests."""

from collections.abc import Sequence

from sqlalchemy import Engine
from sqlmodel import Session

from distill.curation.rows import Row
from distill.curation.split import Split
from distill.gating.answers import Answers
from distill.gating.behaviour import read_behaviour
from distill.gating.look import AskTeacher, Beside
from distill.gating.mix import patterns_of
from ledger.configuration import TaskSection
from ledger.labels import last_labels


def beside_of(
    engine: Engine,
    task: TaskSection,
    split: Split,
    incumbent: Answers | None,
    ask_teacher: AskTeacher | None = None,
) -> Beside:
    """Raises BehaviourFileWrong."""
    path = task.criteria.behaviour_file
    gate = [entry.row for entry in split.gate]
    return Beside(
        incumbent=incumbent,
        labels=verified_labels(engine, task, gate),
        patterns=patterns_of((*gate, *split.train, *split.dev, *split.calibration)),
        behaviour=() if path is None else read_behaviour(path, task.classes),
        ask_teacher=ask_teacher,
    )


def verified_labels(engine: Engine, task: TaskSection, rows: Sequence[Row]) -> dict[str, int]:
    """Digest of a row -> its verified class, where a label arrived that is one of the task's classes."""
    with Session(engine) as session:
        found = last_labels(session, [row.exchange_id for row in rows])
    labels = {row.digest: found.get((row.exchange_id, row.input_index)) for row in rows}
    places = {name: place for place, name in enumerate(task.classes)}
    return {digest: places[label] for digest, label in labels.items() if label in places}
