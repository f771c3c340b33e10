"""`stillgate report`: what it takes, what it refuses, and that it leaves a deployment as it is."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.control_file import control_path, transaction
from ledger.stages import Stage
from stillgate.report.period import Period, period_of
from tests.artifacts import set_stage
from tests.gateway.control.desk import TASK
from tests.stillgate.command import run
from tests.stillgate.report.stopped import Stopped, some_traffic

WINDOW_US = 60_000_000
NOW_US = 10_000 * WINDOW_US + 5

SPILL_AND_DIE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE unfinished (x)")
connection.executemany("INSERT INTO unfinished VALUES (?)", [("x" * 1000,)] * 2000)
connection.execute("DELETE FROM student")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_page_and_document_say_the_same(stopped: Stopped, tmp_path: Path) -> None:
    """Paths on standard output, the state on standard error."""
    stopped.write(some_traffic(100, stopped.add_student()))
    stopped.tick()
    page, document = tmp_path / "r.html", tmp_path / "r.json"
    made = stopped.report(TASK, "--out", str(page), "--json", str(document))
    assert made.stdout.splitlines() == [str(document), str(page)]
    assert made.stderr.startswith("cannot say: ")
    assert '"schema": "stillgate.report/1"' in document.read_text()
    assert page.read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.glob("*r.*")) == ["r.html", "r.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "there is no task 'nothing'; the configuration has topics"),
        (("--student", "s-x"), "task topics has no student 's-x'; it has none yet"),
        (("--since", "soon"), "'soon' is no length of time; write 90m, 12h, 7d or 4w"),
        (("--since", "7d", "--from", "2026-01-01T00:00Z"), "give one of them"),
        (("--from", "yesterday"), "'yesterday' is no ISO 8601 time"),
        (("--from", "2026-01-01T00:00:00"), "does not say its offset from UTC; write 2026-01-01T00:00:00Z"),
        (("--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"), "would end before it begins"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(
    stopped: Stopped, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 2 and one sentence."""
    refused = stopped.report(*arguments)
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_a_place_that_cannot_be_written_is_told(stopped: Stopped, tmp_path: Path) -> None:
    """Exit 1, and no half of a page is left."""
    refused = stopped.report("--out", str(tmp_path / "nowhere" / "r.html"))
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (1, True)


def test_without_a_control_file_there_is_nothing_to_report(stopped: Stopped, tmp_path: Path) -> None:
    """It is not created either."""
    other = tmp_path / "other.toml"
    other.write_text(stopped.path.read_text().replace('"data"', '"elsewhere"'))
    refused = run("report", "--config", str(other))
    assert (refused.exit_code, "no control file" in refused.stderr) == (1, True)
    assert not (tmp_path / "elsewhere").exists()


def test_the_student_is_the_one_that_serves_unless_another_is_named(stopped: Stopped) -> None:
    """Else the newest that answers."""
    first, second = stopped.add_student(seed=1), stopped.add_student(seed=2)
    assert stopped.document()["student"] == second
    set_stage(stopped.engine, first, Stage.CANARY, 0.5)
    assert stopped.document()["student"] == first
    assert stopped.document("--student", second)["student"] == second


def test_a_report_changes_no_file(stopped: Stopped) -> None:
    """Control file, exchanges, artifacts and counts are byte for byte what they were, also while they are locked."""
    stopped.write(some_traffic(100, stopped.add_student()))
    stopped.tick()
    before = digests(stopped.directory)
    with transaction(stopped.engine):  # BEGIN IMMEDIATE: somebody is about to write
        assert stopped.report("--json", "-").exit_code == 0
    assert digests(stopped.directory) == before


def digests(directory: Path) -> dict[str, str]:
    """Of every file but the index that SQLite's readers share."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".sqlite-shm"
    }


def test_a_control_file_whose_writer_was_killed_is_read_as_before_its_last_write(stopped: Stopped) -> None:
    """The journal stays where it is for the deployment's next start."""
    artifact = stopped.add_student()
    path = control_path(stopped.directory)
    stopped.engine.dispose()
    killed = subprocess.run([sys.executable, "-c", SPILL_AND_DIE, str(path)], env=os.environ, check=False)
    journal = path.with_name("control.sqlite-journal")
    assert (killed.returncode, journal.stat().st_size > 0) == (-signal.SIGKILL, True)
    assert stopped.document()["student"] == artifact
    assert journal.is_file()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ((None, None, None), (None, None)),
        (("2h", None, None), (9880 * WINDOW_US, None)),
        ((None, "1970-01-01T00:01:30Z", None), (WINDOW_US, None)),
        ((None, "1970-01-01T02:00:00+02:00", "1970-01-01T00:03:00Z"), (0, 3 * WINDOW_US)),
        ((None, "1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"), (0, WINDOW_US)),
        (("9999w", None, None), (0, None)),
    ],
)
def test_a_time_is_whole_windows(
    given: tuple[str | None, str | None, str | None], meant: tuple[int | None, int | None]
) -> None:
    """Both ends move down to the start of their window; within one window, that one is meant."""
    assert period_of(*given, 60, NOW_US) == Period(*meant)
