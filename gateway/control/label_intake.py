"""Takes in true labels: each is checked by itself, and an exchange that is not written yet is waited for."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from gateway.control.schemas import LabelBody
from ledger.configuration import Configuration
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import exchange_at, exchange_path, reading
from ledger.labels import append_label


@dataclass(frozen=True, slots=True)
class RefusedLabel:
    index: int  # in the request
    reason: str


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the labels of one request."""

    accepted: tuple[LabelBody, ...]
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
    accepted: list[LabelBody] = []
    refused: list[RefusedLabel] = []
    with ExitStack() as stack:
        files = _Files(configuration.deployment.data_directory, stack)
        for index, entry in enumerate(entries):
            checked = _check(configuration, files, entry)
            if isinstance(checked, str):
                refused.append(RefusedLabel(index, checked))
            else:
                accepted.append(checked)
    return Intake(tuple(accepted), tuple(refused))


def append_labels(session: Session, labels: Iterable[LabelBody], person: str) -> None:
    """Append in the order given. A label that was sent before changes nothing by being sent again."""
    for label in labels:
        append_label(session, label.exchange_id, label.input_index, label.label, label.source or person)


def _check(configuration: Configuration, files: _Files, entry: Mapping[str, Any]) -> LabelBody | str:
    """The label, or a sentence that says why it is refused."""
    try:
        label = LabelBody.model_validate(entry)
    except ValidationError as error:
        detail = error.errors()[0]
        return f"{'.'.join(map(str, detail['loc'])) or 'label'}: {detail['msg']}"
    parsed = parse_exchange_id(label.exchange_id)
    connection = files.of(parsed[0]) if parsed else None
    if parsed is None or connection is None:
        return f"exchange_id {label.exchange_id!r} is not one of this deployment, e.g. g0-17"
    return _check_against_exchange(configuration, connection, parsed[1], label)


def _check_against_exchange(
    configuration: Configuration, connection: sqlite3.Connection, sequence: int, label: LabelBody
) -> LabelBody | str:
    exchange = exchange_at(connection, sequence)
    if exchange is None:  # it may be written in a few milliseconds, so any task's class will do
        known = {name for task in configuration.task for name in task.classes}
        return label if label.label in known else f"label {label.label!r} is a class of no task"
    task = configuration.task_named(exchange.task)
    if task is None:
        return f"exchange {label.exchange_id} belongs to no task, so it has no true label"
    if label.label not in task.classes:
        return f"label {label.label!r} is none of the classes of task {task.name}: {', '.join(task.classes)}"
    inputs = len(exchange.input_words)
    if inputs and label.input_index >= inputs:
        return f"input_index {label.input_index} is beyond the {inputs} inputs of {label.exchange_id}"
    return label
