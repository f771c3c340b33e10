"""Looks for the causes of a tick's alarms: reads the record around each change, and holds it against the student's own.

It happens between two attempts of the tick at its transaction, so that nobody waits for the control file meanwhile.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from ledger.alarms import LABELS_MOVED
from ledger.artifacts import Manifest
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.tables import AlarmRow, HeartbeatRow, StudentRow
from monitor.cardinality import SliceNames, slice_names
from monitor.cause import Cause, Place, cause_of, unexplained
from monitor.findings import Facts
from monitor.references import manifest_of
from monitor.runtimes import Runtime, runtimes_noted
from monitor.sides import Question, sides_of
from monitor.statistics import reference_in
from monitor.training_window import training_window
from monitor.words_moved import WordMoved, texts_around, words_moved

log = logging.getLogger("monitor")

MOST_ALARMS = 10  # of one tick that are looked into, overall slices first; each takes a second or two


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that a tick is about to raise."""

    place: Place
    change_us: int
    at_us: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What the control file says of its student."""

    names: SliceNames
    registered_us: int
    runtimes: Sequence[Runtime]
    manifest: Manifest | None


def raised(alarms: Iterable[AlarmRow]) -> list[Raised]:
    """What has to be looked into: not what is refused, where nothing but the share of labels is known to have moved."""
    return [raised_by(row) for row in alarms if row.decision != LABELS_MOVED]


def raised_by(row: AlarmRow) -> Raised:
    place = Place(row.task, row.artifact, row.slice, row.harm)
    return Raised(place, row.receipt.get("change_us") or row.at_us, row.at_us)


def explain(
    engine: Engine,
    configuration: Configuration,
    paths: Sequence[Path],
    monitor: str,
    alarms: Sequence[Raised],
) -> dict[Place, Cause]:
    """The cause of each; `monitor` is the name under which the monitor leaves its own report."""
    ordered = sorted(alarms, key=lambda alarm: (alarm.place.slice != OVERALL, alarm.place))
    found = {}
    for rank, alarm in enumerate(ordered):
        task = configuration.task_named(alarm.place.task)
        if task is None or rank >= MOST_ALARMS:
            found[alarm.place] = unexplained(f"more than {MOST_ALARMS} alarms in one tick; see the others")
        else:
            known = _known(engine, configuration.deployment.data_directory, alarm, monitor)
            found[alarm.place] = _cause_if_any(task, paths, alarm, known)
    return found


def _cause_if_any(task: TaskSection, paths: Sequence[Path], alarm: Raised, known: _Known) -> Cause:
    """An alarm is raised whatever becomes of looking into it."""
    try:
        return _cause(task, paths, alarm, known)
    except Exception as error:  # a row that somebody damaged, or a defect of ours
        log.exception(
            "Nobody knows why slice %s of %s drifted. action=cause_failed",
            alarm.place.slice,
            alarm.place.artifact,
        )
        return unexplained(f"{type(error).__name__} while the record was read; the monitor's log has it")


def words_of_alarm(
    engine: Engine, configuration: Configuration, paths: Sequence[Path], alarm: Raised
) -> list[WordMoved]:
    """Which words moved with the change of an alarm, by what the record still holds."""
    task = configuration.task_named(alarm.place.task)
    if task is None:
        return []
    known = _known(engine, configuration.deployment.data_directory, alarm, "")
    question = Question(task, alarm.place.artifact, alarm.place.slice, None, known.names)
    return words_moved(*texts_around(paths, question, alarm.change_us, known.registered_us))


def _known(engine: Engine, data_directory: Path, alarm: Raised, monitor: str) -> _Known:
    task, artifact = alarm.place.task, alarm.place.artifact
    with transaction(engine) as session:
        student = session.get(StudentRow, artifact)
        manifest = None if student is None else manifest_of(data_directory, artifact, student.manifest_digest)
        own, student_process = _report(session, monitor), _report(session, "student")
        return _Known(
            names=slice_names(session, task, artifact, manifest.gate if manifest else None),
            registered_us=student.registered_at_us if student is not None else 0,
            runtimes=runtimes_noted(own, student_process, artifact, alarm.at_us),
            manifest=manifest,
        )


def _report(session: Session, process: str) -> Mapping[str, Any]:
    row = session.get(HeartbeatRow, process)
    return row.report if row is not None else {}


def _cause(task: TaskSection, paths: Sequence[Path], alarm: Raised, known: _Known) -> Cause:
    artifact, slice_name = alarm.place.artifact, alarm.place.slice
    manifest = known.manifest
    max_tokens = manifest.max_tokens if manifest is not None else None
    question = Question(task, artifact, slice_name, max_tokens, known.names)
    before, after, problems = sides_of(paths, question, alarm.change_us, known.registered_us)
    return cause_of(
        Facts(
            classes=task.classes,
            change_us=alarm.change_us,
            before=before,
            after=after,
            reference=reference_in(manifest.reference, slice_name) if manifest is not None else None,
            learnt_version=manifest.lineage.teacher_epoch if manifest is not None else None,
            runtimes=known.runtimes,
            gate_runtime=manifest.lineage.libraries.get("onnxruntime") if manifest is not None else None,
            window=training_window(paths, question, alarm.change_us, alarm.at_us),
            problems=problems,
        )
    )
