"""Goes on testing every certified threshold on the pairs that it accepts, and writes down what voids or renews it.

Pairs above the threshold come from the shadow and from audits. A detector with the certified disagreement as its
null voids a line; the mirrored e-process renews it; a drift alarm or an answer of another teacher voids it at once.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlmodel import Session

from ledger.artifacts import Certificate
from ledger.audit import append_audit
from ledger.certificates import VoidCause, certified_rows
from ledger.configuration import TaskSection
from ledger.slices import OVERALL, rule_of
from ledger.tables import AlarmRow, CertifiedSliceRow, TeacherChangeRow
from ledger.teacher_changes import last_change, sentence_of
from monitor.columns import PairColumns
from monitor.detector import Detector, new_detector, terms_for, update
from monitor.detector_state import from_json, to_json
from monitor.distinct import Counts, counts_by_slice, distinct
from monitor.renewal import Renewal, counted, plain, read_renewal
from monitor.slicing import NO_SLICE, SliceColumn
from monitor.trigger import log_threshold

ACTOR = "monitor"

Line = tuple[str, str]  # artifact, slice or pool
Certificates = Mapping[str, Certificate]  # by artifact


@dataclass(frozen=True, slots=True)
class Seen:
    """What one tick showed of one task's certificates."""

    accepted: Mapping[Line, Counts]
    teacher_versions: Mapping[str, str]  # artifact -> one that answered and was not certified against


@dataclass(frozen=True, slots=True)
class Void:
    """A line that stopped to hold in this tick."""

    task: str
    artifact: str
    slice: str
    cause: VoidCause
    reason: str


def seen(pages: Sequence[PairColumns], certificates: Certificates) -> Seen:
    """Identical inputs count once: a client's retries are no evidence."""
    versions: dict[str, str] = {}
    for columns in pages:
        versions |= _other_versions(columns, certificates)
    found = distinct([accepted(columns, certificates) for columns in pages])
    return Seen(counts_by_slice(found), versions)


def accepted(columns: PairColumns, certificates: Certificates) -> PairColumns:
    """The same pairs in the lines of their student's certificate instead of slices: those that a line accepts."""
    by_student = [certificates.get(artifact) for artifact in columns.artifacts]
    names = sorted({name for student in by_student if student is not None for name in student.slices})
    codes = {name: code for code, name in enumerate(names)}
    found = []
    for rule in columns.slices:
        line = np.full((len(columns.artifacts), len(rule.names) + 1), NO_SLICE, dtype=np.int64)
        least = np.full(line.shape, np.inf)  # its last column stands for NO_SLICE
        for student, certificate in enumerate(by_student):
            lines = certificate.lines if certificate is not None else {}
            for code, name in enumerate(rule.names):
                if certificate is not None and name in lines:
                    line[student, code] = codes[lines[name]]
                    least[student, code] = certificate.slices[lines[name]].confidence
        places = columns.artifact, rule.codes
        sure = columns.measures.confidence >= least[places]
        found.append(SliceColumn(rule.rule, tuple(names), np.where(sure, line[places], NO_SLICE)))
    return replace(columns, slices=tuple(found))


def recertify(
    session: Session,
    task: TaskSection,
    tick_seconds: float,
    certificates: Certificates,
    tick: Seen,
    alarms: Sequence[AlarmRow],
    mass: float,
    now_us: int,
) -> list[Void]:
    """One tick of a task's certificates, inside the caller's transaction; the lines that it voided."""
    lines = sum(len(certificate.slices) for certificate in certificates.values())
    limit = log_threshold(task.trigger.false_alarms, task.trigger.period_days, tick_seconds)
    changed = last_change(session, task.name)
    voids: list[Void] = []
    for artifact, certificate in certificates.items():
        rows = _rows(session, task.name, artifact, certificate)
        for name, row in rows.items():
            counts = tick.accepted.get((artifact, name))
            if counts is not None and row.cause is None:
                _count(row, certificate, counts, mass / lines, now_us)
        for name, cause, reason in _due(task, artifact, certificate, rows, tick, alarms, changed, limit):
            if rows[name].cause is None:
                voids.append(_void(session, rows[name], cause, reason, now_us))
        session.add_all(rows.values())
    return voids


