"""The queue of the student process and the two threads behind it.

The event loop owns the queue; the threads get immutable inputs and hand back immutable answers. While a batch
runs, the next inputs are tokenised by the other thread; while none runs, one thread does both in one go.
"""

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import onnxruntime

from ledger.observation import Observation
from student.batching import Buckets
from student.session import Student, quiet_run
from student.turns import Prepared, Raw, infer_batch, prepare, prepare_and_infer
from student.wire import Refusal, Response, StudentRequest
from student.worker import Worker

MAX_QUEUE_BYTES = 64 * 2**20  # of texts that wait, as characters
MAX_TOKENIZED_TOGETHER = 64  # inputs; an urgent one that comes meanwhile waits for them
LAST_SECONDS = 5.0  # for a run that was told to end; after them the process ends itself
STUCK_STATUS = 70  # EX_SOFTWARE

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A request whose reply has not left."""

    reply: Callable[[Response], None]
    observations: list[Observation | None]
    missing: int


@dataclass(slots=True)
class Answering:
    """Answers requests with whatever students `students` holds at that moment.

    `queue_inputs` bounds the inputs of all unanswered requests; above it they are refused as queue_full.
    """

    students: Mapping[str, Student]  # artifact -> student; the loader replaces entries
    queue_inputs: int
    max_batch_tokens: int
    run_seconds: float
    counts: Counter[str] = field(default_factory=Counter)  # inputs answered, and refused by reason
    _open: dict[int, _Open] = field(default_factory=dict)
    _urgent: deque[Raw] = field(default_factory=deque)
    _shadow: deque[Raw] = field(default_factory=deque)
    _waiting: Buckets = field(default_factory=Buckets)
    _inputs: int = 0
    _characters: int = 0
    _last_number: int = 0
    _threads: tuple[Worker, Worker] | None = None  # one tokenises, one infers
    _tokenizing: bool = False
    _inferring: bool = False
    _options: onnxruntime.RunOptions | None = None  # of the run
    _watch: asyncio.TimerHandle | None = None  # over it

    def submit(self, request: StudentRequest, reply: Callable[[Response], None]) -> None:
        """Queue a request; `reply` is called once, in the event loop, now or later."""
        count, characters = len(request.texts), sum(map(len, request.texts))
        refusal = self._refusal(request, characters)
        if refusal is not None or not count:
            self.counts[refusal or "answered"] += count
            reply(refusal or ())
            return
        self._last_number += 1
        self._open[self._last_number] = _Open(reply, [None] * count, count)
        self._inputs += count
        self._characters += characters
        deadline = asyncio.get_running_loop().time() + request.deadline_ms / 1000
        queue = self._urgent if request.urgent else self._shadow
        queue.append(Raw(self._last_number, request.artifact, not request.urgent, request.texts, deadline))
        self._go_on()

    async def run(self) -> None:
        """Answer until cancelled; then every open request is refused as shutting_down."""
        self._threads = Worker("tokenize"), Worker("infer")
        try:
            self._go_on()
            await asyncio.Event().wait()
        finally:
            threads, self._threads = self._threads, None
            for number in list(self._open):
                self._refuse(number, Refusal.SHUTTING_DOWN)
            if self._options is not None:
                self._options.terminate = True
            if not all([await thread.stop(LAST_SECONDS) for thread in threads]):
                _give_up()

    def _refusal(self, request: StudentRequest, characters: int) -> Refusal | None:
        count = len(request.texts)
        if self._threads is None:
            return Refusal.SHUTTING_DOWN
        if request.artifact not in self.students:
            return Refusal.NOT_LOADED
        if count > self.queue_inputs or characters > MAX_QUEUE_BYTES:
            return Refusal.TOO_LARGE
        if self._inputs + count > self.queue_inputs or self._characters + characters > MAX_QUEUE_BYTES:
            return Refusal.QUEUE_FULL
        return None

    # --- what each idle thread does next ---------------------------------------------------------------

    def _go_on(self) -> None:
        if self._threads is None:
            return
        tokenize, model = self._threads
        if not self._inferring:
            self._infer_next(model)
        if not self._tokenizing and (raw := self._take_raw()):
            self._tokenizing = True
            call = partial(prepare, dict(self.students), raw)
            tokenize.do(call, self._prepared, partial(self._failed, [one.number for one in raw]))

    def _infer_next(self, model: Worker) -> None:
        now = asyncio.get_running_loop().time()
        for entry in self._waiting.expired(now):
            self._refuse(entry.request, Refusal.DEADLINE)
        students, options = dict(self.students), quiet_run()
        if chosen := self._waiting.next_batch(self.max_batch_tokens):
            call = partial(infer_batch, students, *chosen, options)
            self._start_run(model, call, options, [entry.request for entry in chosen[1]])
        elif not self._tokenizing and (raw := self._take_raw()):
            call = partial(prepare_and_infer, students, raw, self.max_batch_tokens, options)
            self._start_run(model, call, options, [one.number for one in raw])

    def _start_run(
        self,
        model: Worker,
        call: Callable[[], Prepared],
        options: onnxruntime.RunOptions,
        requests: Sequence[int],
    ) -> None:
        self._inferring, self._options = True, options
        self.counts["runs"] += 1
        self._watch = asyncio.get_running_loop().call_later(self.run_seconds, self._end_run, options)
        model.do(call, self._inferred, partial(self._model_failed, requests))

    def _take_raw(self) -> list[Raw]:
        """Requests to tokenise together: those that callers wait for alone, where there are any."""
        now = asyncio.get_running_loop().time()
        queue = self._urgent or self._shadow
        taken: list[Raw] = []
        inputs = 0
        while queue and (not taken or inputs + len(queue[0].texts) <= MAX_TOKENIZED_TOGETHER):
            raw = queue.popleft()
            self._characters -= sum(map(len, raw.texts))
            if raw.deadline <= now:
                self._refuse(raw.number, Refusal.DEADLINE)
            else:
                taken.append(raw)
                inputs += len(raw.texts)
        return taken

    # --- what the threads report -----------------------------------------------------------------------

    def _prepared(self, prepared: Prepared) -> None:
        self._tokenizing = False
        self._note(prepared)

    def _inferred(self, prepared: Prepared) -> None:
        self._run_ended()
        self._note(prepared)

    def _failed(self, requests: Sequence[int]) -> None:
        self._tokenizing = False
        self._refuse_all(requests)

    def _model_failed(self, requests: Sequence[int]) -> None:
        self._run_ended()
        self._refuse_all(requests)

    def _run_ended(self) -> None:
        self._inferring = False
        if self._watch is not None:
            self._watch.cancel()

    def _end_run(self, options: onnxruntime.RunOptions) -> None:
        """Within one operator the run is over; a process whose operator never ends has to be replaced."""
        options.terminate = True
        log.error("A batch is ended after student.run_seconds = %g. action=run_ended", self.run_seconds)
        self._watch = asyncio.get_running_loop().call_later(LAST_SECONDS, _give_up)

    def _refuse_all(self, requests: Sequence[int]) -> None:
        for number in requests:
            self._refuse(number, Refusal.FAILED)
        self._go_on()

    def _note(self, prepared: Prepared) -> None:
        self._waiting.take_over(prepared.waiting)
        for number, place, what in prepared.said:
            if isinstance(what, Refusal):
                self._refuse(number, what)
            else:
                self._answer(number, place, what)
        self._go_on()

    def _answer(self, number: int, place: int, observation: Observation) -> None:
        opened = self._open.get(number)
        if opened is None:  # another input of the request passed its deadline
            return
        opened.observations[place] = observation
        opened.missing -= 1
        if not opened.missing:
            self._close(number, "answered")
            opened.reply(tuple([one for one in opened.observations if one is not None]))

    def _refuse(self, number: int, refusal: Refusal) -> None:
        opened = self._open.get(number)
        if opened is not None:
            self._close(number, refusal)
            opened.reply(refusal)

    def _close(self, number: int, outcome: str) -> None:
        inputs = len(self._open.pop(number).observations)
        self._inputs -= inputs
        self.counts[outcome] += inputs


def _give_up() -> None:
    log.critical("A batch that was ended still runs: the process gives up. action=stuck")
    os._exit(STUCK_STATUS)  # the thread in it cannot be ended otherwise
