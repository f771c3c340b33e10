"""The exchange file of one gateway process: SQLite with a write-ahead log that this process alone writes.

Everybody else opens it read-only. Rows travel as ledger.exchange types; JSON text stays in this module.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, create_engine, func, insert, select
from sqlalchemy.pool import StaticPool

from ledger.clock import now_us
from ledger.exchange import Answer, Arm, Exchange, Fallback, Origin, Outcome, ServedBy, Unpaired
from ledger.observation import Observation, ObservationError
from ledger.schema import add_column, m001_initial, migrate
from ledger.tables import AnswerRow, ExchangeRow, Loss, SequenceBlock, exchange_metadata

MIGRATIONS = (
    m001_initial(exchange_metadata),
    add_column("answer", "inclusion", "FLOAT NOT NULL DEFAULT 1.0"),
)
Row = tuple[Any, ...]  # the columns of a table, in order

BLOCK_SIZE = 2**32  # sequence numbers of one run
ROWS_A_STATEMENT = 64  # each statement hands the interpreter lock over and back once, not once a row
CRASH = "crash"  # the reason of what a killed run had started and not written

_exchange = ExchangeRow.__table__  # type: ignore[attr-defined]  # SQLModel does not type it
_answer = AnswerRow.__table__  # type: ignore[attr-defined]
_block = SequenceBlock.__table__  # type: ignore[attr-defined]
_loss = Loss.__table__  # type: ignore[attr-defined]

EXCHANGE_NAMES = tuple(column.name for column in _exchange.columns)
ANSWER_NAMES = tuple(column.name for column in _answer.columns)
_exchange_fields = attrgetter(*EXCHANGE_NAMES)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Both sides of `requests = recorded + dropped + pending` over the file's whole life."""

    requests: int
    recorded: int
    dropped: Mapping[str, int]


def exchange_path(data_directory: Path, gateway: str) -> Path:
    return data_directory / "exchanges" / f"{gateway}.sqlite"


def exchange_paths(data_directory: Path) -> list[Path]:
    """The exchange files of every gateway that ever wrote here; the stem is the gateway's name."""
    return sorted((data_directory / "exchanges").glob("*.sqlite"))


