"""The daily ceiling of extra calls: exact over processes, and nobody who dies leaves it smaller or locked."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

from ledger.extra_calls import KEPT_DAYS, Purpose, Refusal, take, today, used

DAY = date(2026, 3, 1)
TAKER = """
import sys
from datetime import date
from pathlib import Path
from ledger.extra_calls import Purpose, take
made = 0
while take(Path(sys.argv[1]), "desk", Purpose(sys.argv[2]), int(sys.argv[3]), date(2026, 3, 1)) is None:
    made += 1
print(made)
"""


def test_so_many_calls_a_day_and_no_more(tmp_path: Path) -> None:
    """Exactly the ceiling is granted, whatever the calls are for; what is refused is not counted as used."""
    purposes = (Purpose.AUDIT, Purpose.PROBE, Purpose.SECOND, Purpose.AUDIT, Purpose.AUDIT)
    refusals = [take(tmp_path, "desk", purpose, 3, DAY) for purpose in purposes]
    assert refusals == [None, None, None, Refusal.CEILING, Refusal.CEILING]
    assert used(tmp_path, "desk", DAY) == dict.fromkeys(Purpose, 1)


def test_each_day_and_each_task_has_a_count_of_its_own(tmp_path: Path) -> None:
    """Midnight and another task's thirst change nothing."""
    assert take(tmp_path, "desk", Purpose.AUDIT, 1, DAY) is None
    assert take(tmp_path, "desk", Purpose.AUDIT, 1, DAY + timedelta(days=1)) is None
    assert take(tmp_path, "desks", Purpose.AUDIT, 1, DAY) is None
    assert take(tmp_path, "desk", Purpose.AUDIT, 1, DAY) is Refusal.CEILING


def test_a_ceiling_of_nothing_refuses_the_first(tmp_path: Path) -> None:
    """And a raised one grants the rest of the day."""
    assert take(tmp_path, "desk", Purpose.AUDIT, 0, DAY) is Refusal.CEILING
    granted = [take(tmp_path, "desk", Purpose.AUDIT, 5, DAY) for _ in range(6)]
    assert granted == [None] * 5 + [Refusal.CEILING]


def test_several_processes_together_never_pass_it(tmp_path: Path) -> None:
    """Four processes race for 400 calls: together they get all of them and not one more."""
    command = [sys.executable, "-c", TAKER, str(tmp_path), Purpose.AUDIT, "400"]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    made = [int(process.communicate(timeout=60)[0]) for process in racing]
    assert sum(made) == 400
    assert used(tmp_path, "desk", DAY)[Purpose.AUDIT] >= 400


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "extra_calls").write_text("")
    assert take(tmp_path, "desk", Purpose.AUDIT, 5, DAY) is Refusal.UNCOUNTED


def test_old_days_are_removed(tmp_path: Path) -> None:
    """The first call of a day takes what is older than a week with it, and leaves other tasks alone."""
    old, recent = today() - timedelta(days=KEPT_DAYS + 1), today() - timedelta(days=1)
    for task, day in (("desk", old), ("desk", recent), ("desk2", old)):
        take(tmp_path, task, Purpose.AUDIT, 5, day)
    take(tmp_path, "desk", Purpose.AUDIT, 5)
    assert used(tmp_path, "desk", old)[Purpose.AUDIT] == 0
    assert used(tmp_path, "desk", recent)[Purpose.AUDIT] == 1
    assert used(tmp_path, "desk2", old)[Purpose.AUDIT] == 1
