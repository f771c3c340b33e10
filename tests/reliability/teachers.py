"""Teachers under load: nginx, which is never the slow part, and one that streams events.

Both put the caller's id into what they answer and keep a list of the ids that reached them.
"""

import asyncio
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import wait_until_listening
from tests.ports import free_port

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  log_format ids '$http_x_request $status';
  access_log off;
  keepalive_requests 100000000;
  client_max_body_size 64m;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  limit_req_zone $server_port zone=capacity:1m rate={rate}r/s;
  server {{
    listen 127.0.0.1:{port} reuseport;
    default_type application/json;
    location / {{ access_log {folder}/asked.log ids; return 200 '{answer}'; }}
    location /big {{ access_log {folder}/asked.log ids; root {folder}; }}
  }}
  server {{
    listen 127.0.0.1:{limited};
    location / {{ limit_req zone=capacity burst=100000; proxy_pass http://127.0.0.1:{port}; }}
  }}
}}
"""
_ANSWER = (
    '[{"label":"billing","score":0.9,"id":"REQUEST"},{"label":"shipping","score":0.05},'
    '{"label":"other","score":0.05}]'
)


def answer_to(request: str) -> bytes:
    """The body that every teacher here gives to a request with this id."""
    return _ANSWER.replace("REQUEST", request).encode()


@dataclass(frozen=True, slots=True)
class Nginx:
    """`limited_url` answers at most so many requests a second and lets the others wait."""

    url: str
    limited_url: str
    folder: Path

    def asked(self) -> Counter[str]:
        """How often each id has reached the teacher; nginx writes when a response has ended."""
        log = self.folder / "asked.log"
        return (
            Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()
        )


@contextmanager
def nginx_teacher(folder: Path, rate: int = 200, big_bytes: int = 0) -> Iterator[Nginx]:
    """The teacher, with `/big` of so many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    port, limited = free_port(), free_port()
    if big_bytes:
        (folder / "big").write_bytes(bytes(range(256)) * (big_bytes // 256))
    path = folder / "nginx.conf"
    answer = _ANSWER.replace("REQUEST", "$http_x_request")
    path.write_text(_NGINX.format(folder=folder, port=port, limited=limited, answer=answer, rate=rate))
    process = subprocess.Popen(["nginx", "-c", str(path), "-e", str(folder / "nginx.log")])
    try:
        wait_until_listening(process, port)
        yield Nginx(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{limited}", folder)
    finally:
        process.terminate()
        process.wait(20)


class EventTeacher:
    """Server-sent events at a steady pace, as many as the path says: GET /events/<count>."""

    def __init__(self, events_a_second: float) -> None:
        self._pause = 1 / events_a_second
        self.ids: Counter[str] = Counter()

    def asked(self) -> Counter[str]:
        return self.ids

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lower = head.lower()
                request = lower.partition("x-request: ")[2].partition("\r\n")[0]
                length = int(lower.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                await reader.readexactly(length)
                self.ids[request] += 1
                await self._stream(writer, request, int(head.split(" ")[1].rpartition("/")[2]))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter, request: str, events: int) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        started = time.monotonic()
        for number in range(events):
            piece = event_of(request, number)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(max(0.0, started + (number + 1) * self._pause - time.monotonic()))
        writer.write(b"0\r\n\r\n")


def event_of(request: str, number: int) -> bytes:
    return b'data: {"id":"%s","number":%d,"text":"\xc3\xa4\xe2\x82\xac"}\n\n' % (request.encode(), number)


@contextmanager
def serving_events(teacher: EventTeacher) -> Iterator[str]:
    """The teacher in a thread; yields its URL."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    ready, done = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(teacher, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
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
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
