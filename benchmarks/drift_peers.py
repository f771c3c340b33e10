"""The same exchanges through drift libraries, each in a process and an installation of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson

from benchmarks import packages
from benchmarks.report import Table

PROGRAM = Path(__file__).with_name("drift_libraries.py")
FILE = "exchanges.npz"
CLASSES, RULES, VALUES = 10, 8, 12
SECONDS = 900
WHAT = {
    "stillgate": "S1 to S6, S8 to S12, S14, S15 of 8 slices an exchange",
    "evidently": "DataDriftPreset of five columns, one slice, half against half",
    "nannyml": "UnivariateDriftCalculator of five columns, one slice, half against half",
    "river": "ADWIN on disagreements, 8 slices an exchange",
}

Row = tuple[str, ...]


def peers(folder: Path, exchanges: int) -> Table:
    """Writes the exchanges into the folder, and has each library work on them."""
    written(folder / FILE, exchanges)
    rows = [_measured("stillgate", Path(sys.executable), folder / FILE)]
    installed = {"evidently": packages.evidently, "nannyml": packages.nannyml, "river": packages.river}
    for library, python in installed.items():
        try:
            rows.append(_measured(library, python(), folder / FILE))
        except packages.NotInstalled as error:
            rows.append((library, "not installed", "", "", str(error)[-80:].replace("\n", " ")))
    return Table(
        f"Beside drift libraries: {exchanges} exchanges from memory, once",
        ("", "processor seconds", "exchanges a second", "MiB above its imports", "what it computes"),
        tuple(rows),
    )


def written(path: Path, exchanges: int) -> None:
    """Both distributions, the slice of every rule, and how many words."""
    chance = np.random.default_rng(1)
    teacher = chance.dirichlet(np.full(CLASSES, 0.3), exchanges)
    student = 0.9 * teacher + 0.1 * chance.dirichlet(np.full(CLASSES, 0.3), exchanges)
    slices = chance.integers(0, VALUES, (exchanges, RULES))
    np.savez(path, teacher=teacher, student=student, slices=slices, words=chance.integers(0, 160, exchanges))


def _measured(library: str, python: Path, file: Path) -> Row:
    quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    quiet["PYTHONPATH"] = str(PROGRAM.parents[1]) if library == "stillgate" else ""
    command = [str(python), str(PROGRAM), library, str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet, timeout=SECONDS)
    if ended.returncode:
        return library, "failed", "", "", ended.stderr.strip()[-80:].replace("\n", " ")
    found = orjson.loads(ended.stdout.splitlines()[-1])
    rate = found["exchanges"] / found["seconds"]
    return library, f"{found['seconds']:.2f}", f"{rate:,.0f}", f"{found['mebibytes']:.0f}", WHAT[library]
