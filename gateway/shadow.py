"""The shadow: recorded exchanges wait here for the students that answer without being served.

Bounded by inputs and bytes; nobody waits for it. Waiting exchanges of one artifact travel together, and each
artifact has a line of its own, so that one that hangs takes no more than its share of the room.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from gateway.coverage import Ticket
from gateway.record import Recorder
from ledger.clock import now_us
from ledger.exchange import Answer, Origin
from ledger.observation import Observation, ObservationError
from student.wire import Refusal, Response

MAX_OUTSTANDING = 4  # requests to one artifact at a time
GROUP_INPUTS = 64  # texts of one request to a student
GROUP_BYTES = 4 * 2**20  # likewise; a single larger exchange travels alone


class ShadowDrop(StrEnum):
    """Why a student never answered an exchange that it should have."""

    NOT_SAMPLED = "not_sampled"  # task.shadow.share left it out
    UNPARSED = "unparsed"  # the request or the teacher's reply could not be read
    TOO_LARGE = "too_large"  # larger than what is recorded, or than the student takes
    QUEUE_FULL_COUNT = "queue_full_count"
    QUEUE_FULL_BYTES = "queue_full_bytes"
    RECORD_QUEUE_FULL = "record_queue_full"  # it answered, and the answer found no room
    STUDENT_QUEUE_FULL = "student_queue_full"  # the student's own queue
    DEADLINE = "deadline"
    STUDENT_DOWN = "student_down"
    NOT_LOADED = "not_loaded"
    FAILED = "failed"
    LOOP = "loop"  # a remote student's url leads back to this gateway
    SHUTDOWN = "shutdown"


_DROP_OF = {
    Refusal.QUEUE_FULL: ShadowDrop.STUDENT_QUEUE_FULL,
    Refusal.DEADLINE: ShadowDrop.DEADLINE,
    Refusal.NOT_LOADED: ShadowDrop.NOT_LOADED,
    Refusal.TOO_LARGE: ShadowDrop.TOO_LARGE,
    Refusal.FAILED: ShadowDrop.FAILED,
    Refusal.LOOP: ShadowDrop.LOOP,
    Refusal.SHUTTING_DOWN: ShadowDrop.STUDENT_DOWN,
    Refusal.STUDENT_DOWN: ShadowDrop.STUDENT_DOWN,
}


class Student(Protocol):
    """Whom a line asks: the student process, or a remote one."""

    def ask(self, artifact: str, texts: Sequence[str], deadline_seconds: float) -> Awaitable[Response]:
        """One observation per text, or a refusal, within about the deadline; raises nothing."""


class Asked(NamedTuple):
    """One exchange that one artifact has to answer."""

    artifact: str
    classes: int
    sequence: int
    texts: tuple[str, ...]
    share: float  # probability with which it was drawn
    ticket: Ticket


class _Waiting(NamedTuple):
    asked: Asked
    size: int  # bytes
    until: float  # event-loop time


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    """`inputs` and `bytes` of all lines together; each of them may hold its even part."""

    inputs: int
    bytes: int
    deadline_seconds: float


@dataclass(slots=True)
class _Line:
    """What waits for one artifact."""

    student: Student
    entries: deque[_Waiting] = field(default_factory=deque)
    inputs: int = 0
    bytes: int = 0
    outstanding: int = 0


class Shadow:
    """Lives in the event loop."""

    def __init__(
        self,
        student_of: Callable[[str], Student],
        limits: ShadowLimits,
        recorder: Recorder,
        on_drop: Callable[[ShadowDrop, int], None],
    ) -> None:
        self._student_of, self._limits, self._recorder, self._on_drop = (
            student_of,
            limits,
            recorder,
            on_drop,
        )
        self._lines: dict[str, _Line] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def inputs(self) -> int:
        """Waiting, not yet sent."""
        return sum(line.inputs for line in self._lines.values())

    def submit(self, asked: Asked) -> None:
        """Queue one exchange for one artifact, or count why not. `start_asking` follows after a group."""
        size = sum(map(len, asked.texts)) * 4  # no text takes more bytes in UTF-8
        line = self._lines.get(asked.artifact)
        if line is None:
            line = self._lines[asked.artifact] = _Line(self._student_of(asked.artifact))
        reason = self._refusal(line, len(asked.texts), size)
        if reason is not None:
            self.drop(reason, [asked])
            return
        until = asyncio.get_running_loop().time() + self._limits.deadline_seconds
        line.entries.append(_Waiting(asked, size, until))
        line.inputs += len(asked.texts)
        line.bytes += size

    def start_asking(self) -> None:
        """Send as much as may be outstanding."""
        for artifact, line in list(self._lines.items()):
            while line.entries and line.outstanding < MAX_OUTSTANDING:
                line.outstanding += 1
                task = asyncio.create_task(self._ask(line, _take(line)))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            if not line.entries and not line.outstanding:
                del self._lines[artifact]

    def drop(self, reason: ShadowDrop, some: Sequence[Asked]) -> None:
        for asked in some:
            asked.ticket.skipped(reason)
        self._on_drop(reason, len(some))

    async def close(self) -> None:
        """Drop what waits, and let what was asked end within its deadline."""
        self._closed = True
        for line in self._lines.values():
            self.drop(ShadowDrop.SHUTDOWN, [entry.asked for entry in line.entries])
            line.entries.clear()
            line.inputs = line.bytes = 0
        if self._asking:
            await asyncio.wait(self._asking)

    def _refusal(self, line: _Line, inputs: int, size: int) -> ShadowDrop | None:
        if self._closed:
            return ShadowDrop.SHUTDOWN
        limits, lines = self._limits, len(self._lines)
        if line.inputs + inputs > limits.inputs // lines or (
            lines > 1 and self.inputs + inputs > limits.inputs
        ):
            return ShadowDrop.QUEUE_FULL_COUNT
        if line.bytes + size > limits.bytes // lines or (
            lines > 1 and sum(one.bytes for one in self._lines.values()) + size > limits.bytes
        ):
            return ShadowDrop.QUEUE_FULL_BYTES
        return None

    async def _ask(self, line: _Line, group: Sequence[_Waiting]) -> None:
        try:
            await self._ask_alive(line, group)
        except Exception:  # the group is lost, the line goes on
            self.drop(ShadowDrop.FAILED, [entry.asked for entry in group])
            raise
        finally:
            line.outstanding -= 1
            if not self._closed:
                self.start_asking()

    async def _ask_alive(self, line: _Line, group: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        alive = [entry.asked for entry in group if entry.until > started]
        if len(alive) < len(group):
            late = [entry.asked for entry in group if entry.until <= started]
            self.drop(ShadowDrop.DEADLINE, late)
        if not alive:
            return
        texts = [text for asked in alive for text in asked.texts]
        said = await line.student.ask(alive[0].artifact, texts, group[-len(alive)].until - started)
        if isinstance(said, Refusal):
            self.drop(_DROP_OF[said], alive)
        elif len(said) != len(texts):
            self.drop(ShadowDrop.FAILED, alive)
        else:
            self._answer(alive, said, round((loop.time() - started) * 1e6))

    def _answer(self, group: Sequence[Asked], said: Sequence[Observation], latency_us: int) -> None:
        at_us, start = now_us(), 0
        answers: list[Answer] = []
        for asked in group:
            end = start + len(asked.texts)
            observations = checked(said[start:end], asked.classes)
            answers.append(
                Answer(
                    asked.sequence,
                    asked.artifact,
                    Origin.SHADOW,
                    at_us,
                    latency_us,
                    observations,
                    asked.share,
                )
            )
            start = end
        taken = self._recorder.put_answers(answers)
        for asked in group[:taken]:
            asked.ticket.answered()
        if taken < len(group):
            self.drop(ShadowDrop.RECORD_QUEUE_FULL, group[taken:])


def checked(said: Sequence[Observation], classes: int) -> tuple[Observation, ...]:
    """The student's observations, an error in place of each that is not about these classes."""
    return tuple([_checked(observation, classes) for observation in said])


def _checked(observation: Observation, classes: int) -> Observation:
    if observation.probabilities is None or len(observation.probabilities) == classes:
        return observation
    return Observation(None, ObservationError.WRONG_CLASSES)


def _take(line: _Line) -> list[_Waiting]:
    """The next exchanges of a line: at least one, and no more texts than a group holds."""
    group: list[_Waiting] = []
    inputs = size = 0
    while line.entries:
        entry = line.entries[0]
        inputs += len(entry.asked.texts)
        size += entry.size
        if group and (inputs > GROUP_INPUTS or size > GROUP_BYTES):
            break
        group.append(line.entries.popleft())
        line.inputs -= len(entry.asked.texts)
        line.bytes -= entry.size
    return group
