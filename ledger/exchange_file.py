"""The exchange file of one gateway process: SQLite with a write-ahead log that this process alone writes.

Everybody else opens it read-only. Rows travel as ledger.exchange types; JSON text stays in this module.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, create_engine, text

from ledger.clock import now_us
from ledger.exchange import (
    TEACHER,
    TEACHER_AGAIN,
    Answer,
    Arm,
    Exchange,
    Fallback,
    Origin,
    Outcome,
    ServedBy,
    Unpaired,
)
from ledger.observation import Observation, ObservationError
from ledger.schema import add_column, m001_initial, migrate
from ledger.spots import NOWHERE
from ledger.tables import (
    AnswerRow,
    ErasedExchange,
    ErasureReport,
    ExchangeRow,
    ProbeReplyRow,
    Removal,
    exchange_metadata,
)

Row = tuple[Any, ...]  # the columns of a table, in order

BLOCK_SIZE = 2**32  # sequence numbers of one run
ROWS_A_STATEMENT = (
    64,
    32,
    16,
    8,
    4,
    2,
    1,
)  # a statement hands the interpreter lock over and back once, not once a row
BUSY_SECONDS = 1.0  # how long one try to write waits for a lock
CHECKPOINT_PAGES = 2000  # of 4 KiB in the write-ahead log
CRASH = "crash"  # the reason of what a killed run had started and not written

_exchange = ExchangeRow.__table__  # type: ignore[attr-defined]  # SQLModel does not type it
_answer = AnswerRow.__table__  # type: ignore[attr-defined]

EXCHANGE_NAMES = tuple(column.name for column in _exchange.columns)
ANSWER_NAMES = tuple(column.name for column in _answer.columns)


def m003_removals(connection: Connection) -> None:
    """How many exchanges were removed. A new file has the table already."""
    Removal.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]


def m005_erasures(connection: Connection) -> None:
    """Exchanges by their subject, and what was erased of them. A new file has all of it already."""
    connection.execute(
        text("CREATE INDEX IF NOT EXISTS exchange_of_subject ON exchange (subject) WHERE subject IS NOT NULL")
    )
    for table in (ErasureReport, ErasedExchange):
        table.__table__.create(connection, checkfirst=True)  # type: ignore[union-attr]


def m006_probe_replies(connection: Connection) -> None:
    """What the teacher said to probes. A new file has the table already."""
    ProbeReplyRow.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]


MIGRATIONS = (
    m001_initial(exchange_metadata),
    add_column("answer", "inclusion", "FLOAT NOT NULL DEFAULT 1.0"),
    m003_removals,
    add_column("exchange", "subject", "VARCHAR"),
    m005_erasures,
    m006_probe_replies,
    add_column("answer", "spots", "VARCHAR NOT NULL DEFAULT '[]'"),
)


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
    """The writing side, on a connection of the driver itself: every request passes here. One thread uses it;
    open and close are the only calls of another thread."""

    def __init__(self, path: Path, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _prepare(path)
        self.path = path
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in (
                f"synchronous = {synchronous}",
                "secure_delete = ON",
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Committed at the end, rolled back on any exception. Raises sqlite3.Error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # an error that rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def append(self, exchanges: Iterable[Exchange], answers: Iterable[Answer]) -> None:
        """Write one group in one transaction. A second answer of the same responder is ignored."""
        exchange_rows = [_exchange_row(exchange) for exchange in exchanges]
        answer_rows = [_answer_row(answer) for answer in answers]
        with self.transaction() as connection:
            for rows in _chunks(exchange_rows):
                connection.execute(_insert_exchanges(len(rows)), _flat(rows))
            for rows in _chunks(answer_rows):
                connection.execute(_insert_answers(len(rows)), _flat(rows))

    def rewrite(self, exchange: Exchange) -> None:
        """Write an exchange, again if it is there already: what a failed fsync left may be in memory only."""
        with self.transaction() as connection:
            statement = _insert_exchanges(1).replace("INSERT", "INSERT OR REPLACE", 1)
            connection.execute(statement, _exchange_row(exchange))

    def open_block(self, least: int = 0) -> int:
        """Persist the next block of sequence numbers, `least` or above, and return its first number."""
        with self.transaction() as connection:
            (last,) = connection.execute("SELECT max(first) FROM sequence_block").fetchone()
            first = least if last is None else max(least, last + BLOCK_SIZE)
            connection.execute(
                "INSERT INTO sequence_block (first, opened_at_us) VALUES (?, ?)", (first, now_us())
            )
        return int(first)

    def close_block(self, first: int, started: int, dropped: Mapping[str, int]) -> None:
        """State what became of every request of the block; the rest is counted as lost in a crash."""
        with self.transaction() as connection:
            known = _recorded(connection, first) + sum(dropped.values())
            started = max(started, known)  # a damaged tally may tell of fewer
            losses = {**dropped, CRASH: dropped.get(CRASH, 0) + started - known}
            connection.executemany(
                "INSERT INTO loss (block_first, reason, count) VALUES (?, ?, ?)",
                [(first, str(reason), count) for reason, count in losses.items() if count],
            )
            connection.execute(
                "UPDATE sequence_block SET closed_at_us = ?, started = ? WHERE first = ?",
                (now_us(), started, first),
            )

    def open_blocks(self) -> list[int]:
        """Blocks of runs that never closed them."""
        rows = self._connection.execute("SELECT first FROM sequence_block WHERE closed_at_us IS NULL")
        return [first for (first,) in rows]

    def highest_sequence(self, block_first: int) -> int | None:
        """The last recorded number of a block: all that is known when the tally of a killed run is gone."""
        row = self._connection.execute(
            "SELECT max(sequence) FROM exchange WHERE sequence BETWEEN ? AND ?",
            (block_first, block_first + BLOCK_SIZE - 1),
        ).fetchone()
        highest: int | None = row[0]
        return highest

    def accounts(self) -> Accounts:
        """Totals of the closed blocks, and the recorded rows of all."""
        return accounts_of(self._connection)

    def problem(self) -> str | None:
        """What SQLite finds wrong with the structure of the file, or None. Reads all of it."""
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        return None if found == "ok" else str(found)

    def oldest(self, limit: int) -> list[tuple[int, int]]:
        """The first exchanges: sequence and start."""
        query = "SELECT sequence, started_at_us FROM exchange ORDER BY sequence LIMIT ?"
        return self._connection.execute(query, (limit,)).fetchall()

    def unfolded(self, sequences: Sequence[int], folded: int) -> set[int]:
        """Those of these exchanges that have an answer with a number above `folded`."""
        if not sequences:
            return set()
        rows = self._connection.execute(
            "SELECT exchange_sequence FROM answer WHERE exchange_sequence BETWEEN ? AND ? AND number > ?",
            (min(sequences), max(sequences), folded),
        )
        return {sequence for (sequence,) in rows}

    def remove(self, sequences: Sequence[int], reason: str) -> None:
        """Take exchanges and their answers out; they go on counting as recorded.

        The last answer of all stays, without its exchange: SQLite would give its number again, and a reader that
        has got there would never see the next one.
        """
        if not sequences:
            return
        keys = [(sequence,) for sequence in sequences]
        blocks = Counter(sequence - sequence % BLOCK_SIZE for sequence in sequences)
        with self.transaction() as connection:
            (last,) = connection.execute("SELECT max(number) FROM answer").fetchone()
            connection.executemany(
                "DELETE FROM answer WHERE exchange_sequence = ? AND number < ?",
                [(sequence, last or 0) for sequence in sequences],
            )
            connection.executemany("DELETE FROM exchange WHERE sequence = ?", keys)
            connection.executemany(
                "INSERT INTO removal (block_first, reason, count) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(block, reason, count) for block, count in blocks.items()],
            )

    def ask(self, query: str, parameters: Row = ()) -> list[Row]:
        """What the file holds."""
        return self._connection.execute(query, parameters).fetchall()

    def used_bytes(self) -> int:
        """Of the database without its free pages, which the next rows take."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def shrink(self, pages: int, keep: int) -> bool:
        """Give up to so many free pages back to the file system, all but those to keep; whether there are more."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free <= keep:
            return False
        # a script, since the driver takes but the first step of a statement without columns: one page
        self._connection.executescript(f"PRAGMA incremental_vacuum({min(pages, free - keep)})")
        if free - pages > keep:
            return True
        self._connection.execute(
            "PRAGMA wal_checkpoint(PASSIVE)"
        ).fetchall()  # the file ends earlier from here
        return False

    def checkpoint(self) -> bool:
        """Move everything from the write-ahead log into the database file, and empty the log.

        False if a reader that looks at an older state kept it from that.
        """
        (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def empty_log(self) -> bool:
        """The same without waiting for readers: the next group must not wait for them either."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            return self.checkpoint()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")

    def close(self) -> None:
        self._connection.close()


