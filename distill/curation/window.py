"""Which stretch of the record a job learns from, and which part of it is how traffic is now."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from ledger.configuration import CurationSection, TaskSection
from ledger.exchange_file import newest_start, reading
from ledger.tables import AlarmRow, JobRow
from ledger.teacher_changes import last_change

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Times in microseconds since the epoch."""

    since_us: int
    live_since_us: int  # training is matched to what came from here on
    teacher_since_us: int = 0  # what the teacher answered earlier, it might not answer now


EVERYTHING = Window(0, 0)


def window_of(
    newest_us: int, settings: CurationSection, change_us: int | None, teacher_since_us: int = 0
) -> Window:
    """The last days of the record, from the alarm's change point where it lies earlier; live is what came since it."""
    since = newest_us - round(settings.window_days * DAY_US)
    live = newest_us - round(settings.live_days * DAY_US) if change_us is None else change_us
    return Window(max(0, min(since, live)), max(0, live), teacher_since_us)


def job_window(session: Session, paths: Iterable[Path], task: TaskSection, job: JobRow) -> Window:
    """Of a job: its alarm's receipt names the change, the control file when the teacher changed last."""
    alarm = None if job.alarm_id is None else session.get(AlarmRow, job.alarm_id)
    change_us = None if alarm is None else alarm.receipt.get("change_us")
    teacher = last_change(session, task.name)
    newest = [job.opened_at_us if at is None else at for at in _newest(paths, task.name)]
    # a clock that had jumped ahead would put the whole record before the window
    newest_us = min(max(newest, default=job.opened_at_us), job.opened_at_us)
    return window_of(newest_us, task.curation, change_us, 0 if teacher is None else teacher.at_us)


def _newest(paths: Iterable[Path], task: str) -> Iterable[int | None]:
    for path in paths:
        with reading(path) as connection:
            yield newest_start(connection, task)
