"""A student process as the gateway sees it: the far end of the unix socket, told what to say."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.observation import Observation
from student.wire import Frames, Refusal, Response, StudentReply, StudentRequest, read_request, reply_frame
from tests.gateway.teachers import scores_of

Say = Callable[[StudentRequest], Response | None]  # None: it never answers


def agree(request: StudentRequest) -> Response:
    """The teacher's own probabilities."""
    return tuple(Observation(tuple(scores_of(text))) for text in request.texts)


def doubt(request: StudentRequest) -> Response:
    """Hardly more than a guess."""
    return tuple(Observation((0.34, 0.33, 0.33)) for _ in request.texts)


def not_a_number(request: StudentRequest) -> Response:
    return tuple(Observation((float("nan"), 0.5, 0.5)) for _ in request.texts)


def refuse(request: StudentRequest) -> Response:
    return Refusal.NOT_LOADED


def keep_silent(request: StudentRequest) -> None:
    return None


class WireStudent:
    """`say` may be exchanged at any time; `asked` keeps what arrived."""

    def __init__(self) -> None:
        self.say: Say = agree
        self.asked: list[StudentRequest] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        try:
            while chunk := await reader.read(65536):
                for frame in frames.feed(chunk):
                    request = read_request(frame)
                    self.asked.append(request)
                    response = self.say(request)
                    if response is not None:
                        writer.write(reply_frame(StudentReply(request.id, response)))
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@contextmanager
def student_at(path: Path, student: WireStudent) -> Iterator[None]:
    """The student in a thread, listening on the socket."""
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_unix_server(student, str(path))
        ready.set()
        await done.wait()
        server.close()
        others = asyncio.all_tasks(loop) - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
        path.unlink(missing_ok=True)
