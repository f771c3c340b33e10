"""The shadow: recorded exchanges wait here for the students that answer without being served.

Bounded by inputs and bytes; nobody waits for it. Waiting exchanges of one artifact travel together.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.record import Recorder
from ledger.clock import now_us
from ledger.exchange import Answer, Origin
from ledger.observation import Observation, ObservationError, observe
from student.client import StudentClient
from student.wire import Refusal

MAX_OUTSTANDING = 4  # requests to the student at a time
GROUP_INPUTS = 64  # texts of one request to the student


class ShadowDrop(StrEnum):
    """Why a student never answered a recorded exchange."""

    QUEUE_FULL_COUNT = "queue_full_count"
    QUEUE_FULL_BYTES = "queue_full_bytes"
    RECORD_QUEUE_FULL = "record_queue_full"  # it answered, and the answer found no room
    STUDENT_QUEUE_FULL = "student_queue_full"  # the student's own queue
    DEADLINE = "deadline"
    STUDENT_DOWN = "student_down"
    NOT_LOADED = "not_loaded"
    TOO_LARGE = "too_large"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


_DROP_OF = {
    Refusal.QUEUE_FULL: ShadowDrop.STUDENT_QUEUE_FULL,
    Refusal.DEADLINE: ShadowDrop.DEADLINE,
    Refusal.NOT_LOADED: ShadowDrop.NOT_LOADED,
    Refusal.TOO_LARGE: ShadowDrop.TOO_LARGE,
    Refusal.FAILED: ShadowDrop.FAILED,
    Refusal.SHUTTING_DOWN: ShadowDrop.STUDENT_DOWN,
    Refusal.STUDENT_DOWN: ShadowDrop.STUDENT_DOWN,
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One exchange that one artifact has to answer."""

    artifact: str
    classes: int
    sequence: int
    texts: tuple[str, ...]
    size: int  # bytes
    until: float  # event-loop time


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    inputs: int
    bytes: int
    deadline_seconds: float


class Shadow:
    """Lives in the event loop."""

    def __init__(
        self,
        client: StudentClient,
        limits: ShadowLimits,
        recorder: Recorder,
        on_drop: Callable[[ShadowDrop, int], None],
    ) -> None:
        self._client, self._limits, self._recorder, self._on_drop = client, limits, recorder, on_drop
        self._queues: dict[str, deque[Waiting]] = {}
        self._inputs = self._bytes = 0  # waiting, not yet sent
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def inputs(self) -> int:
        return self._inputs

    def submit(self, artifact: str, classes: int, sequence: int, texts: tuple[str, ...]) -> None:
        """Queue one exchange for one artifact, or count why not. `start_asking` follows after a group."""
        size = sum(map(len, texts)) * 4  # no text takes more bytes in UTF-8
        reason = self._refusal(len(texts), size)
        if reason is not None:
            self._on_drop(reason, 1)
            return
        until = asyncio.get_running_loop().time() + self._limits.deadline_seconds
        queue = self._queues.setdefault(artifact, deque())
        queue.append(Waiting(artifact, classes, sequence, texts, size, until))
        self._inputs += len(texts)
        self._bytes += size

    def start_asking(self) -> None:
        """Send as much as may be outstanding."""
        while len(self._asking) < MAX_OUTSTANDING:
            queue = next((queue for queue in self._queues.values() if queue), None)
            if queue is None:
                self._queues.clear()
                return
            self._queues[queue[0].artifact] = self._queues.pop(queue[0].artifact)  # others come first next
            task = asyncio.create_task(self._ask(self._take(queue)))
            self._asking.add(task)
            task.add_done_callback(self._asked)

    async def close(self) -> None:
        """Drop what waits, and let what was asked end within its deadline."""
        self._closed = True
        for queue in self._queues.values():
            self._on_drop(ShadowDrop.SHUTDOWN, len(queue))
        self._queues.clear()
        self._inputs = self._bytes = 0
        if self._asking:
            await asyncio.wait(self._asking)

    def _refusal(self, inputs: int, size: int) -> ShadowDrop | None:
        if self._closed:
            return ShadowDrop.SHUTDOWN
        if self._inputs + inputs > self._limits.inputs:
            return ShadowDrop.QUEUE_FULL_COUNT
        return ShadowDrop.QUEUE_FULL_BYTES if self._bytes + size > self._limits.bytes else None

    def _take(self, queue: deque[Waiting]) -> list[Waiting]:
        """The next exchanges of one artifact: at least one, and no more texts than a group holds."""
        group = [queue.popleft()]
        inputs = len(group[0].texts)
        while queue and inputs + len(queue[0].texts) <= GROUP_INPUTS:
            group.append(queue.popleft())
            inputs += len(group[-1].texts)
        self._inputs -= inputs
        self._bytes -= sum(waiting.size for waiting in group)
        return group

    async def _ask(self, group: Sequence[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        alive = [waiting for waiting in group if waiting.until > started]
        if len(alive) < len(group):
            self._on_drop(ShadowDrop.DEADLINE, len(group) - len(alive))
        if not alive:
            return
        texts = [text for waiting in alive for text in waiting.texts]
        said = await self._client.ask(alive[0].artifact, texts, alive[0].until - started)
        if isinstance(said, Refusal):
            self._on_drop(_DROP_OF[said], len(alive))
        elif len(said) != len(texts):
            self._on_drop(ShadowDrop.FAILED, len(alive))
        else:
            self._answer(alive, said, round((loop.time() - started) * 1e6))

    def _answer(self, group: Sequence[Waiting], said: Sequence[Observation], latency_us: int) -> None:
        at_us, start = now_us(), 0
        for waiting in group:
            end = start + len(waiting.texts)
            observations = checked(said[start:end], waiting.classes)
            answer = Answer(
                waiting.sequence, waiting.artifact, Origin.SHADOW, at_us, latency_us, observations
            )
            if not self._recorder.put_late(answer):
                self._on_drop(ShadowDrop.RECORD_QUEUE_FULL, 1)
            start = end

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._on_drop(ShadowDrop.FAILED, 1)
        if not self._closed:
            self.start_asking()


def checked(said: Sequence[Observation], classes: int) -> tuple[Observation, ...]:
    """The student's observations, an error in place of each that is no distribution over the classes."""
    return tuple([_checked(observation, classes) for observation in said])


def _checked(observation: Observation, classes: int) -> Observation:
    probabilities = observation.probabilities
    if probabilities is None:
        return observation
    if not all(isinstance(value, float | int) for value in probabilities):  # JSON writes NaN as null
        return Observation(None, ObservationError.NOT_FINITE)
    return observe([value if math.isfinite(value) else math.nan for value in probabilities], classes)
