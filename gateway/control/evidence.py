"""Whether the live pairs allow a student to go up; silence, thin pairs and alarms never do."""

from sqlmodel import Session, col, select

from gateway.control.manifests import manifest_of
from ledger import alarms
from ledger.artifacts import Manifest
from ledger.certificates import thresholds_now
from ledger.clock import now_us
from ledger.configuration import Configuration, MonitorSection, TaskSection
from ledger.heartbeats import heartbeat_age_seconds
from ledger.tables import AlarmRow, SliceRuleRow, StudentRow
from monitor.declared_rules import Phase
from monitor.live_verdict import LiveVerdict, judge_live
from monitor.reports import merged_sums

MONITOR = "monitor"


def live_verdict(
    session: Session, configuration: Configuration, task: TaskSection, artifact: str
) -> LiveVerdict:
    """judge_live over every live pair of the student, unless the monitor is silent or has alarmed."""
    sums = merged_sums(session, task.name, artifact)
    verdict = judge_live(sums, task, _thresholds(session, configuration, task, artifact))
    alarm = last_alarm(session, task.name, artifact)
    if alarm is not None:
        reason = (
            f"alarm {alarm.id} fired on its slice {alarm.slice}: what came before proves nothing about now."
            f" `stillgate distill open {task.name}` trains a new student"
        )
        return LiveVerdict("fail", (reason, *verdict.reasons), verdict.slices)
    silence = monitor_silence(session, configuration.monitor)
    if silence is not None:
        return LiveVerdict("inconclusive", (silence,), verdict.slices)
    late = catching_up(session, task.name)
    behind = [rule.name for rule in task.rules if rule.critical and rule.name in late]
    if behind and verdict.outcome == "pass":
        reason = f"the monitor still measures slice rule {', '.join(behind)} over the past"
        return LiveVerdict("inconclusive", (reason,), verdict.slices)
    return verdict


def _thresholds(
    session: Session, configuration: Configuration, task: TaskSection, artifact: str
) -> dict[str, float]:
    """Of the certificate, as it holds now."""
    student = session.get(StudentRow, artifact)
    manifest = manifest_of(configuration.deployment.data_directory, student) if student else ""
    if not isinstance(manifest, Manifest):
        return {}
    return thresholds_now(session, task, artifact, manifest.certificate, now_us())


def catching_up(session: Session, task: str) -> frozenset[str]:
    """Rules whose slices do not hold every pair yet."""
    rows = session.exec(select(SliceRuleRow).where(SliceRuleRow.task == task))
    return frozenset(row.rule for row in rows if row.phase != Phase.JOINED)


def last_alarm(session: Session, task: str, artifact: str) -> AlarmRow | None:
    """The newest alarm of one student that was not refused."""
    return session.exec(
        select(AlarmRow)
        .where(AlarmRow.task == task, AlarmRow.artifact == artifact, alarms.counts())
        .order_by(col(AlarmRow.id).desc())
        .limit(1)
    ).first()


def monitor_silence(session: Session, monitor: MonitorSection) -> str | None:
    """What is wrong with the monitor's sign of life, if something is."""
    age = heartbeat_age_seconds(session, MONITOR)
    if age is None:
        return "the monitor has never run, so nothing measures the student"
    if age <= monitor.stale_seconds:
        return None
    return f"the monitor has been silent for {age:.0f} s, more than stale_seconds = {monitor.stale_seconds:g}"
