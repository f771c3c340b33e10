"""Repeats the tick until told to stop, and says in the log what went wrong or well since the tick before."""

import logging
import time
from collections.abc import Callable
from threading import Event

from sqlalchemy.exc import OperationalError

from monitor.cycle import Alarm, CycleReport
from monitor.trigger import Decision

log = logging.getLogger("monitor")


def tick_until(stop: Event, tick: Callable[[], CycleReport], tick_seconds: float) -> None:
    """Tick every `tick_seconds`, and at once while more waits to be read."""
    said: frozenset[str] = frozenset()
    while not stop.is_set():
        started = time.monotonic()
        report, problems = _ticked(tick)
        _log_problems(problems, said)
        _log_alarms(report)
        _log_joined(report)
        _log_voids(report)
        _log_changes(report)
        said = problems
        pause = 0.0 if report.is_behind else tick_seconds - (time.monotonic() - started)
        stop.wait(max(0.0, pause))


def _ticked(tick: Callable[[], CycleReport]) -> tuple[CycleReport, frozenset[str]]:
    """A control file that is locked or read-only delays the work to a later tick, and loses nothing."""
    try:
        report = tick()
    except OperationalError as error:
        return CycleReport(), frozenset({f"action=control_unavailable The control file: {error.orig}."})
    problems = {f"action=source_skipped {reason}" for reason in report.problems.values()}
    if report.was_overtaken:
        problems.add("action=overtaken Another monitor works on this data directory; stop one of them.")
    return report, frozenset(problems)


def _log_problems(problems: frozenset[str], said: frozenset[str]) -> None:
    """Each problem once when it begins, and once when it is over."""
    for problem in sorted(problems - said):
        log.warning("%s It is tried again every tick.", problem)
    for problem in sorted(said - problems):
        log.info("action=recovered No longer: %s", problem)


def _log_joined(report: CycleReport) -> None:
    for rule in report.joined:
        log.info("action=rule_joined Slice rule %s has been measured over the whole record.", rule)


def _log_alarms(report: CycleReport) -> None:
    for alarm in report.alarms:
        if alarm.decision == Decision.LABELS_MOVED:
            log.warning("action=alarm_refused Alarm %d: slice %s of %s in task %s; %s.", *_refused(alarm))
            continue
        log.warning(
            "action=alarm_raised Alarm %d: slice %s of %s in task %s drifted (%s); %s%s.",
            alarm.alarm_id,
            alarm.slice,
            alarm.artifact,
            alarm.task,
            alarm.harm.replace("_", " "),
            alarm.decision,
            f", job {alarm.job_id}" if alarm.job_id is not None else "",
        )


def _refused(alarm: Alarm) -> tuple[object, ...]:
    return alarm.alarm_id, alarm.slice, alarm.artifact, alarm.task, alarm.reason


def _log_voids(report: CycleReport) -> None:
    for void in report.voids:
        log.warning(
            "action=certificate_voided The certificate of %s in task %s no longer holds for slice %s: %s."
            " The teacher serves it.",
            void.artifact,
            void.task,
            void.slice,
            void.reason,
        )


def _log_changes(report: CycleReport) -> None:
    for change in report.teacher_changes:
        log.warning("action=teacher_changed %s.", change)
