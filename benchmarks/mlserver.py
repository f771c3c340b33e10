"""MLServer as a peer: its process and the load towards it."""

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from benchmarks import processes

BATCH_ROWS = 32  # max_batch_size
BATCH_SECONDS = 0.05  # max_batch_time
CALLERS = 64  # requests in flight, so that full batches can form
START = "from mlserver.cli import main; main()"


class Unavailable(Exception):
    """MLServer could not be started here; the message says why."""


@contextmanager
def running(python: Path, artifact: Path, folder: Path, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Yields port and pid. Raises Unavailable."""
    http, grpc, metrics = processes.free_ports(3)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("mlserver_runtime.py"), folder / "runtime.py")
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "parallel_workers": 0,  # one process, as ours
        "debug": False,
    }
    model = {
        "name": "student",
        "implementation": "runtime.OnnxText",
        "max_batch_size": BATCH_ROWS,
        "max_batch_time": BATCH_SECONDS,
        "parameters": {"uri": str(artifact), "extra": {"max_tokens": max_tokens}},
    }
    (folder / "settings.json").write_bytes(orjson.dumps(settings))
    (folder / "model-settings.json").write_bytes(orjson.dumps(model))
    command = (str(python), "-c", START, "start", str(folder))
    log = folder / "mlserver.log"
    try:
        with processes.running(command, log, http, {**os.environ, "PYTHONPATH": str(folder)}) as pid:
            asyncio.run(_until_ready(http))
            yield http, pid
    except RuntimeError as error:
        raise Unavailable(f"{error}; {log.read_text()[-500:]}") from error


def ask_all(port: int, texts: Sequence[str]) -> None:
    """Every text in a request of its own, CALLERS at a time. Raises RuntimeError on any reply but 200."""
    asyncio.run(_ask_all(port, texts))


async def _ask_all(port: int, texts: Sequence[str]) -> None:
    waiting = iter(texts)
    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=CALLERS)) as client:

        async def caller() -> None:
            for text in waiting:
                tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
                reply = await client.post(
                    f"http://127.0.0.1:{port}/v2/models/student/infer", json={"inputs": [tensor]}
                )
                if reply.status_code != 200:
                    raise RuntimeError(f"MLServer answered {reply.status_code}: {reply.text[:300]}")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _until_ready(port: int) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(300):
            reply = await client.get(f"http://127.0.0.1:{port}/v2/models/student/ready")
            if reply.status_code == 200:
                return
            await asyncio.sleep(0.1)
    raise RuntimeError("MLServer's model is not ready after 30 s")
