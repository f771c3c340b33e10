"""Starts what the demo runs: a teacher of its own process, and `stillgate up` in front of it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

import httpx

TEMPLATE = Path(__file__).with_name("stillgate.toml")
PORTS = {"teacher": 8090, "gateway": 8080, "operations": 9464, "control": 8081, "monitor": 9465}
START_SECONDS = 90.0
STOP_SECONDS = 40.0
_KEY = re.compile(r"stg_admin_[0-9A-Za-z]+")


class DidNotStart(RuntimeError):
    """A process ended or stayed silent; the message carries the end of its log."""


@dataclass
class Deployment:
    """The running processes and where they listen."""

    folder: Path
    config: Path
    teacher: "subprocess.Popen[bytes]"
    up: "subprocess.Popen[bytes]"
    ports: dict[str, int]
    admin_key: str = ""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def stop(self) -> None:
        """Stop Stillgate, which drains, then the teacher."""
        for process in (self.up, self.teacher):
            if process.poll() is None:
                process.terminate()
        for process in (self.up, self.teacher):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write_config(folder: Path, encoder: Path, teacher_version: str) -> tuple[Path, dict[str, int]]:
    """Fill the demo's stillgate.toml in, on free ports."""
    ports = _free_ports()
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: str(port) for name, port in ports.items()},
        encoder=str(encoder.resolve()),
        teacher_version=teacher_version,
    )
    path = folder / "stillgate.toml"
    path.write_text(text, encoding="utf-8")
    return path, ports


def start(folder: Path, teacher_folder: Path, encoder: Path, teacher_version: str) -> Deployment:
    """Start from nothing: the folder is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config, ports = write_config(folder, encoder, teacher_version)
    teacher = _spawn(
        folder / "teacher.log",
        "-m",
        "examples.helpdesk.serve_teacher",
        "--folder",
        str(teacher_folder),
        "--port",
        str(ports["teacher"]),
    )
    up = _spawn(folder / "stillgate.log", "-m", "stillgate", "up", "--config", str(config))
    deployment = Deployment(folder, config, teacher, up, ports)
    try:
        _wait(deployment)
    except BaseException:
        deployment.stop()
        raise
    return deployment


def stillgate(deployment: Deployment, key: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the operator's command as an operator would, with a key of one's own."""
    return subprocess.run(
        [sys.executable, "-m", "stillgate", *arguments, "--config", str(deployment.config)],
        env={**os.environ, "STILLGATE_KEY": key, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def processor_seconds(pid: int) -> float:
    """User and system time of one process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spawn(log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt of the demo is passed on in order, not to all at once
        )


def _wait(deployment: Deployment) -> None:
    teacher_log, up_log = deployment.folder / "teacher.log", deployment.folder / "stillgate.log"
    _until(deployment.teacher, teacher_log, lambda: _answers(deployment.url("teacher") + "/v2/health/ready"))
    _until(deployment.up, up_log, lambda: _answers(deployment.url("operations") + "/readyz"))
    _until(deployment.up, up_log, lambda: _answers(deployment.url("control") + "/livez"))
    _until(deployment.up, up_log, lambda: _KEY.search(up_log.read_text()) is not None)
    found = _KEY.search(up_log.read_text())
    deployment.admin_key = found.group() if found else ""


def _until(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise DidNotStart(f"a process ended with code {process.returncode}; {log} ends:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"not ready after {START_SECONDS:.0f} s; {log} ends:\n{_tail(log)}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _free_ports() -> dict[str, int]:
    """The usual ports where they are free, others where not."""
    ports: dict[str, int] = {}
    held = []
    for name, usual in PORTS.items():
        listener = _bind(usual) or _bind(0)
        if listener is None:
            raise DidNotStart("no free port on 127.0.0.1")
        held.append(listener)
        ports[name] = listener.getsockname()[1]
    for listener in held:
        listener.close()
    return ports


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        return None
    return listener
