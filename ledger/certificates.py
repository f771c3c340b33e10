"""What a certificate is worth now: which of its lines still hold, and what voided the others.

A line is void after a drift alarm, a failed audit or an answer of another teacher version, which the monitor
writes down and which no later good news takes back; and while it is too old or another version is pinned.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session, col, select

from ledger.artifacts import Certificate
from ledger.clock import iso
from ledger.configuration import TaskSection
from ledger.tables import CertifiedSliceRow

DAY_US = 86_400 * 1_000_000


class VoidCause(StrEnum):
    """Why a line of a certificate does not count."""

    ALARM = "alarm"  # the slice has drifted: what was proven is about another traffic
    AUDIT = "audit"  # pairs above the threshold refute the certified disagreement
    TEACHER_CHANGED = "teacher_changed"  # certified against a version that no longer answers, or answers anew
    EXPIRED = "expired"  # older than fallback.certificate_days


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of a certificate as it stands now."""

    confidence: float
    certified_at_us: int  # when it was issued or last renewed
    cause: VoidCause | None = None  # None while it holds
    reason: str | None = None
    voided_at_us: int | None = None

    @property
    def holds(self) -> bool:
        return self.cause is None


def certified_rows(session: Session, task: str, artifact: str) -> list[CertifiedSliceRow]:
    """What the monitor has written down about one student's certificate."""
    return list(
        session.exec(
            select(CertifiedSliceRow)
            .where(CertifiedSliceRow.task == task, CertifiedSliceRow.artifact == artifact)
            .order_by(col(CertifiedSliceRow.slice))
        )
    )


def standings(
    certificate: Certificate, rows: Iterable[CertifiedSliceRow], task: TaskSection, now_us: int
) -> dict[str, Standing]:
    """Every line of the certificate, by its slice or pool."""
    kept = {row.slice: row for row in rows}
    return {name: _standing(certificate, name, kept.get(name), task, now_us) for name in certificate.slices}


def valid_thresholds(certificate: Certificate, lines: Mapping[str, Standing]) -> dict[str, float]:
    """Least confidence by slice, where it still holds."""
    return {member: lines[line].confidence for member, line in certificate.lines.items() if lines[line].holds}


def thresholds_now(
    session: Session, task: TaskSection, artifact: str, certificate: Certificate, now_us: int
) -> dict[str, float]:
    """valid_thresholds of one student, as the control file knows its certificate."""
    rows = certified_rows(session, task.name, artifact)
    return valid_thresholds(certificate, standings(certificate, rows, task, now_us))


def void_slices(certificate: Certificate, lines: Mapping[str, Standing]) -> frozenset[str]:
    """Slices that were certified and are no longer."""
    return frozenset(member for member, line in certificate.lines.items() if not lines[line].holds)


def _standing(
    certificate: Certificate, name: str, row: CertifiedSliceRow | None, task: TaskSection, now_us: int
) -> Standing:
    confidence = certificate.slices[name].confidence
    certified_at_us = row.certified_at_us if row is not None else certificate.issued_at_us
    if row is not None and row.cause is not None:
        return Standing(confidence, certified_at_us, VoidCause(row.cause), row.reason, row.voided_at_us)
    if certificate.teacher_epoch != task.teacher.version:
        reason = (
            f"certified against teacher version {certificate.teacher_epoch},"
            f" and version {task.teacher.version} is pinned"
        )
        return Standing(confidence, certified_at_us, VoidCause.TEACHER_CHANGED, reason)
    days = task.fallback.certificate_days
    if days is not None and now_us - certified_at_us > days * DAY_US:
        reason = f"certified {iso(certified_at_us)}, more than fallback.certificate_days = {days:g} days ago"
        return Standing(confidence, certified_at_us, VoidCause.EXPIRED, reason)
    return Standing(confidence, certified_at_us)
