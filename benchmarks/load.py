"""A load generator: connections that each send the same request again as soon as it was answered.

`python -m benchmarks.load PORT PATH CONNECTIONS SECONDS` prints one line of JSON.
"""

import asyncio
import sys
import time

import orjson
import uvloop

BODY = orjson.dumps({"inputs": "the dogs in the park were louder than all the birds together"})
EXPECTED_BODY = (
    b'[[{"label":"cats","score":0.04},{"label":"dogs","score":0.95},{"label":"birds","score":0.01}]]'
)


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, request: bytes, stop_at: float) -> None:
        self.request, self.stop_at = request, stop_at
        self.latencies_us: list[float] = []
        self.errors = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport can write
        self._send()

    def data_received(self, chunk: bytes) -> None:
        self._received += chunk
        complete = _complete(self._received)
        if complete is None:
            return
        self.latencies_us.append((time.perf_counter() - self._sent_at) * 1e6)
        self.errors += not complete
        self._received = b""
        if time.perf_counter() < self.stop_at:
            self._send()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Before its time is over, that is an error, too."""
        self.errors += time.perf_counter() < self.stop_at
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(self.request)


def _complete(received: bytes) -> bool | None:
    """None while the response is not whole; then whether it is the teacher's."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    chunked = b"transfer-encoding: chunked" in head.lower()
    if len(body) < len(EXPECTED_BODY) or (chunked and not body.endswith(b"0\r\n\r\n")):
        return None if b" 200 " in head[:13] else False
    return head.startswith(b"HTTP/1.1 200 ") and EXPECTED_BODY in body


async def load(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Requests, errors, and the latency in microseconds as the callers saw it."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(request, started + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait_for(asyncio.gather(*(caller.ended for caller in callers)), seconds + 60)
    took = time.perf_counter() - started
    latencies = sorted(latency for caller in callers for latency in caller.latencies_us)
    return {
        "requests": len(latencies),
        "errors": sum(caller.errors for caller in callers),
        "seconds": took,
        "p50_us": latencies[len(latencies) // 2],
        "p99_us": latencies[len(latencies) * 99 // 100],
    }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(load(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    print(orjson.dumps(figures).decode())
