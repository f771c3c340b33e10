"""The one thread that writes the exchange file: groups, tries until they are written, gives way to a full disk.

Nothing leaves its hands before it is committed. While the file cannot be written the group in hand is tried
again and again; what no longer fits into the queue meanwhile is the recorder's to count.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError

from gateway.ballast import give_up_ballast, is_no_room, lay_ballast
from gateway.captured import Built, Captured, CapturedAudit, build_audit
from gateway.durability import Durability
from gateway.salvage import is_broken
from gateway.store import STORE_ERRORS, Store, append, close_store, open_store, reopen_file, replace_broken
from ledger.exchange import Answer
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tally import Drop

GROUP_COUNT = 512
RETRY_SECONDS = 0.25  # between two tries to write
UPKEEP_SECONDS = 1.0  # between two turns of what is done while nothing waits
ANSWER_BYTES = 512  # of one waiting answer, roughly

log = logging.getLogger(__name__)

Entry = Built | Captured | CapturedAudit | Answer


class Done(NamedTuple):
    """What has left the queue since the start: replaced as a whole after each group, never changed."""

    entries: int = 0
    exchanges: int = 0
    bytes: int = 0
    recorded: int = 0
    losses: Mapping[Drop, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Opened:
    """A store with a block, and how many requests that came before it took numbers of it, as dropped."""

    store: Store
    counted: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Told after each group that was written."""

    built: Sequence[Built]
    answers: Sequence[Answer]
    unreadable: Sequence[CapturedAudit]  # whose reply the dialect could not read


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """Where and how."""

    data_directory: Path
    gateway: str
    durability: Durability
    ballast_bytes: int = 0


Upkeep = Callable[[ExchangeFile], bool]  # short; whether more is due at once; raises one of STORE_ERRORS


