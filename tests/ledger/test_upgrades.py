"""Files of every earlier schema are brought up to the present one, and keep what is in them."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger import control_file, exchange_file
from ledger.control_file import control_path, open_control_file
from ledger.exchange_file import ExchangeFile
from ledger.labels import keep_label
from ledger.tables import AlarmRow, DetectorRow, LabelRow
from tests.ledger.builders import build_answer, build_exchange
from tests.ledger.earlier import CONTROL, EXCHANGES, take_back

Schema = Mapping[str, list[str]]
Rows = Mapping[str, list[Mapping[str, object]]]


def schema_of(path: Path) -> Schema:
    """Columns of each table, whatever their order, and of what each index is."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
        return {name: _columns(connection, kind, name) for kind, name in found}


def _columns(connection: sqlite3.Connection, kind: str, name: str) -> list[str]:
    """Without their places; a default may be quoted or not."""
    rows = connection.execute(f"PRAGMA {kind}_info({name})").fetchall()
    return sorted(" ".join(str(part) for part in row[1:]).replace("'", "") for row in rows)


def rows_of(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for (name,) in tables
        }


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("version", range(1, len(control_file.MIGRATIONS)))
def test_a_control_file_of_any_earlier_schema(tmp_path: Path, engine: Engine, version: int) -> None:
    """Detectors watched disagreement, labels were of exchanges that were certain to be chosen."""
    assert len(CONTROL) == len(control_file.MIGRATIONS) - 1
    with Session(engine) as session, session.begin():
        session.add(DetectorRow(task="desk", artifact="s-1", slice="all", state={"kept": 1}))
        session.add(LabelRow(exchange_id="g0-1", input_index=0, label="a", arrived_at_us=1, source="x"))
        session.add(
            AlarmRow(task="desk", slice="all", artifact="s-1", at_us=1, decision="launch_off", receipt={})
        )
    engine.dispose()
    path = control_path(tmp_path)
    schema, rows = schema_of(path), rows_of(path)

    take_back(path, CONTROL, version)
    assert schema_of(path) != schema

    for _ in range(2):  # the second time nothing is left to do
        open_control_file(tmp_path).dispose()
        assert (schema_of(path), rows_of(path)) == (schema, rows)
        assert version_of(path) == len(control_file.MIGRATIONS)


@pytest.mark.parametrize("version", range(1, len(exchange_file.MIGRATIONS)))
def test_an_exchange_file_of_any_earlier_schema(path: Path, file: ExchangeFile, version: int) -> None:
    """Its exchanges have no subject, its answers were certain to be asked for and tell no spots."""
    assert len(EXCHANGES) == len(exchange_file.MIGRATIONS) - 1
    file.append([build_exchange(0), build_exchange(1)], [build_answer(0), build_answer(1)])
    file.close()
    schema, rows = schema_of(path), rows_of(path)

    take_back(path, EXCHANGES, version)
    assert schema_of(path) != schema

    for _ in range(2):
        ExchangeFile(path).close()
        assert (schema_of(path), rows_of(path)) == (schema, rows)
        assert version_of(path) == len(exchange_file.MIGRATIONS)


def test_labels_of_an_earlier_release_are_corrected_like_others(engine: Engine) -> None:
    """The same label again is a duplicate; with another probability it is a correction."""
    with Session(engine) as session, session.begin():
        session.add(LabelRow(exchange_id="g0-1", input_index=0, label="a", arrived_at_us=1, source="x"))
        session.flush()
        assert keep_label(session, "g0-1", 0, "a", "y") == "duplicate"
        assert keep_label(session, "g0-1", 0, "a", "y", 0.5) == "corrected"