def _other_versions(columns: PairColumns, certificates: Certificates) -> dict[str, str]:
    """By student, a teacher version that answered and that its certificate is not about."""
    found = {}
    pairs = {*zip(columns.artifact.tolist(), columns.teacher_version.tolist(), strict=True)}
    for student, version in sorted(pairs):
        artifact, told = columns.artifacts[student], columns.teacher_versions[version]
        if artifact in certificates and told != certificates[artifact].teacher_epoch:
            found[artifact] = told
    return found


def _rows(
    session: Session, task: str, artifact: str, certificate: Certificate
) -> dict[str, CertifiedSliceRow]:
    """The kept row of every line; a new one where there is none."""
    kept = {row.slice: row for row in certified_rows(session, task, artifact)}
    return {
        name: kept.get(name)
        or CertifiedSliceRow(
            task=task,
            artifact=artifact,
            slice=name,
            certified_at_us=certificate.issued_at_us,
            state=_state(new_detector(terms_for(certificate.max_disagreement)), Renewal()),
        )
        for name in certificate.slices
    }


def _against(row: CertifiedSliceRow, certificate: Certificate) -> Detector:
    """What speaks against a line so far; it begins anew where another release wrote it."""
    return from_json(row.state["against"]) or new_detector(terms_for(certificate.max_disagreement))


def _state(detector: Detector, renewal: Renewal) -> dict[str, Any]:
    return {"against": to_json(detector), "for": plain(renewal)}


def _count(
    row: CertifiedSliceRow, certificate: Certificate, counts: Counts, mass: float, now_us: int
) -> None:
    """Add a tick's pairs to the evidence, and renew the line if they prove it once more."""
    inputs, disagreements, at_us = counts
    shown = (inputs - disagreements, disagreements)
    detector = update(_against(row, certificate), mass, shown, at_us)
    renewal = counted(read_renewal(row.state["for"]), certificate.max_disagreement, inputs, disagreements)
    if renewal.log_wealth >= -math.log(certificate.slices[row.slice].delta):
        row.certified_at_us, renewal = now_us, Renewal()
    row.state = _state(detector, renewal)


def _due(
    task: TaskSection,
    artifact: str,
    certificate: Certificate,
    rows: Mapping[str, CertifiedSliceRow],
    tick: Seen,
    alarms: Sequence[AlarmRow],
    changed: TeacherChangeRow | None,
    limit: float,
) -> Iterator[tuple[str, VoidCause, str]]:
    """The lines that this tick voids, with cause and reason."""
    for alarm in alarms:
        if alarm.artifact == artifact:
            for name in _drifted(task, certificate, alarm.slice):
                yield name, VoidCause.ALARM, f"alarm {alarm.id} fired on slice {alarm.slice}"
    version = tick.teacher_versions.get(artifact)
    for name, row in rows.items():
        if version is not None:
            reason = f"version {version} answered; {certificate.teacher_epoch} was certified against"
            yield name, VoidCause.TEACHER_CHANGED, reason
        if changed is not None and changed.at_us > certificate.issued_at_us:
            yield name, VoidCause.TEACHER_CHANGED, sentence_of(changed)
        detector = _against(row, certificate)
        if detector.log_wealth >= limit:
            reason = (
                f"{detector.totals[-1]} of {detector.inputs} accepted pairs disagreed with the teacher;"
                f" at most {certificate.max_disagreement:.1%} was certified"
            )
            yield name, VoidCause.AUDIT, reason


def _drifted(task: TaskSection, certificate: Certificate, slice_name: str) -> list[str]:
    """The lines that an alarm on a slice voids.

    Its own, or its pool's. A slice that decides who serves and has none is with the teacher anyway; one that
    only measures may lie anywhere among what is served, so it voids the overall line.
    """
    line = certificate.lines.get(slice_name)
    if line is not None:
        return [line]
    rule = rule_of(task.rules, slice_name)
    decides = rule is not None and rule.decides_who_serves
    return [OVERALL] if not decides and OVERALL in certificate.slices else []


def _void(session: Session, row: CertifiedSliceRow, cause: VoidCause, reason: str, now_us: int) -> Void:
    row.cause, row.reason, row.voided_at_us = cause, reason, now_us
    void = Void(row.task, row.artifact, row.slice, cause, reason)
    details = {"task": void.task, "artifact": void.artifact, "slice": void.slice, "reason": reason}
    append_audit(session, ACTOR, "certificate_voided", details | {"cause": str(cause)})
    return void