class Writer:
    """`queue`, `wake` and `stop` are for the event loop, the other attributes for it to read."""

    def __init__(
        self,
        settings: WriterSettings,
        build: Callable[[Captured], Built],
        on_committed: Callable[[Committed], None],
        unnumbered: Callable[[], int],
        upkeep: Sequence[Upkeep],
    ) -> None:
        self.queue: deque[Entry] = deque()
        self.done = Done()
        self.failing = False  # the last try to write failed
        self.opened: Opened | None = None
        self._settings, self._build, self._on_committed = settings, build, on_committed
        self._unnumbered, self._upkeep = unnumbered, upkeep
        self._ballast = exchange_path(settings.data_directory, settings.gateway).with_suffix(".ballast")
        self._store: Store | None = None
        self._disk_full = False
        self._upkeep_at = 0.0  # on time.monotonic()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._give_up_at = float("inf")  # on time.monotonic(), once stopping
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Open the store, or begin without one. Raises StoreTaken or SchemaTooNew: these never pass."""
        self._open()
        self._thread.start()

    def wake(self) -> None:
        if not self._wake.is_set():
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Write what waits, for at most so long while the store fails, and close the block."""
        self._give_up_at = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._wake.wait(RETRY_SECONDS if self._store is None else self._until_upkeep()):
                self._stopping.wait(self._settings.durability.group_seconds)
                self._wake.clear()
            if self._store is None:
                self._open()
            else:
                self._write_groups()
                self._keep_up()
        if self._store is not None:
            self._write_groups()
            self._close()

    def _open(self) -> None:
        settings = self._settings
        try:
            store = open_store(settings.data_directory, settings.gateway, settings.durability)
        except STORE_ERRORS as error:
            self._fails(error)
            return
        counted = self._unnumbered()
        for _ in range(counted):
            store.tally.start_request()
        store.tally.drop(Drop.STORE_FAILED, counted)
        self._store, self.opened = store, Opened(store, counted)
        self._works()

    def _write_groups(self) -> None:
        while self.queue:
            entries = [self.queue.popleft() for _ in range(min(GROUP_COUNT, len(self.queue)))]
            self._write_group(entries)

    def _write_group(self, entries: Sequence[Entry]) -> None:
        built = [one for one in entries if isinstance(one, Built)]
        built += [self._build(one) for one in entries if isinstance(one, Captured)]
        audits = [(one, build_audit(one)) for one in entries if isinstance(one, CapturedAudit)]
        answers = [one.inline for one in built if one.inline is not None]
        answers += [answer for _, answer in audits if answer is not None]
        answers += [one for one in entries if isinstance(one, Answer)]
        refused = self._write(built, answers)
        self._count(entries, len(built), None if refused is None else len(refused))
        if refused is not None:
            written = [one for one in built if one.exchange.sequence not in refused] if refused else built
            unreadable = [one for one, answer in audits if answer is None]
            self._on_committed(Committed(written, answers, unreadable))

    def _count(self, entries: Sequence[Entry], exchanges: int, refused: int | None) -> None:
        """The group is in the file but for `refused`, or was given up where that is None."""
        done, size = (
            self.done,
            sum([ANSWER_BYTES if isinstance(one, Answer) else one.size for one in entries]),
        )
        lost = exchanges if refused is None else refused
        self.done = Done(
            done.entries + len(entries),
            done.exchanges + exchanges,
            done.bytes + size,
            done.recorded + exchanges - lost,
            self._lose(Drop.UNWRITTEN if refused is None else Drop.ROW_REFUSED, lost)
            if lost
            else done.losses,
        )

    def _lose(self, reason: Drop, count: int) -> Mapping[Drop, int]:
        assert self._store is not None
        self._store.tally.drop(reason, count)
        losses = self.done.losses
        return {**losses, reason: losses.get(reason, 0) + count}

    def _write(self, built: Sequence[Built], answers: Sequence[Answer]) -> set[int] | None:
        """Commit the group however long it takes; None when stopping and the time is over."""
        while (refused := self._try_write(built, answers)) is None:
            if time.monotonic() > self._give_up_at:
                return None
            time.sleep(RETRY_SECONDS)
        return refused

    def _try_write(self, built: Sequence[Built], answers: Sequence[Answer]) -> set[int] | None:
        """The exchanges that the file refused; None if it cannot be written for the time being."""
        assert self._store is not None
        if self._waits_for_room():
            return None
        try:
            if self.failing:
                self._store = reopen_file(self._store)
            refused = append(self._store.file, [one.exchange for one in built], answers)
        except STORE_ERRORS as error:
            self._fails(error)
            self._recover(error)
            return None
        self._works()
        return refused

    def _recover(self, error: BaseException) -> None:
        """What has to be done before the next try."""
        if is_no_room(error):
            self._make_room()
        elif is_broken(error):
            self._replace_broken()

    def _make_room(self) -> None:
        """Give up the ballast, and let what was committed leave the write-ahead log for the file."""
        assert self._store is not None
        self._disk_full = (
            give_up_ballast(self._ballast) or self._disk_full
        )  # without one there is nothing to spare
        try:
            self._store = reopen_file(self._store)
            self._store.file.checkpoint()
        except STORE_ERRORS as error:
            log.warning("The write-ahead log stays as it is: %s. action=checkpoint_failed", error)

    def _waits_for_room(self) -> bool:
        """Not even tried while the disk is full: what the ballast left free is for closing the file."""
        if self._disk_full and not self._stopping.is_set():
            self._disk_full = not lay_ballast(self._ballast, self._settings.ballast_bytes)
        return self._disk_full and not self._stopping.is_set()

    def _replace_broken(self) -> None:
        assert self._store is not None
        known = self._store.before.recorded + self.done.recorded
        try:
            self._store, lost = replace_broken(self._store, known)
        except STORE_ERRORS as error:
            log.error("The broken file cannot be replaced yet: %s. action=salvage_failed", error)
            return
        losses = self._lose(Drop.CORRUPT, lost)
        self.done = self.done._replace(recorded=self.done.recorded - lost, losses=losses)

    def _keep_up(self) -> None:
        """What is done between groups, and never in front of one."""
        if self._store is None or self.failing or time.monotonic() < self._upkeep_at:
            return
        self._upkeep_at = time.monotonic() + UPKEEP_SECONDS
        lay_ballast(self._ballast, self._settings.ballast_bytes)
        try:
            for upkeep in self._upkeep:
                if upkeep(self._store.file):
                    self._upkeep_at = 0.0
        except STORE_ERRORS as error:
            self._fails(error)
            self._recover(error)

    def _until_upkeep(self) -> float:
        """Seconds."""
        return RETRY_SECONDS if self.failing else max(0.0, self._upkeep_at - time.monotonic())

    def _close(self) -> None:
        assert self._store is not None
        try:
            close_store(self._store, settle=True)
        except STORE_ERRORS as error:
            log.error(
                "The block stays open and is settled at the next start: %s. action=store_close_failed", error
            )

    def _fails(self, error: BaseException) -> None:
        if not self.failing:
            self.failing = True
            log.error(
                "Exchanges cannot be written to %s: %s. Callers are served; what does not fit into the queue"
                " is counted as dropped. action=store_failed",
                self._settings.data_directory / "exchanges",
                error.orig if isinstance(error, DBAPIError) else error,
            )

    def _works(self) -> None:
        if self.failing:
            self.failing = False
            log.info("Exchanges are written again. action=store_recovered")
