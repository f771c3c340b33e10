"""Whether the live pairs allow a student to go up; silence, thin pairs and alarms never do."""

from sqlmodel import Session, col, select

from ledger import alarms
from ledger.configuration import MonitorSection, TaskSection
from ledger.heartbeats import heartbeat_age_seconds
from ledger.tables import AlarmRow, SliceRuleRow
from monitor.declared_rules import Phase
from monitor.reports import merged_sums
from monitor.verdict import LiveVerdict, judge_live

MONITOR = "monitor"


def live_verdict(session: Session, task: TaskSection, artifact: str, monitor: MonitorSection) -> LiveVerdict:
    """judge_live over every live pair of the student, unless the monitor is silent or has alarmed."""
    verdict = judge_live(merged_sums(session, task.name, artifact), task.rules, task.gate)
    alarm = last_alarm(session, task.name, artifact)
    if alarm is not None:
        reason = (
            f"alarm {alarm.id} fired on its slice {alarm.slice}: what came before proves nothing about now."
            f" `stillgate distill {task.name}` trains a new student"
        )
        return LiveVerdict("fail", (reason, *verdict.reasons), verdict.slices)
    silence = monitor_silence(session, monitor)
    if silence is not None:
        return LiveVerdict("inconclusive", (silence,), verdict.slices)
    behind = _catching_up(session, task)
    if behind and verdict.outcome == "pass":
        reason = f"the monitor still measures slice rule {', '.join(behind)} over the past"
        return LiveVerdict("inconclusive", (reason,), verdict.slices)
    return verdict


def _catching_up(session: Session, task: TaskSection) -> list[str]:
    """Critical rules whose slices do not hold every pair yet."""
    rows = session.exec(select(SliceRuleRow).where(SliceRuleRow.task == task.name))
    behind = {row.rule for row in rows if row.phase != Phase.JOINED}
    return [rule.name for rule in task.rules if rule.critical and rule.name in behind]


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
