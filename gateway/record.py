"""The recorder: what ended is parsed and queued here, within bounds in count and bytes, and written by a thread.

Callers never wait for it. Every number has one thread that changes it, so that neither side takes a lock: the
event loop counts what came, the writer what left.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.captured import Built, Captured, CapturedAudit, build, build_unparsed
from gateway.durability import DURABLE, Durability
from gateway.writer import ANSWER_BYTES, Committed, Entry, Upkeep, Writer, WriterSettings
from ledger.exchange import Answer
from ledger.exchange_file import CRASH, Accounts
from ledger.tally import Drop, Tally

PARSED_AT_ONCE_BYTES = 64 * 2**10  # larger exchanges are parsed by the writer, a step at a time

log = logging.getLogger(__name__)


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


class Recorder:
    """Everything here belongs to the event loop, but for `stop`, which waits for the writer."""

    def __init__(
        self,
        data_directory: Path,
        gateway: str,
        limits: RecorderLimits,
        on_committed: Callable[[Committed], None],
        durability: Durability = DURABLE,
        ballast_bytes: int = 0,
        upkeep: Sequence[Upkeep] = (),
    ) -> None:
        self.forms: Forms = {}
        self._gateway, self._limits = gateway, limits
        settings = WriterSettings(data_directory, gateway, durability, ballast_bytes)
        self._writer = Writer(settings, self._build, on_committed, lambda: self._unnumbered, upkeep)
        self._tally: Tally | None = None  # from when the store was first opened
        self._before = Accounts(0, 0, {})
        self._in_flight = self._unnumbered = 0  # the latter came while there was no block to number them from
        self._entries = self._exchanges = self._bytes = 0  # put since the start

    @property
    def failing(self) -> bool:
        """The last try to write failed."""
        return self._writer.failing

    @property
    def queued_bytes(self) -> int:
        """What waits or is being written."""
        return self._bytes - self._writer.done.bytes

    def start(self) -> None:
        """Open the store, or begin without one. Raises StoreTaken or SchemaTooNew: these never pass."""
        self._writer.start()
        self._adopt()

    def begin(self) -> int | None:
        """Count a started request; its sequence number, or None while there is no store: it is dropped."""
        tally = self._tally or self._adopt()
        if tally is None:
            self._unnumbered += 1
            return None
        self._in_flight += 1
        return tally.start_request()

    def put(self, captured: Captured) -> bool:
        """Hand over the end of a request that got a number; False if the queue is full."""
        self._in_flight -= 1
        size = captured.size
        full = self._full(size)
        if full is not None:
            self._drop(full)
            return False
        self._exchanges += 1
        self._enqueue(self._build(captured) if size <= PARSED_AT_ONCE_BYTES else captured, size)
        return True

    def put_audit(self, audit: CapturedAudit) -> bool:
        """Hand over the teacher's reply to an audit; False if the queue is full."""
        if self._full(audit.size) is not None:
            return False
        self._enqueue(audit, audit.size)
        return True

    def put_answers(self, answers: Sequence[Answer]) -> int:
        """Hand over answers of students in one go; how many of them, from the first, found room."""
        for taken, answer in enumerate(answers):
            if self._full(ANSWER_BYTES) is not None:
                return taken
            self._enqueue(answer, ANSWER_BYTES)
        return len(answers)

    def lose(self, reason: Drop) -> None:
        """Count a numbered request that ends without being captured."""
        self._in_flight -= 1
        self._drop(reason)

    def accounting(self) -> Accounting:
        tally = self._tally or self._adopt()
        if tally is None:
            return Accounting(self._unnumbered, 0, {Drop.STORE_FAILED: self._unnumbered}, 0)
        done, before = self._writer.done, self._before
        losses = dict(tally.dropped)
        losses.update((str(reason), count) for reason, count in done.losses.items())
        return Accounting(
            before.requests + tally.started,
            before.recorded + done.recorded,
            {name: losses.get(name, 0) + before.dropped.get(name, 0) for name in (*losses, CRASH)},
            self._in_flight + self._exchanges - done.exchanges,
        )

    def stop(self, seconds: float) -> None:
        """Write what waits, for at most so long while the store fails, and close the block."""
        if self._tally is None:
            self._adopt()
        self._writer.stop(seconds)

    def _adopt(self) -> Tally | None:
        """Number from the block that the writer has opened; the last that came without one are counted there."""
        opened = self._writer.opened
        if opened is None:
            return None
        self._tally, self._before = opened.store.tally, opened.store.before
        for _ in range(self._unnumbered - opened.counted):
            self._tally.start_request()
        self._tally.drop(Drop.STORE_FAILED, self._unnumbered - opened.counted)
        return self._tally

    def _full(self, size: int) -> Drop | None:
        done = self._writer.done
        if self._entries - done.entries >= self._limits.count:
            return Drop.STORE_FAILED if self._writer.failing else Drop.RECORD_QUEUE_FULL_COUNT
        if self._bytes - done.bytes + size > self._limits.bytes:
            return Drop.STORE_FAILED if self._writer.failing else Drop.RECORD_QUEUE_FULL_BYTES
        return None

    def _enqueue(self, entry: Entry, size: int) -> None:
        self._entries += 1
        self._bytes += size
        self._writer.queue.append(entry)
        self._writer.wake()

    def _drop(self, reason: Drop) -> None:
        assert self._tally is not None
        self._tally.drop(reason)

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
                self.forms.pop(next(iter(self.forms)), None)
        return built
