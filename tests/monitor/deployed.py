"""The files of a deployment, written as its processes would write them, and read back whole."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlmodel import Session

from ledger.control_file import control_path, open_control_file
from ledger.cursors import cursor
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.slices import OVERALL
from ledger.stages import Stage
from monitor.cycle import PROCESS
from monitor.gathering import source_of
from tests.ledger.builders import build_certified_slice
from tests.monitor.history import ALWAYS, Arrived, Declared, Labelled, Operation, Removed, Ticked
from tests.monitor.killing import Before, Order, run_tick
from tests.monitor.world import add_student, send_label

State = Mapping[str, Sequence[tuple[Any, ...]]]

GOOD = {OVERALL: (600, 570), "area=a": (300, 285), "area=z": (300, 285)}
LINES = {name: build_certified_slice(0.75) for name in (OVERALL, "area=a")}
CLOCKS = {  # columns that tell by the clock on the wall when a row was written, and what is made of them
    "api_key": {"created_at_us"},
    "audit": {"at_us", "digest"},
    "heartbeat": {"at_us"},
    "job": {"opened_at_us"},
    "label": {"arrived_at_us"},
    "slice_rule": {"declared_at_us"},
    "stage_change": {"at_us"},
}


class Deployment:
    """The files of one deployment; what happens is written to them as its processes would."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.rules = directory, ALWAYS
        self.engine = open_control_file(directory)
        self.students = [
            add_student(self.engine, directory, GOOD, stage, number, LINES).artifact
            for number, stage in ((1, Stage.SHADOW), (2, Stage.CANARY))
        ]
        self._files: dict[str, ExchangeFile] = {}

    def apply(self, operation: Operation) -> None:
        match operation:
            case Arrived(gateway, exchange, answers):
                self._file(gateway).append([exchange] if exchange else [], answers)
            case Labelled(named, index, label):
                send_label(self.engine, named, label, index)
            case Declared(rules):
                self.rules = (*ALWAYS, *rules)
            case Removed(gateway, exchanges):
                self._remove(gateway, exchanges)
            case Ticked():
                run_tick(self.order(operation))

    def order(self, tick: Ticked, before: Before = "statement", number: int = 0) -> Order:
        return Order(str(self.directory), self.rules, tick.now_us, tick.past, before, number)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self.engine.dispose()

    def _remove(self, gateway: str, exchanges: int) -> None:
        """As gateway.retention does for age: nothing that has an answer which the monitor has not read."""
        file = self._file(gateway)
        with Session(self.engine) as session:
            folded = cursor(session, PROCESS, source_of(gateway))
        oldest = [sequence for sequence, _ in file.oldest(exchanges)]
        unfolded = file.unfolded(oldest, folded)
        file.remove([sequence for sequence in oldest if sequence not in unfolded], "age")

    def _file(self, gateway: str) -> ExchangeFile:
        if gateway not in self._files:
            self._files[gateway] = ExchangeFile(exchange_path(self.directory, gateway))
        return self._files[gateway]


def state_of(directory: Path) -> State:
    """Every row of the control file, by table, without what the clock on the wall said; repairs it first, as every
    process does that opens it after another one was killed."""
    if not control_path(directory).exists():
        return {}
    with closing(sqlite3.connect(control_path(directory))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {table: _rows(connection, table) for table in sorted(tables)}


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = ", ".join(name for name in names if name not in CLOCKS.get(table, ()))
    return sorted(connection.execute(f"SELECT {kept} FROM {table}").fetchall(), key=repr)
