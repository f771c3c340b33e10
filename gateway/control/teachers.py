"""What the task view says of the teacher: what it is asked for our own sake, and what its replies show."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from ledger.configuration import TaskSection
from ledger.exchange import TEACHER_AGAIN
from ledger.extra_calls import today, used
from ledger.tables import ProbeWatchRow, TeacherChangeRow
from ledger.teacher_changes import sentence_of
from monitor.intervals import INTERVAL_ALPHA, confidence_sequence
from monitor.probe_state import read_watch
from monitor.probe_watch import Compared
from monitor.reports import merged_sums


def extra_calls_view(data_directory: Path, task: TaskSection) -> dict[str, Any]:
    """`used` by purpose; null where the day's count cannot be read."""
    counts: dict[str, int] | None = None
    with suppress(OSError):
        counts = {str(purpose): count for purpose, count in used(data_directory, task.name).items()}
    return {"day": today().isoformat(), "per_day": task.extra_calls.per_day, "used": counts}


def probes_view(session: Session, task: TaskSection) -> dict[str, Any] | None:
    """Replies beside the first ones to the same requests; null where nobody has probed."""
    row = session.get(ProbeWatchRow, task.name)
    watch = read_watch(row.state) if row is not None else None
    if watch is None:
        return None
    low, high = confidence_sequence(watch.total.changed, watch.total.replies, INTERVAL_ALPHA)
    return {
        "probe_set": watch.probe_set,
        "probes": len(watch.references),
        "since_us": watch.since_us,
        "passes": watch.passes,
        **_shares(watch.total),
        "changed_low": low,
        "changed_high": high,
        "last_pass": None
        if watch.last is None
        else {"at_us": watch.last.began_at_us, **_shares(watch.last.compared)},
        "failures": watch.failures,
        "version": watch.versions[-1] if watch.versions else None,
        "fingerprint": watch.fingerprints[-1] if watch.fingerprints else None,
        "null": watch.detector.terms.m0 if watch.detector is not None else None,
    }


def changes_view(session: Session, task: TaskSection, most: int) -> list[dict[str, Any]]:
    """Changes of the teacher that probes have shown, the newest first."""
    query = select(TeacherChangeRow).where(TeacherChangeRow.task == task.name)
    rows = session.exec(query.order_by(col(TeacherChangeRow.id).desc()).limit(most))
    return [row.model_dump() | {"sentence": sentence_of(row)} for row in rows]


def _shares(compared: Compared) -> dict[str, Any]:
    mean = compared.variation / compared.replies if compared.replies else None
    return {"replies": compared.replies, "changed": compared.changed, "mean_variation": mean}


def noise_view(session: Session, task: TaskSection) -> dict[str, dict[str, Any]]:
    """By slice, how often the teacher disagreed with itself on requests that it was asked twice."""
    found = {}
    for name, sums in merged_sums(session, task.name, TEACHER_AGAIN).items():
        low, high = confidence_sequence(sums.pairs - sums.agreements, sums.pairs, INTERVAL_ALPHA)
        found[name] = {
            "pairs": sums.pairs,
            "agreements": sums.agreements,
            "noise_low": low,
            "noise_high": high,
        }
    return found
