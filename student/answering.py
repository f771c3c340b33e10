"""The queue of the student process and the two threads behind it: one tokenises, one infers.

The event loop owns the queue; the threads get immutable batches and hand back immutable answers, so the
next inputs are tokenised while a batch runs and nothing is locked.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ledger.observation import Observation, ObservationError
from student.batching import Waiting, choose
from student.session import Student
from student.wire import Refusal, Response

MAX_QUEUE_BYTES = 64 * 2**20  # of texts that wait, as characters
MAX_TOKENIZED_TOGETHER = 256  # inputs handed to the tokenising thread at once

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A request whose reply has not left."""

    reply: Callable[[Response], None]
    observations: list[Observation | None]
    missing: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """One input that is not tokenised yet."""

    request: int
    place: int
    artifact: str
    text: str
    deadline: float


@dataclass(slots=True)
class Answering:
    """Answers requests with whatever students `students` holds at that moment.

    `queue_inputs` bounds the inputs of all unanswered requests; above it they are refused as queue_full.
    """

    students: Mapping[str, Student]  # artifact -> student; the loader replaces entries
    queue_inputs: int
    max_batch_tokens: int
    counts: Counter[str] = field(default_factory=Counter)  # inputs answered, and refused by reason
    _open: dict[int, _Open] = field(default_factory=dict)
    _raw: deque[_Raw] = field(default_factory=deque)
    _ready: list[Waiting] = field(default_factory=list)
    _inputs: int = 0
    _characters: int = 0
    _next_request: int = 0
    _raw_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _ready_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False

    def submit(
        self, artifact: str, texts: Sequence[str], deadline: float, reply: Callable[[Response], None]
    ) -> None:
        """Queue a request; `reply` is called once, in the event loop, now or later.

        `deadline` is event-loop time.
        """
        refusal = self._refuse(artifact, texts)
        if refusal is not None or not texts:
            self.counts[refusal or "answered"] += len(texts)
            reply(refusal or ())
            return
        self._next_request += 1
        request = self._next_request
        self._open[request] = _Open(reply, [None] * len(texts), len(texts))
        self._inputs += len(texts)
        for place, text in enumerate(texts):
            self._characters += len(text)
            self._raw.append(_Raw(request, place, artifact, text, deadline))
        self._raw_arrived.set()

    async def run(self) -> None:
        """Answer until cancelled; then every open request is refused as shutting_down."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "tokenize") as tokenizing, ThreadPoolExecutor(1, "infer") as inferring:
            try:
                await asyncio.gather(
                    self._tokenize_forever(loop, tokenizing), self._infer_forever(loop, inferring)
                )
            finally:
                self._stopping = True
                for request in list(self._open):
                    self._refuse_open(request, Refusal.SHUTTING_DOWN)

    def _refuse(self, artifact: str, texts: Sequence[str]) -> Refusal | None:
        if self._stopping:
            return Refusal.SHUTTING_DOWN
        if artifact not in self.students:
            return Refusal.NOT_LOADED
        characters = sum(map(len, texts))
        if len(texts) > self.queue_inputs or characters > MAX_QUEUE_BYTES:
            return Refusal.TOO_LARGE
        if self._inputs + len(texts) > self.queue_inputs or self._characters + characters > MAX_QUEUE_BYTES:
            return Refusal.QUEUE_FULL
        return None

    async def _tokenize_forever(self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor) -> None:
        while True:
            await self._raw_arrived.wait()
            taken = [self._raw.popleft() for _ in range(min(len(self._raw), MAX_TOKENIZED_TOGETHER))]
            if not self._raw:
                self._raw_arrived.clear()
            self._characters -= sum(len(entry.text) for entry in taken)
            for entry, waiting in await loop.run_in_executor(thread, _tokenize, dict(self.students), taken):
                self._admit(entry, waiting)

    def _admit(self, entry: _Raw, waiting: Waiting | Refusal | Observation) -> None:
        """A tokenised input waits for its batch; one that failed has its answer already."""
        if isinstance(waiting, Waiting):
            self._ready.append(waiting)
            self._ready_arrived.set()
        elif isinstance(waiting, Refusal):
            self._refuse_open(entry.request, waiting)
        else:
            self._answer(entry.request, entry.place, waiting)

    async def _infer_forever(self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor) -> None:
        while True:
            await self._ready_arrived.wait()
            choice = choose(self._open_ones(), self.max_batch_tokens, loop.time())
            self._ready = list(choice.left)
            if not self._ready:
                self._ready_arrived.clear()
            for entry in choice.expired:
                self._refuse_open(entry.request, Refusal.DEADLINE)
            if choice.batch:
                await self._infer(loop, thread, choice.batch)

    async def _infer(
        self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, batch: tuple[Waiting, ...]
    ) -> None:
        student = self.students.get(batch[0].artifact)
        if student is None:  # unloaded since it was admitted
            for entry in batch:
                self._refuse_open(entry.request, Refusal.NOT_LOADED)
            return
        self.counts["batches"] += 1
        observations = await loop.run_in_executor(thread, student.infer, [entry.row for entry in batch])
        for entry, observation in zip(batch, observations, strict=True):
            self._answer(entry.request, entry.place, observation)

    def _open_ones(self) -> list[Waiting]:
        """Without the inputs of requests that were refused meanwhile."""
        return [entry for entry in self._ready if entry.request in self._open]

    def _answer(self, request: int, place: int, observation: Observation) -> None:
        waiting = self._open.get(request)
        if waiting is None:  # another input of the request passed its deadline
            return
        waiting.observations[place] = observation
        waiting.missing -= 1
        if not waiting.missing:
            self._close(request, "answered")
            waiting.reply(tuple(o for o in waiting.observations if o is not None))

    def _refuse_open(self, request: int, refusal: Refusal) -> None:
        waiting = self._open.get(request)
        if waiting is not None:
            self._close(request, refusal)
            waiting.reply(refusal)

    def _close(self, request: int, outcome: str) -> None:
        inputs = len(self._open.pop(request).observations)
        self._inputs -= inputs
        self.counts[outcome] += inputs


def _tokenize(
    students: Mapping[str, Student], entries: Sequence[_Raw]
) -> list[tuple[_Raw, Waiting | Refusal | Observation]]:
    """In the tokenising thread: each input with its row, or with why there is none."""
    tokenized: list[tuple[_Raw, Waiting | Refusal | Observation]] = []
    for artifact in dict.fromkeys(entry.artifact for entry in entries):
        same = [entry for entry in entries if entry.artifact == artifact]
        student = students.get(artifact)
        if student is None:
            tokenized += [(entry, Refusal.NOT_LOADED) for entry in same]
        else:
            tokenized += _tokenize_for(student, same)
    return tokenized


def _tokenize_for(student: Student, entries: Sequence[_Raw]) -> list[tuple[_Raw, Waiting | Observation]]:
    try:
        rows = student.tokenize([entry.text for entry in entries])
    except Exception as error:  # the tokenizer raises nothing narrower
        if len(entries) > 1:
            return [pair for entry in entries for pair in _tokenize_for(student, [entry])]
        log.warning("A text of %d characters: %s. action=tokenize_failed", len(entries[0].text), error)
        return [(entries[0], Observation(None, ObservationError.STUDENT_FAILED))]
    return [
        (entry, Waiting(entry.request, entry.place, entry.artifact, row, entry.deadline))
        for entry, row in zip(entries, rows, strict=True)
    ]
