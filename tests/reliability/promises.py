"""The five promises that every row ends with: the ledger check between all views, and no growth.

I1 a wrong or cut response is never taken for a whole one; I2 requests = recorded + dropped + pending;
I3 no exchange twice; I4 no descriptor, thread, request or place in the pool is left; I5 the process lives and says so.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ledger.exchange import Exchange, Outcome, ServedBy, Unpaired
from tests.gateway.running import Running, assert_identity, call, wait_until
from tests.reliability.callers import Seen, percentile
from tests.reliability.rows import Row
from tests.reliability.teachers import answer_to

SLACK = 2  # descriptors and threads
LAZY_THREADS = min(32, (os.cpu_count() or 1) + 4)  # of asyncio's own pool, which fills when it is first used
IN_FLIGHT, BUSY = "stillgate_inflight_requests", 'stillgate_upstream_connections{state="busy"'
RELEASE_SECONDS = 30.0  # for pooled connections to be closed
LIVEZ_SECONDS = 2.0  # on a machine where every core is taken; what was seen stands in the table


class Teacher(Protocol):
    """What the ledger check asks of a teacher."""

    def asked(self) -> Counter[str]: ...


@dataclass
class Ledger:
    """Everybody's view. A row fills in what its callers saw."""

    seen: list[Seen] = field(default_factory=list)
    expected: Callable[[str], bytes] = answer_to
    teacher: Teacher | None = None
    drops: frozenset[str] = frozenset()  # reasons that the row allows
    hidden: int = 0  # requests that were sent without being in `seen`
    once: bool = True  # the teacher may be asked once at most: nothing here is repeated


@contextmanager
def promises(
    row: Row, running: Running, teacher: Teacher | None = None, drops: Collection[str] = ()
) -> Iterator[Ledger]:
    """The row's own doing stands inside; every promise is checked when it has ended."""
    ledger = Ledger(teacher=teacher, drops=frozenset(drops))
    settled = running.settled()
    before = footprint(running.process.pid)
    with livez_watch(running) as watch:
        yield ledger
    assert running.process.poll() is None, running.log.read_text()[-2000:]
    check_ledger(row, running, ledger, settled)
    check_released(row, running, before)
    assert not watch.silent, f"/livez: {watch.silent[:3]}"
    row.raise_to(livez_p99_ms=percentile(watch.seconds, 0.99))


def check_ledger(row: Row, running: Running, ledger: Ledger, before: dict[str, float] | None = None) -> None:
    """I1, I2 and I3, over the whole life of the exchange file. `before`: the accounts when the row began."""
    accounts = running.settled()
    assert_identity(accounts)
    exchanges = running.exchanges()
    by_id = {exchange.exchange_id: exchange for exchange in exchanges}
    losses = {
        name: int(count - (before or {}).get(name, 0))
        for name, count in accounts.items()
        if name not in ("requests", "recorded", "pending")
    }
    missing = sum(seen.exchange is not None and seen.exchange not in by_id for seen in ledger.seen)
    unaccounted = max(0, missing - sum(losses.values())) + abs(int(accounts["recorded"]) - len(by_id))
    wrong = [
        said for seen in ledger.seen if (said := wrong_with(seen, by_id.get(seen.exchange or ""), ledger))
    ]
    row.add(
        requests=len(ledger.seen) + ledger.hidden,
        answered=sum(seen.complete and seen.status == 200 for seen in ledger.seen),
        dropped=sum(losses.values()),
        wrong=len(wrong),
        unaccounted=unaccounted,
    )
    assert not wrong, wrong[:3]
    assert not unaccounted, (accounts, len(by_id), missing)
    assert not {name for name, count in losses.items() if count} - ledger.drops, losses
    _check_views(ledger, exchanges)


def wrong_with(seen: Seen, exchange: Exchange | None, ledger: Ledger) -> str:
    """I1 for one request: what its caller received, beside what the record says. Callers here stay to the end,
    so that what they saw cut cannot have ended as complete."""
    from_teacher = seen.complete and seen.status == 200 and seen.served_by == ServedBy.TEACHER
    if from_teacher and seen.body != ledger.expected(seen.request):
        return f"another body: {seen}"
    if exchange is None:
        return ""
    if exchange.inputs and seen.request not in exchange.inputs[0]:
        return f"another request's exchange: {seen}, {exchange}"
    if seen.status not in (exchange.status, 0):
        return f"another status: {seen}, {exchange}"
    if seen.complete and exchange.outcome is Outcome.UPSTREAM_TRUNCATED:
        return f"recorded as cut, seen whole: {seen}, {exchange}"
    if not seen.complete and exchange.outcome is Outcome.COMPLETE:
        return f"recorded as complete, seen cut: {seen}, {exchange}"
    if not seen.complete and exchange.unpaired not in (Unpaired.INCOMPLETE, Unpaired.NO_TASK):
        return f"cut, and paired: {seen}, {exchange}"
    return ""


def _check_views(ledger: Ledger, exchanges: Sequence[Exchange]) -> None:
    """I3: no request stands in the record twice, and none was sent to the teacher twice."""
    texts = Counter(text for exchange in exchanges for text in exchange.inputs if text.startswith("r0"))
    assert not [text for text, times in texts.items() if times > 1]
    if ledger.teacher is None:
        return
    asked = ledger.teacher.asked()
    if ledger.once:
        assert not [request for request, times in asked.items() if times > 1 and request != "-"]
    for seen in ledger.seen:
        if seen.complete and seen.served_by == ServedBy.TEACHER:
            assert asked[seen.request] >= 1, f"{seen.request} was answered without its teacher"


def check_released(row: Row, running: Running, before: "Footprint") -> None:
    """I4: what the row opened is closed again, pooled connections after their time."""
    after = before

    def released() -> bool:
        nonlocal after
        after = footprint(running.process.pid)
        metrics = running.metrics()
        busy = (value for name, value in metrics.items() if name.startswith(BUSY))
        idle = not any((metrics[IN_FLIGHT], *busy))
        threads = after.threads <= before.threads + SLACK + LAZY_THREADS
        return idle and threads and after.descriptors <= before.descriptors + SLACK

    kept = True
    with suppress(AssertionError):
        wait_until(released, RELEASE_SECONDS)
        kept = False
    row.add(leaked=max(1, after.descriptors - before.descriptors) if kept else 0)
    assert not kept, f"left behind: {before} became {after}"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    descriptors: int
    threads: int


def footprint(pid: int) -> Footprint:
    return Footprint(
        len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))
    )


def resident_bytes(pid: int) -> int:
    """What of a process lies in memory now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


class Watch:
    """How long /livez took, and when it failed."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.silent: list[str] = []


@contextmanager
def livez_watch(running: Running, pause_seconds: float = 0.05) -> Iterator[Watch]:
    """I5: ask /livez all the time."""
    watch, stop = Watch(), threading.Event()

    def look() -> None:
        while not stop.wait(pause_seconds):
            started = time.monotonic()
            try:
                status = call(running.operations_port, "GET", "/livez").status
            except OSError as error:
                watch.silent.append(repr(error))
                continue
            watch.seconds.append(time.monotonic() - started)
            if status != 200 or watch.seconds[-1] > LIVEZ_SECONDS:
                watch.silent.append(f"{status} after {watch.seconds[-1]:.1f} s")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(30)
