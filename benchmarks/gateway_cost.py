"""Processor microseconds a request: all our processes with a student in shadow, beside nginx with mirror.

Same teacher, same load, one run, the two sides in turns (ABBA). What our side still has to write, infer and fold
when the load ends is waited for and counted, less what the same processes use in so much time without any load.
nginx's mirror throws its copies away: it records nothing.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.deployment import PATH, Deployment, closing_accounts, running_deployment, wait_for
from benchmarks.nginx import answering_nginx, mirroring_nginx
from benchmarks.ports import free_ports
from benchmarks.processor import machine_line, processor_seconds

CONNECTIONS = 32
WARM_UP_SECONDS = 2.0
IDLE_SECONDS = 12.0  # longer than the monitor's tick


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of load on one side."""

    requests: int
    errors: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    costs_us: Mapping[str, float]  # process -> processor time a request
    shadowed: float | None  # share of its requests that the student answered

    @property
    def cost_us(self) -> float:
        return sum(self.costs_us.values())


@dataclass(frozen=True, slots=True)
class Side:
    """What is loaded, whose time is counted, and when its work is done."""

    port: int
    pids: Mapping[str, int]
    settle: Callable[[int], float | None]  # requests of the leg -> shadowed share

    def idle(self, seconds: float) -> dict[str, float]:
        """Processor seconds a second of each process while nobody asks for anything."""
        before = self._seconds()
        time.sleep(seconds)
        return {name: (after - before[name]) / seconds for name, after in self._seconds().items()}

    def run(self, seconds: float, idle: Mapping[str, float]) -> Leg:
        before = self._seconds()
        figures = _load(self.port, seconds)
        load_ended_at = time.monotonic()
        requests = int(figures["requests"])
        shadowed = self.settle(requests)
        settling = time.monotonic() - load_ended_at
        used = {name: after - before[name] for name, after in self._seconds().items()}
        return Leg(
            requests,
            int(figures["errors"]),
            requests / figures["seconds"],
            figures["p50_us"],
            figures["p99_us"],
            {name: (used[name] - idle[name] * settling) / requests * 1e6 for name in used},
            shadowed,
        )

    def _seconds(self) -> dict[str, float]:
        return {name: processor_seconds(pid) for name, pid in self.pids.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="each is ours, nginx, nginx, ours")
    parser.add_argument("--seconds", type=float, default=5, help="of load in each of the four legs")
    parser.add_argument("--keep", type=Path, help="leave logs, configuration and files in this folder")
    arguments = parser.parse_args()
    if shutil.which("nginx") is None:
        print("nginx is not installed, and it is what we compare with: apt-get install nginx-light")
        return 1
    print(f"{machine_line()}; {CONNECTIONS} connections, small JSON POST")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = _measure(folder, arguments.rounds, arguments.seconds)
        _print_table(ours, theirs)
        return 0 if _is_sound(folder, [*ours, *theirs]) else 1


def _measure(folder: Path, rounds: int, seconds: float) -> tuple[list[Leg], list[Leg]]:
    teacher, target, mirror = free_ports(3)
    with (
        answering_nginx(folder, "teacher", teacher),
        answering_nginx(folder, "target", target),
        mirroring_nginx(folder, mirror, teacher, target) as nginx,
        running_deployment(folder, teacher) as deployment,
    ):
        sides = {
            "ours": Side(deployment.port, deployment.pids, _settling(deployment)),
            "nginx": Side(mirror, {"nginx": nginx}, lambda requests: None),
        }
        idle = {name: _idle_of(side) for name, side in sides.items()}
        legs: dict[str, list[Leg]] = {"ours": [], "nginx": []}
        for number in range(rounds):
            for name in ("ours", "nginx", "nginx", "ours"):
                leg = sides[name].run(seconds, idle[name])
                legs[name].append(leg)
                print(
                    f"round {number + 1}: {name:5} {leg.cost_us:6.1f} us, {leg.requests} requests", flush=True
                )
    return legs["ours"], legs["nginx"]


def _idle_of(side: Side) -> dict[str, float]:
    """After a first load, so that everything is compiled, connected and settled."""
    side.run(WARM_UP_SECONDS, dict.fromkeys(side.pids, 0.0))
    idle = side.idle(IDLE_SECONDS)
    shares = ", ".join(f"{name} {share * 1e3:.1f}" for name, share in idle.items())
    print(f"without load, processor ms a second: {shares}", flush=True)
    return idle


def _settling(deployment: Deployment) -> Callable[[int], float]:
    """Wait until a leg's exchanges are written, its answers in, and all of them folded by the monitor."""
    seen = [0, 0]

    def settle(requests: int) -> float:
        exchanges_before, answers_before = seen
        wait_for(
            lambda: deployment.counts()[0] >= exchanges_before + requests, "exchanges are still not recorded"
        )
        previous = -1
        while (answers := deployment.counts()[1]) != previous:
            previous = answers
            time.sleep(0.5)
        wait_for(lambda: not deployment.monitor_is_behind(), "the monitor has not caught up")
        seen[:] = deployment.counts()
        return (seen[1] - answers_before) / (seen[0] - exchanges_before)

    return settle


def _load(port: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", str(port), PATH, str(CONNECTIONS), str(seconds)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = orjson.loads(printed)
    return figures


def _print_table(ours: Sequence[Leg], theirs: Sequence[Leg]) -> None:
    nginx = statistics.median(leg.cost_us for leg in theirs)
    rows = [
        *((f"  {name}", [leg.costs_us[name] for leg in ours], list[Leg]()) for name in ours[0].costs_us),
        ("stillgate, all processes", [leg.cost_us for leg in ours], list(ours)),
        ("nginx with mirror", [leg.cost_us for leg in theirs], list(theirs)),
    ]
    print(f"\n{'processor us a request':28}{'median':>8}{'least':>8}{'most':>8}{'ratio':>7}{'req/s':>8}"
          f"{'p50 ms':>8}{'p99 ms':>8}{'errors':>8}{'shadowed':>10}")  # fmt: skip
    for name, costs, legs in rows:
        median = statistics.median(costs)
        line = f"{name:28}{median:8.1f}{min(costs):8.1f}{max(costs):8.1f}{median / nginx:7.2f}"
        print(line + (_load_columns(legs) if legs else ""))


def _load_columns(legs: Sequence[Leg]) -> str:
    rate = statistics.median(leg.requests_per_second for leg in legs)
    p50, p99 = (statistics.median(getattr(leg, name) for leg in legs) for name in ("p50_us", "p99_us"))
    shares = [leg.shadowed for leg in legs if leg.shadowed is not None]
    shadowed = f"{min(shares):10.1%}" if shares else f"{'-':>10}"
    return f"{rate:8.0f}{p50 / 1e3:8.2f}{p99 / 1e3:8.2f}{sum(leg.errors for leg in legs):8}{shadowed}"


def _is_sound(folder: Path, legs: Sequence[Leg]) -> bool:
    """No error, and every request recorded or counted as lost."""
    errors = sum(leg.errors for leg in legs)
    accounts = closing_accounts(folder / "state")
    dropped = sum(accounts.dropped.values())
    holds = accounts.requests == accounts.recorded + dropped
    print(
        f"\n{errors} errors; requests {accounts.requests} = recorded {accounts.recorded} + dropped {dropped}"
        f" {dict(accounts.dropped) or ''}: {'holds' if holds else 'DOES NOT HOLD'}"
    )
    return errors == 0 and holds


if __name__ == "__main__":
    sys.exit(main())
