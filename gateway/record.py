"""The recorder: a queue bounded in count and bytes, and the one thread that writes the exchange file.

Callers never wait for it. While the file cannot be written the group in hand is tried again and again; what no
longer fits into the queue meanwhile is counted as dropped. Nothing leaves the queue before it is committed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.captured import Built, Captured, CapturedAudit, build, build_audit, build_unparsed
from gateway.store import STORE_ERRORS, Store, append, close_store, open_store, reopen_file
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import CRASH
from ledger.tally import Drop

GROUP_SECONDS = 0.015  # how long the first of a group waits for others; with the commit about 20 ms
GROUP_COUNT = 500
RETRY_SECONDS = 0.25  # between two tries to write
ANSWER_BYTES = 512  # of one waiting answer, roughly

log = logging.getLogger(__name__)

Entry = Captured | CapturedAudit | Answer


@dataclass(frozen=True, slots=True)
class Accounting:
    """One consistent view of `requests = recorded + dropped + pending`, over the whole life of the file."""

    requests: int
    recorded: int
    dropped: Mapping[str, int]
    pending: int  # in flight, in the queue, or being written


@dataclass(frozen=True, slots=True)
class RecorderLimits:
    count: int
    bytes: int


Forms = dict[tuple[str, str], tuple[bytes, bytes]]  # (task, shape) -> the teacher's last reply, content type
MAX_FORMS = 256  # shapes come from callers, so the ones seen longest ago are forgotten


@dataclass(frozen=True, slots=True)
class Committed:
    """Told after each group that was written."""

    built: Sequence[Built]
    answers: Sequence[Answer]
    unreadable_audits: int


class Recorder:
    """`begin`, `put` and `lose` belong to the event loop; the thread behind them to nobody else."""

    def __init__(
        self,
        data_directory: Path,
        gateway: str,
        limits: RecorderLimits,
        on_committed: Callable[[Committed], None],
    ) -> None:
        self.forms: Forms = {}  # written by the thread, read by the event loop
        self.failing = False  # the last try to write failed
        self._data_directory, self._gateway, self._limits = data_directory, gateway, limits
        self._on_committed = on_committed
        self._queue: deque[Entry] = deque()
        self._lock = threading.Lock()  # over every count below, so that a view of them is consistent
        self._store: Store | None = None
        self._in_flight = 0
        self._waiting_exchanges = self._waiting_entries = self._waiting_bytes = 0
        self._recorded = 0  # since this run's block was opened
        self._unnumbered = 0  # requests that came while there was no block to number them from
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._give_up_at = float("inf")  # on time.monotonic(), once stopping
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Open the store, or begin without one. Raises StoreTaken or SchemaTooNew: these never pass."""
        self._open()
        self._thread.start()

    def begin(self) -> int | None:
        """Count a started request; its sequence number, or None while there is no store: it is dropped."""
        with self._lock:
            if self._store is None:
                self._unnumbered += 1
                return None
            self._in_flight += 1
            return self._store.tally.start_request()

    def put(self, captured: Captured) -> None:
        """Hand over the end of a request that got a number."""
        with self._lock:
            self._in_flight -= 1
            full = self._full(captured.size)
            if full is not None:
                self._drop(full)
                return
            self._waiting_exchanges += 1
            self._enqueue(captured, captured.size)

    def put_audit(self, audit: CapturedAudit) -> bool:
        """Hand over the teacher's reply to an audit; False if the queue is full."""
        with self._lock:
            if self._full(audit.size) is not None:
                return False
            self._enqueue(audit, audit.size)
            return True

    def put_answers(self, answers: Sequence[Answer]) -> int:
        """Hand over answers of students in one go; how many of them, from the first, found room."""
        with self._lock:
            for taken, answer in enumerate(answers):
                if self._full(ANSWER_BYTES) is not None:
                    return taken
                self._enqueue(answer, ANSWER_BYTES)
            return len(answers)

    def lose(self, reason: Drop) -> None:
        """Count a numbered request that ends without being captured."""
        with self._lock:
            self._in_flight -= 1
            self._drop(reason)

    def accounting(self) -> Accounting:
        with self._lock:
            store = self._store
            if store is None:
                return Accounting(self._unnumbered, 0, {Drop.STORE_FAILED: self._unnumbered}, 0)
            losses = {str(reason): count for reason, count in store.tally.dropped.items()}
            names = [*losses, CRASH]
            return Accounting(
                store.before.requests + store.tally.started,
                store.before.recorded + self._recorded,
                {name: losses.get(name, 0) + store.before.dropped.get(name, 0) for name in names},
                self._in_flight + self._waiting_exchanges,
            )

    @property
    def queued_bytes(self) -> int:
        """What waits or is being written."""
        return self._waiting_bytes

    def stop(self, seconds: float) -> None:
        """Write what waits, for at most so long while the store fails, and close the block."""
        self._give_up_at = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    # --- under the lock -------------------------------------------------------------------------------

    def _full(self, size: int) -> Drop | None:
        if self._waiting_entries >= self._limits.count:
            return Drop.STORE_FAILED if self.failing else Drop.RECORD_QUEUE_FULL_COUNT
        if self._waiting_bytes + size > self._limits.bytes:
            return Drop.STORE_FAILED if self.failing else Drop.RECORD_QUEUE_FULL_BYTES
        return None

    def _enqueue(self, entry: Entry, size: int) -> None:
        self._waiting_entries += 1
        self._waiting_bytes += size
        self._queue.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    def _drop(self, reason: Drop, count: int = 1) -> None:
        assert self._store is not None
        self._store.tally.drop(reason, count)

    # --- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(None if self._store is not None else RETRY_SECONDS)
            if self._store is None:
                self._open()
            if not self._stopping.is_set():
                self._wake.clear()
                self._stopping.wait(GROUP_SECONDS)
            while self._queue:
                self._write_group()
            if self._stopping.is_set():
                break
        self._close()

    def _open(self) -> None:
        try:
            store = open_store(self._data_directory, self._gateway)
        except STORE_ERRORS as error:
            self._fails(error)
            return
        counted = self._count_unnumbered(store, 0)  # most of them without holding up the event loop
        with self._lock:
            self._count_unnumbered(store, counted)
            self._store = store
        self._works()

    def _count_unnumbered(self, store: Store, counted: int) -> int:
        """Requests that came before there was a block take numbers of it now, as dropped."""
        for _ in range(counted, total := self._unnumbered):
            store.tally.start_request()
        store.tally.drop(Drop.STORE_FAILED, total - counted)
        return total

    def _write_group(self) -> None:
        entries = [self._queue.popleft() for _ in range(min(GROUP_COUNT, len(self._queue)))]
        built = [self._build(entry) for entry in entries if isinstance(entry, Captured)]
        audits = [build_audit(entry) for entry in entries if isinstance(entry, CapturedAudit)]
        answers = [one.inline for one in built if one.inline is not None]
        answers += [answer for answer in audits if answer is not None]
        answers += [entry for entry in entries if isinstance(entry, Answer)]
        written = self._write(built, answers)
        self._forget(entries, len(built), written)
        if written is not None:
            self._on_committed(Committed(built, answers, audits.count(None)))

    def _build(self, captured: Captured) -> Built:
        try:
            built = build(self._gateway, captured)
        except Exception:  # a peer must not be able to stop the recorder
            log.exception("Exchange %d could not be parsed. action=parse_failed", captured.sequence)
            return build_unparsed(self._gateway, captured)
        if built.form is not None and built.shape is not None:
            self.forms.pop((captured.route.name, built.shape), None)
            self.forms[captured.route.name, built.shape] = built.form, captured.content_type
            if len(self.forms) > MAX_FORMS:
                del self.forms[next(iter(self.forms))]
        return built

    def _write(self, built: Sequence[Built], answers: Sequence[Answer]) -> int | None:
        """Commit the group however long it takes; None when stopping and the time is over."""
        exchanges = [one.exchange for one in built]
        while (written := self._try_write(exchanges, answers)) is None:
            if time.monotonic() > self._give_up_at:
                return None
            time.sleep(RETRY_SECONDS)
        return written

    def _try_write(self, exchanges: Sequence[Exchange], answers: Sequence[Answer]) -> int | None:
        """How many exchanges are in the file now; None if it cannot be written for the time being."""
        assert self._store is not None
        try:
            if self.failing:
                self._store = reopen_file(self._store)
            written = append(self._store.file, exchanges, answers)
        except STORE_ERRORS as error:
            self._fails(error)
            return None
        self._works()
        return written

    def _forget(self, entries: Sequence[Entry], exchanges: int, written: int | None) -> None:
        size = sum(ANSWER_BYTES if isinstance(entry, Answer) else entry.size for entry in entries)
        with self._lock:
            self._waiting_entries -= len(entries)
            self._waiting_bytes -= size
            self._waiting_exchanges -= exchanges
            self._recorded += written or 0
            self._drop(Drop.STORE_FAILED, exchanges - (written or 0))

    def _close(self) -> None:
        if self._store is None:
            return
        try:
            close_store(self._store, settle=True)
        except STORE_ERRORS as error:
            log.error(
                "The block stays open and is settled at the next start: %s. action=store_close_failed", error
            )

    def _fails(self, error: BaseException) -> None:
        if not self.failing:
            self.failing = True
            cause = error.orig if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else error
            log.error(
                "Exchanges cannot be written to %s: %s. Callers are served; what does not fit into the queue"
                " is counted as dropped. action=store_failed",
                self._data_directory / "exchanges",
                cause,
            )

    def _works(self) -> None:
        if self.failing:
            self.failing = False
            log.info("Exchanges are written again. action=store_recovered")
