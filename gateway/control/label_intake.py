"""Takes in true labels: each is checked by itself, and an exchange that is not written yet is waited for."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from gateway.control.schemas import LabelBody
from ledger.configuration import Configuration
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import exchange_at, exchange_path, reading
from ledger.labels import Kept, keep_label


class Refusal(StrEnum):
    """Why a label is not kept, as reports count it."""

    MALFORMED = "malformed"  # no label at all, or with a field that is none
    UNKNOWN_EXCHANGE = "unknown_exchange"  # of no gateway of this deployment
    NO_TASK = "no_task"  # its exchange was passed through
    BAD_CLASS = "bad_class"  # none of the task's classes
    BAD_INPUT = "bad_input"  # beyond the inputs of its exchange


@dataclass(frozen=True, slots=True)
class RefusedLabel:
    index: int  # in the request
    code: Refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A label that can be true."""

    label: LabelBody
    waits: bool  # its exchange is not in the record yet


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the labels of one request."""

    accepted: tuple[Checked, ...]
    refused: tuple[RefusedLabel, ...]


@dataclass(frozen=True, slots=True)
class _Files:
    """Exchange files that this request names, each opened once."""

    data_directory: Path
    stack: ExitStack
    opened: dict[str, sqlite3.Connection | None] = field(default_factory=dict)

    def of(self, gateway: str) -> sqlite3.Connection | None:
        if gateway not in self.opened:
            path = exchange_path(self.data_directory, gateway)
            inside = path.parent == self.data_directory / "exchanges"  # a name may hold no path
            self.opened[gateway] = (
                self.stack.enter_context(reading(path)) if inside and path.is_file() else None
            )
        return self.opened[gateway]


def check_labels(configuration: Configuration, entries: Sequence[Mapping[str, Any]]) -> Intake:
    """Sort labels into those that can be true and those that cannot, with the reason."""
    accepted: list[Checked] = []
    refused: list[RefusedLabel] = []
    with ExitStack() as stack:
        files = _Files(configuration.deployment.data_directory, stack)
        for index, entry in enumerate(entries):
            checked = _check(configuration, files, entry)
            if isinstance(checked, Checked):
                accepted.append(checked)
            else:
                refused.append(RefusedLabel(index, *checked))
    return Intake(tuple(accepted), tuple(refused))


def append_labels(session: Session, labels: Iterable[Checked], person: str) -> Counter[str]:
    """Append in the order given; how many of each Kept, and as `waiting` those whose exchange is still to come."""
    counts: Counter[str] = Counter()
    for checked in labels:
        label = checked.label
        source = label.source or person
        of_input = label.exchange_id, label.input_index
        kept = keep_label(session, *of_input, label.label, source, label.probability)
        counts[kept] += 1
        counts["waiting"] += checked.waits and kept is not Kept.DUPLICATE
    return counts


def _check(
    configuration: Configuration, files: _Files, entry: Mapping[str, Any]
) -> Checked | tuple[Refusal, str]:
    """The label, or why it is refused, with a sentence."""
    try:
        label = LabelBody.model_validate(entry)
    except ValidationError as error:
        detail = error.errors()[0]
        return Refusal.MALFORMED, f"{'.'.join(map(str, detail['loc'])) or 'label'}: {detail['msg']}"
    parsed = parse_exchange_id(label.exchange_id)
    connection = files.of(parsed[0]) if parsed else None
    if parsed is None or connection is None:
        sentence = f"exchange_id {label.exchange_id!r} is not one of this deployment, e.g. g0-17"
        return Refusal.UNKNOWN_EXCHANGE, sentence
    return _check_against_exchange(configuration, connection, parsed[1], label)


def _check_against_exchange(
    configuration: Configuration, connection: sqlite3.Connection, sequence: int, label: LabelBody
) -> Checked | tuple[Refusal, str]:
    exchange = exchange_at(connection, sequence)
    if exchange is None:  # it may be written in a few milliseconds, so any task's class will do
        known = {name for task in configuration.task for name in task.classes}
        if label.label not in known:
            return Refusal.BAD_CLASS, f"label {label.label!r} is a class of no task"
        return Checked(label, waits=True)
    task = configuration.task_named(exchange.task)
    if task is None:
        return Refusal.NO_TASK, f"exchange {label.exchange_id} belongs to no task, so it has no true label"
    if label.label not in task.classes:
        classes = ", ".join(task.classes)
        return (
            Refusal.BAD_CLASS,
            f"label {label.label!r} is none of the classes of task {task.name}: {classes}",
        )
    inputs = len(exchange.input_words)
    if inputs and label.input_index >= inputs:
        sentence = f"input_index {label.input_index} is beyond the {inputs} inputs of {label.exchange_id}"
        return Refusal.BAD_INPUT, sentence
    return Checked(label, waits=False)
