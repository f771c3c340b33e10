"""What lies in deploy/, read: rules, panels, and every metric that a text names."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
_METRIC = re.compile(r"(?<![\w:])stillgate_[a-z0-9_]+(?![\w:.])")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel."""

    dashboard: str
    panel: str
    expression: str


def run(program: str, *arguments: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """One of Prometheus's or Alertmanager's programs. One that is not installed is a failure, not a skip."""
    found = shutil.which(program)
    package = "prometheus-alertmanager" if program == "amtool" else "prometheus"
    assert found, f"{program} is not installed; `apt-get install {package}` brings it (.ci/run does)"
    return subprocess.run(
        [found, *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False
    )


def rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> Iterator[Query]:
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield Query(path.stem, panel["title"], target["expr"])


def metrics_in(text: str) -> set[str]:
    """Names of metrics; a recorded name holds colons, and stillgate_*.py are files."""
    return set(_METRIC.findall(text))


def recorded_in(text: str) -> set[str]:
    """Names of recording rules."""
    return set(re.findall(r"\b[a-z]+:[a-z_]+:[a-z0-9_]+\b|\bstillgate:[a-z_]+:[a-z0-9_]+\b", text))