def _prepare(path: Path) -> None:
    """Create or upgrade the tables. Raises SchemaTooNew, SQLAlchemyError or OSError."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")  # heard by a new file alone
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.commit()
            with connection.begin():
                migrate(connection, str(path), MIGRATIONS)
    finally:
        engine.dispose()


def accounts_of(connection: sqlite3.Connection) -> Accounts:
    """Totals of the closed blocks, and all recorded rows, those that were removed since included."""
    (started,) = connection.execute("SELECT coalesce(sum(started), 0) FROM sequence_block").fetchone()
    (rows,) = connection.execute("SELECT count(*) FROM exchange").fetchone()
    (removed,) = connection.execute("SELECT coalesce(sum(count), 0) FROM removal").fetchone()
    losses = connection.execute("SELECT reason, sum(count) FROM loss GROUP BY reason")
    return Accounts(started, rows + removed, dict(losses.fetchall()))


def _recorded(connection: sqlite3.Connection, block_first: int) -> int:
    """Exchanges of a block that were ever written."""
    (rows,) = connection.execute(
        "SELECT count(*) FROM exchange WHERE sequence BETWEEN ? AND ?",
        (block_first, block_first + BLOCK_SIZE - 1),
    ).fetchone()
    (removed,) = connection.execute(
        "SELECT coalesce(sum(count), 0) FROM removal WHERE block_first = ?", (block_first,)
    ).fetchone()
    return int(rows + removed)


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


def present(connection: sqlite3.Connection, sequences: Sequence[int]) -> set[int]:
    """Those of these exchanges that are in the file."""
    asked = orjson.dumps(list(sequences)).decode()
    query = "SELECT sequence FROM exchange WHERE sequence IN (SELECT value FROM json_each(?))"
    return {sequence for (sequence,) in connection.execute(query, (asked,))}


def exchanges_of_task(connection: sqlite3.Connection, task: str, since_us: int = 0) -> Iterator[Exchange]:
    """Exchanges of a task in the order of their sequence, started at or after `since_us`."""
    rows = connection.execute(
        f"SELECT {EXCHANGE_COLUMNS} FROM exchange e WHERE e.task = ? AND e.started_at_us >= ?"
        " ORDER BY e.sequence",
        (task, since_us),
    )
    return map(read_exchange, rows)


def exchanges_with_inputs(
    connection: sqlite3.Connection, task: str, digests: Iterable[str], before_us: int
) -> Iterator[Exchange]:
    """Exchanges of a task, started before a moment, that hold one of these inputs."""
    rows = connection.execute(
        f"SELECT {EXCHANGE_COLUMNS} FROM exchange e WHERE e.task = ? AND e.started_at_us < ? AND EXISTS"
        " (SELECT 1 FROM json_each(e.input_digests) d WHERE d.value IN (SELECT value FROM json_each(?)))"
        " ORDER BY e.sequence",
        (task, before_us, _json(list(digests))),
    )
    return map(read_exchange, rows)


def inputs_before(connection: sqlite3.Connection, task: str, before_us: int) -> int:
    """How many inputs the exchanges of a task have that started before a moment."""
    query = (
        "SELECT coalesce(sum(json_array_length(input_digests)), 0) FROM exchange"
        " WHERE task = ? AND started_at_us < ?"
    )
    return int(connection.execute(query, (task, before_us)).fetchone()[0])


def newest_start(connection: sqlite3.Connection, task: str) -> int | None:
    """When the last exchanges of a task started; None where there are none."""
    query = (
        "SELECT max(started_at_us) FROM"
        " (SELECT started_at_us FROM exchange WHERE task = ? ORDER BY sequence DESC LIMIT 100)"
    )
    newest: int | None = connection.execute(query, (task,)).fetchone()[0]
    return newest


def teacher_answers(
    connection: sqlite3.Connection,
) -> Iterator[tuple[int, str, tuple[Observation, ...]]]:
    """What the teacher said off the path: sequence of the exchange, responder, observations; in that order."""
    rows = connection.execute(
        "SELECT exchange_sequence, responder, observations FROM answer WHERE responder IN (?, ?)"
        " ORDER BY exchange_sequence, responder",
        (TEACHER, TEACHER_AGAIN),
    )
    return ((sequence, responder, read_observations(text)) for sequence, responder, text in rows)


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
        teacher=read_observations(row[20]),
        subject=row[21],
    )


def read_answer(row: tuple[Any, ...]) -> Answer:
    """The columns of AnswerRow, in order, as the type that travels."""
    _, sequence, responder, origin, answered_at_us, latency_us, observations, inclusion, spots = row
    return Answer(
        sequence,
        responder,
        Origin(origin),
        answered_at_us,
        latency_us,
        _with_spots(read_observations(observations), orjson.loads(spots)),
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
    """As few statements as possible, of a few sizes that stay prepared."""
    start = 0
    for size in ROWS_A_STATEMENT:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _flat(rows: Sequence[Row]) -> Row:
    return tuple(chain.from_iterable(rows))


_plain = str.__str__  # the text of an enumeration's member as a plain str


def _exchange_row(exchange: Exchange) -> Row:
    """Plain types alone: the driver looks for adapters of every other one, enumerations included."""
    (
        sequence, identity, task, started, duration, outcome, status, served_by, arm, artifact, revision, epoch,
        inclusion, measured, fallback, unpaired, attributes, inputs, words, digests, teacher, subject,
    ) = exchange  # fmt: skip
    return (
        sequence,
        identity,
        task,
        started,
        duration,
        _plain(outcome),
        status,
        _plain(served_by),
        _plain(arm),
        artifact,
        revision,
        epoch,
        inclusion,
        1 if measured else 0,
        None if fallback is None else _plain(fallback),
        None if unpaired is None else _plain(unpaired),
        _json(attributes) if attributes else "{}",
        _json(inputs),
        _json(words),
        _json(digests),
        observations_json(teacher),
        subject,
    )


def _answer_row(answer: Answer) -> Row:
    sequence, responder, origin, answered_at_us, latency_us, observations, inclusion = answer
    return (
        sequence,
        str(responder),
        _plain(origin),
        answered_at_us,
        latency_us,
        observations_json(observations),
        inclusion,
        _spots_json(observations),
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


def _spots_json(observations: Sequence[Observation]) -> str:
    """One for each input, or none at all where nobody tells them."""
    spots = [observation.spot for observation in observations]
    return _json(spots) if any(spot != NOWHERE for spot in spots) else "[]"


def _with_spots(observations: tuple[Observation, ...], spots: Sequence[int]) -> tuple[Observation, ...]:
    if len(spots) != len(observations):
        return observations
    return tuple([said._replace(spot=spot) for said, spot in zip(observations, spots, strict=True)])


def read_observations(text: str) -> tuple[Observation, ...]:
    return tuple([_read_observation(entry) for entry in orjson.loads(text)])


def _read_observation(entry: Any) -> Observation:
    if isinstance(entry, list):
        return Observation(tuple(entry))
    if isinstance(entry, dict):
        return Observation(tuple(entry["p"]), None, entry["hard"], entry["other"])
    return Observation(None, ObservationError(entry))
