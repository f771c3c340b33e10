"""Where the gateway's microseconds go: py-spy under load, its samples folded by component.

A stack counts for the component of its innermost frame that belongs to one; waiting threads are not counted.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import packages, wrk
from benchmarks.deployment import running_deployment
from benchmarks.nginx import answering_nginx
from benchmarks.processes import free_ports
from benchmarks.report import Report, Table
from benchmarks.traffic import CLASSIFICATION

RATE = 250  # looks a second
OTHER = "event loop (uvloop) and everything else"

# The first place that a frame's file begins with names its component; frames are looked at from the innermost
# outwards. Libraries that several components use (sqlalchemy, asyncio) have no place: their caller has.
PLACES: tuple[tuple[str, str], ...] = (
    ("gateway/upstream", "upstream client"),
    ("prometheus_client/", "metrics"),
    ("gateway/metrics", "metrics"),
    ("gateway/guard", "guard and headers"),
    ("gateway/headers", "guard and headers"),
    ("gateway/server", "server"),
    ("gateway/connection", "server"),
    ("gateway/http_head", "server"),
    ("gateway/request_body", "server"),
    ("gateway/response", "server"),
    ("gateway/shadow", "shadow"),
    ("gateway/coverage", "shadow"),
    ("gateway/sampling", "shadow"),
    ("student/", "shadow"),
    ("gateway/dialects", "record: build"),
    ("gateway/encoding", "record: build"),
    ("gateway/captured", "record: build"),
    ("gateway/routes", "record: build"),
    ("ledger/redaction", "record: build"),
    ("ledger/observation", "record: build"),
    ("ledger/slices", "record: build"),
    ("ledger/exchange_file", "record: write"),
    ("gateway/store", "record: write"),
    ("gateway/writer", "record: write"),
    ("ledger/tally", "record: put"),
    ("gateway/record", "record: put"),
    ("gateway/arm", "who serves"),
    ("gateway/serving", "who serves"),
    ("gateway/stages", "who serves"),
    ("ledger/stages", "who serves"),
    ("gateway/app", "application"),
    ("gateway/passage", "application"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float = 30.0


SHORT = Plan(seconds=5.0)


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx", "wrk")
    (teacher,) = free_ports(1)
    with (
        answering_nginx(folder, "teacher", teacher),
        running_deployment(folder, teacher, {"no-op": 0}) as deployment,
    ):
        deployment.shadow("no-op")
        wrk.load(folder, deployment.port, CLASSIFICATION, {}, 3.0)
        before = deployment.processor_seconds()
        stacks = folder / "gateway.folded"
        spy = threading.Thread(target=_spy, args=(deployment.pid_of("gateway"), stacks, plan.seconds))
        spy.start()
        loaded = wrk.load(folder, deployment.port, CLASSIFICATION, {}, plan.seconds)
        used = {name: now - before.get(name, now) for name, now in deployment.processor_seconds().items()}
        spy.join()
    counts = folded(stacks.read_text().splitlines())
    return Report("profile", (_components(counts, used["gateway"], loaded),), ())


def _spy(pid: int, path: Path, seconds: float) -> None:
    """Raises NotInstalled without py-spy."""
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")
    if program is None:
        raise packages.NotInstalled("not installed: pip install py-spy")
    options = ["--format", "raw", "--threads", "--nonblocking", "-r", str(RATE), "-d", str(round(seconds))]
    subprocess.run(
        [program, "record", "-p", str(pid), "-o", str(path), *options], check=True, capture_output=True
    )


def folded(lines: Iterable[str]) -> Counter[str]:
    """Samples by component, from py-spy's raw format: `outermost;...;innermost count`."""
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        counts[component_of(stack.split(";"))] += int(count)
    return counts


def component_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for place, component in PLACES:
            if f"({place}" in frame:
                return component
    return OTHER


def _components(counts: Mapping[str, int], seconds_used: float, loaded: wrk.Loaded) -> Table:
    cost_us = seconds_used / loaded.requests * 1e6
    total = sum(counts.values())
    rows = [
        (name, f"{count / total:.1%}", f"{count / total * cost_us:.1f}")
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1])
    ]
    rows.append(("the gateway in all", "100.0%", f"{cost_us:.1f}"))
    rate, busy = loaded.requests / loaded.seconds, seconds_used / loaded.seconds
    note = (
        f"{total} samples of running threads at {RATE} a second while wrk got {rate:.0f} answers a second and the"
        f" gateway used {busy:.0%} of a processor; its processor time is shared out by samples."
    )
    return Table(
        "Where the gateway's microseconds go", ("component", "share", "us a request"), tuple(rows), note
    )
