"""`stillgate backup` and `stillgate audit verify`, on the files of a deployment in use."""

from pathlib import Path

from sqlalchemy import text
from sqlmodel import select

from ledger.artifacts import verify
from ledger.control_file import open_control_file, transaction
from ledger.exchange_file import ExchangeFile, exchange_at, exchange_path, reading
from ledger.probe_set import Probe, freeze, kept_set
from ledger.tables import StudentRow
from tests.gateway.control.desk import Desk
from tests.ledger.builders import build_exchange
from tests.stillgate.command import run, run_as


def test_a_backup_taken_in_use_is_a_whole_deployment(desk: Desk, student: str, tmp_path: Path) -> None:
    """Control file, exchanges that still lie in the write-ahead log, probes, and students that verify."""
    file = ExchangeFile(exchange_path(desk.data_directory, "g0"))
    file.append([build_exchange(n) for n in range(5)], [])
    probes = [Probe(0, "/classify", "application/json", '{"inputs": "a"}')]
    frozen = freeze(desk.data_directory, "topics", probes, is_declared=False, now_us=1)
    target = tmp_path / "copy"
    assert run("backup", str(target), "--config", str(desk.path)).stdout == f"{target}\n"
    file.close()
    assert kept_set(target, "topics") == frozen
    engine = open_control_file(target)
    with transaction(engine) as session:
        row = session.exec(select(StudentRow)).one()
    engine.dispose()
    assert verify(target / "artifacts" / row.artifact, row.manifest_digest).task == "topics"
    with reading(exchange_path(target, "g0")) as connection:
        assert exchange_at(connection, 4) == build_exchange(4)


def test_a_backup_does_not_mix_with_what_is_there(desk: Desk, tmp_path: Path) -> None:
    """A directory that is not empty is refused and left alone."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    refused = run("backup", str(tmp_path / "full"), "--config", str(desk.path))
    assert (refused.exit_code, "not empty" in refused.stderr) == (1, True)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious"]


def test_a_damaged_database_is_no_backup(desk: Desk, tmp_path: Path) -> None:
    """Exit 1, and what is wrong."""
    path = exchange_path(desk.data_directory, "g0")
    path.parent.mkdir()
    path.write_bytes(b"this is no database, only text" * 100)
    refused = run("backup", str(tmp_path / "copy"), "--config", str(desk.path))
    assert (refused.exit_code, "not whole" in refused.stderr) == (1, True)


def test_an_audit_log_that_was_changed_is_found_out(desk: Desk, student: str) -> None:
    """Whole at first; after one word of one row was changed, its number is told."""
    assert run_as(desk, "olga", "promote", "topics", "--to", "canary", "--reason", "x").exit_code == 0
    whole = run("audit", "verify", "--config", str(desk.path))
    assert (whole.exit_code, "rows, head" in whole.stdout) == (0, True)
    with desk.engine.begin() as connection:
        connection.execute(text("UPDATE audit SET actor = 'mallory' WHERE number = 2"))
    broken = run("audit", "verify", "--config", str(desk.path))
    assert (broken.exit_code, "row 2" in broken.stderr) == (1, True)


def test_without_a_control_file_there_is_nothing_to_verify_or_copy(desk: Desk, tmp_path: Path) -> None:
    """Both say which file is missing."""
    other = tmp_path / "other.toml"
    other.write_text(desk.path.read_text().replace('"data"', '"elsewhere"'))
    for command in (("audit", "verify"), ("backup", str(tmp_path / "copy"))):
        refused = run(*command, "--config", str(other))
        assert (refused.exit_code, "no control file" in refused.stderr) == (1, True)
