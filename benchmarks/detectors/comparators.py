"""Other people's detectors, each in a process of the installation that has it."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detectors.changes import Drawn, Sizes
from benchmarks.detectors.kernel import CORES

RUNTIME = Path(__file__).with_name("comparator_runtime.py")
SECONDS = 7200  # of one of them, tuning included

Said = dict[str, Any]  # what comparator_runtime prints


def written(drawn: Drawn, folder: Path) -> Path:
    """The streams, in the one file that all of them read."""
    path = folder / "streams.npz"
    moments = {f"moments of {name}": found for name, found in drawn.moments.items()}
    arrays: dict[str, Any] = {**drawn.changes, **moments}
    np.savez(path, tuning=drawn.tuning, null=drawn.null, **arrays)
    return path


def said_by(python: Path, name: str, path: Path, sizes: Sizes) -> Said:
    """Raises CalledProcessError where the detector failed, TimeoutExpired where it took too long."""
    asked = {
        "name": name,
        "path": str(path),
        "rate": sizes.rate,
        "streams": sizes.streams,
        "runs": sizes.runs,
        "runs_of_defaults": sizes.runs_of_defaults,
        "processes": max(1, CORES // 4),
    }
    command = [str(python), str(RUNTIME), json.dumps(asked)]
    started = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    said: Said = json.loads(ended.stdout)
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return said
