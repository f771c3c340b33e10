"""What else made a student: the code, the packages, the machine."""

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import distill
import ledger
import monitor
import student

CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")  # that decide how INT8 is computed
_CPU_FILE, _MEMORY_FILE = Path("/proc/cpuinfo"), Path("/proc/meminfo")


@cache
def packages() -> dict[str, str]:
    """Every installed package with its version, as pip freeze has them."""
    found = {one.metadata["Name"]: one.version for one in distributions()}
    return dict(sorted((name, release) for name, release in found.items() if name))


def release() -> str:
    """Of Stillgate itself; a checkout that was never installed has none."""
    try:
        return version("stillgate")
    except PackageNotFoundError:
        return "uninstalled"


@cache
def code() -> dict[str, str]:
    """The release, and a digest of the sources that train and judge: an edited checkout differs."""
    digest = hashlib.sha256()
    for package in (distill, student, monitor, ledger):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(folder)}\n".encode())
            digest.update(path.read_bytes())
    return {"stillgate": release(), "sources": digest.hexdigest()}


def machine() -> dict[str, Any]:
    """What a repeated run has to share to give the same bits."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processor": _line_of(_CPU_FILE, "model name") or platform.machine(),
        "processors": os.cpu_count(),
        "flags": [flag for flag in CPU_FLAGS if flag in _line_of(_CPU_FILE, "flags").split()],
        "memory": _line_of(_MEMORY_FILE, "MemTotal"),
    }


def _line_of(path: Path, name: str) -> str:
    """What a file of /proc says under a name; nothing where there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