class ExchangeFile:
    """The writing side. One thread uses it; open and close are the only calls of another thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": 1.0},
        )
        self._connection = self._engine.connect()
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.exec_driver_sql(f"PRAGMA {pragma}")
        self._connection.commit()
        with self._connection.begin():
            migrate(self._connection, str(path), MIGRATIONS)

    def append(self, exchanges: Iterable[Exchange], answers: Iterable[Answer]) -> None:
        """Write one group in one transaction. A second answer of the same responder is ignored."""
        exchange_rows = [_exchange_row(exchange) for exchange in exchanges]
        answer_rows = [_answer_row(answer) for answer in answers]
        with self._connection.begin():
            for chunk in _chunks(exchange_rows):
                self._connection.exec_driver_sql(_insert_exchanges(len(chunk)), _flat(chunk))
            for chunk in _chunks(answer_rows):
                self._connection.exec_driver_sql(_insert_answers(len(chunk)), _flat(chunk))

    def open_block(self) -> int:
        """Persist the next block of sequence numbers and return its first number."""
        with self._connection.begin():
            last = self._connection.execute(select(func.max(_block.c.first))).scalar()
            first = 0 if last is None else last + BLOCK_SIZE
            self._connection.execute(insert(_block).values(first=first, opened_at_us=now_us()))
        return first

    def close_block(self, first: int, started: int, dropped: Mapping[str, int]) -> None:
        """State what became of every request of the block; the rest is counted as lost in a crash."""
        with self._connection.begin():
            recorded = self._connection.execute(
                select(func.count()).where(_exchange.c.sequence.between(first, first + BLOCK_SIZE - 1))
            ).scalar_one()
            crashed = started - recorded - sum(dropped.values())
            losses = {**dropped, CRASH: dropped.get(CRASH, 0) + max(0, crashed)}
            rows = [{"block_first": first, "reason": r, "count": n} for r, n in losses.items() if n]
            if rows:
                self._connection.execute(insert(_loss), rows)
            self._connection.execute(
                _block.update().where(_block.c.first == first).values(closed_at_us=now_us(), started=started)
            )

    def open_blocks(self) -> list[int]:
        """Blocks of runs that never closed them."""
        with self._connection.begin():
            return list(
                self._connection.execute(
                    select(_block.c.first).where(_block.c.closed_at_us.is_(None))
                ).scalars()
            )

    def highest_sequence(self, block_first: int) -> int | None:
        """The last recorded number of a block: all that is known when the tally of a killed run is gone."""
        with self._connection.begin():
            return self._connection.execute(
                select(func.max(_exchange.c.sequence)).where(
                    _exchange.c.sequence.between(block_first, block_first + BLOCK_SIZE - 1)
                )
            ).scalar()

    def accounts(self) -> Accounts:
        """Totals of the closed blocks, and the recorded rows of all."""
        with self._connection.begin():
            return _accounts(self._connection)

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


def _accounts(connection: Connection) -> Accounts:
    started = connection.execute(select(func.coalesce(func.sum(_block.c.started), 0))).scalar_one()
    recorded = connection.execute(select(func.count()).select_from(_exchange)).scalar_one()
    losses = connection.execute(select(_loss.c.reason, func.sum(_loss.c.count)).group_by(_loss.c.reason))
    return Accounts(int(started), recorded, {reason: int(count) for reason, count in losses})


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection that sees one consistent state."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        yield connection


EXCHANGE_COLUMNS = ", ".join(f"e.{name}" for name in EXCHANGE_NAMES)
ANSWER_COLUMNS = ", ".join(f"a.{name}" for name in ANSWER_NAMES)
_EXCHANGE_WIDTH = len(_exchange.columns)


def answers_after(
    connection: sqlite3.Connection, number: int, limit: int
) -> list[tuple[int, Answer, Exchange]]:
    """The next answers in order of arrival, each with its exchange. Empty when there are none."""
    rows = connection.execute(
        f"SELECT {EXCHANGE_COLUMNS}, {ANSWER_COLUMNS} FROM answer a JOIN exchange e"
        " ON e.sequence = a.exchange_sequence WHERE a.number > ? ORDER BY a.number LIMIT ?",
        (number, limit),
    )
    return [(row[_EXCHANGE_WIDTH], read_answer(row[_EXCHANGE_WIDTH:]), read_exchange(row)) for row in rows]


def answers_of(connection: sqlite3.Connection, sequence: int) -> list[Answer]:
    """Every answer to one exchange, in order of arrival."""
    rows = connection.execute(
        f"SELECT {ANSWER_COLUMNS} FROM answer a WHERE a.exchange_sequence = ? ORDER BY a.number", (sequence,)
    )
    return [read_answer(row) for row in rows]


def exchange_at(connection: sqlite3.Connection, sequence: int) -> Exchange | None:
    row = connection.execute(
        f"SELECT {EXCHANGE_COLUMNS} FROM exchange e WHERE e.sequence = ?", (sequence,)
    ).fetchone()
    return read_exchange(row) if row else None


def exchanges_of_task(connection: sqlite3.Connection, task: str, since_us: int = 0) -> Iterator[Exchange]:
    """Exchanges of a task in the order of their sequence, started at or after `since_us`."""
    rows = connection.execute(
        f"SELECT {EXCHANGE_COLUMNS} FROM exchange e WHERE e.task = ? AND e.started_at_us >= ?"
        " ORDER BY e.sequence",
        (task, since_us),
    )
    return map(read_exchange, rows)


def read_exchange(row: tuple[Any, ...]) -> Exchange:
    """The columns of ExchangeRow, in order, as the type that travels."""
    return Exchange(
        sequence=row[0],
        exchange_id=row[1],
        task=row[2],
        started_at_us=row[3],
        duration_us=row[4],
        outcome=Outcome(row[5]),
        status=row[6],
        served_by=ServedBy(row[7]),
        arm=Arm(row[8]),
        artifact=row[9],
        stage_revision=row[10],
        teacher_epoch=row[11],
        inclusion=row[12],
        measured=bool(row[13]),
        fallback=Fallback(row[14]) if row[14] else None,
        unpaired=Unpaired(row[15]) if row[15] else None,
        attributes=orjson.loads(row[16]),
        inputs=tuple(orjson.loads(row[17])),
        input_words=tuple(orjson.loads(row[18])),
        input_digests=tuple(orjson.loads(row[19])),
        teacher=_read_observations(row[20]),
    )


def read_answer(row: tuple[Any, ...]) -> Answer:
    """The columns of AnswerRow, in order, as the type that travels."""
    _, sequence, responder, origin, answered_at_us, latency_us, observations, inclusion = row
    return Answer(
        sequence,
        responder,
        Origin(origin),
        answered_at_us,
        latency_us,
        _read_observations(observations),
        inclusion,
    )


@cache
def _insert_exchanges(rows: int) -> str:
    return f"INSERT INTO exchange ({', '.join(EXCHANGE_NAMES)}) VALUES {_marks(len(EXCHANGE_NAMES), rows)}"


@cache
def _insert_answers(rows: int) -> str:
    """Without the number, which SQLite gives."""
    names = ANSWER_NAMES[1:]
    return f"INSERT OR IGNORE INTO answer ({', '.join(names)}) VALUES {_marks(len(names), rows)}"


def _marks(columns: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        yield rows[start : start + ROWS_A_STATEMENT]


def _flat(rows: Sequence[Row]) -> Row:
    return tuple(chain.from_iterable(rows))


def _exchange_row(exchange: Exchange) -> Row:
    *plain, attributes, inputs, words, digests, teacher = _exchange_fields(exchange)
    return (
        *plain,
        _json(dict(attributes)),
        _json(inputs),
        _json(words),
        _json(digests),
        observations_json(teacher),
    )


def _answer_row(answer: Answer) -> Row:
    return (
        answer.exchange_sequence,
        answer.responder,
        answer.origin,
        answer.answered_at_us,
        answer.latency_us,
        observations_json(answer.observations),
        answer.inclusion,
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode("utf-8")


def observations_json(observations: Iterable[Observation]) -> str:
    """A list of probabilities for each observation, its error word, or an object if there is more to say."""
    return _json([_observation_entry(observation) for observation in observations])


def _observation_entry(observation: Observation) -> Any:
    if observation.hard or observation.other:
        return {"p": observation.probabilities, "hard": observation.hard, "other": observation.other}
    return observation.error if observation.probabilities is None else observation.probabilities


def _read_observations(text: str) -> tuple[Observation, ...]:
    return tuple([_read_observation(entry) for entry in orjson.loads(text)])


def _read_observation(entry: Any) -> Observation:
    if isinstance(entry, list):
        return Observation(tuple(entry))
    if isinstance(entry, dict):
        return Observation(tuple(entry["p"]), None, entry["hard"], entry["other"])
    return Observation(None, ObservationError(entry))
