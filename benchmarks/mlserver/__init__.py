"""MLServer as a peer: its environment, its process, and the load towards it."""

import asyncio
import shutil
import subprocess
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from benchmarks.ports import free_ports, wait_until_listening

PACKAGES = ("mlserver==1.7.1", "onnxruntime==1.31.1", "tokenizers==0.23.3")
BATCH_ROWS = 32  # max_batch_size
BATCH_SECONDS = 0.05  # max_batch_time
CALLERS = 64  # requests in flight, so that full batches can form
INSTALL_SECONDS = 900


class Unavailable(Exception):
    """MLServer could not be installed or started here; the message says why."""


def environment(cache: Path) -> Path:
    """Its Python, in an environment of its own: its pins and ours exclude one another. Raises Unavailable."""
    folder = cache / "mlserver"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if finished.returncode != 0:
        raise Unavailable(f"{' '.join(PACKAGES)} cannot be installed: {finished.stderr.strip()[-500:]}")
    (folder / "complete").touch()
    return python


@contextmanager
def running(python: Path, artifact: Path, folder: Path, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Yields port and pid. Raises Unavailable."""
    http, grpc, metrics = free_ports(3)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("runtime.py"), folder / "runtime.py")
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
    with (folder / "mlserver.log").open("wb") as log:
        command = [str(python.parent / "mlserver"), "start", "."]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            wait_until_listening(process, http)
            asyncio.run(_until_ready(http))
            yield http, process.pid
        except RuntimeError as error:
            raise Unavailable(f"{error}; {(folder / 'mlserver.log').read_text()[-500:]}") from error
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


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
