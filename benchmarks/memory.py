"""Memory: how fast each process grows at a constant rate, and whether it stands still once the record is stuck."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import packages
from benchmarks.conditions import blocking, fsync_shim
from benchmarks.deployment import DROPS, Deployment, running_deployment
from benchmarks.nginx import answering_nginx
from benchmarks.open_loop import Offered, finished, offering
from benchmarks.processes import free_ports
from benchmarks.processor import resident_mebibytes
from benchmarks.quantiles import slope
from benchmarks.report import Floor, Report, Table

KIND = "classification"
TEN_MINUTES = 600.0
LIMIT_MEBIBYTES = 1.0
LOOK_SECONDS = 2.0
FULL_SECONDS = 120.0  # by then the record's queue is full at the plan's rate


@dataclass(frozen=True, slots=True)
class Plan:
    warm_up_seconds: float = TEN_MINUTES  # as long as the monitor's page cache of the record takes to fill
    seconds: float = TEN_MINUTES
    full_seconds: float = 90.0  # watched with the caps reached
    rate: float = 300.0


SHORT = Plan(warm_up_seconds=5.0, seconds=15.0, full_seconds=10.0)

Look = tuple[float, Mapping[str, float]]  # seconds since the start, MiB of each process


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx", "gcc")
    (teacher,) = free_ports(1)
    state = folder / "state"
    longest = plan.warm_up_seconds + plan.seconds + FULL_SECONDS + plan.full_seconds
    with (
        answering_nginx(folder, "teacher", teacher),
        running_deployment(
            folder, teacher, {"no-op": 0}, environment=fsync_shim(folder, state)
        ) as deployment,
    ):
        deployment.shadow("no-op")
        with offering(deployment.port, KIND, plan.rate, longest) as generator:
            _watch(deployment, plan.warm_up_seconds)
            print("warm; measuring the slope", flush=True)
            running = _watch(deployment, plan.seconds)
            print("blocking the record's fsync until its queue is full", flush=True)
            with blocking(state):
                caps_reached = _wait_until_full(deployment)
                full = _watch(deployment, plan.full_seconds)
            generator.terminate()
            offered = finished(generator)
        deployment.wait_until_settled()
    return _report(running, full, caps_reached, offered, plan)


def _watch(deployment: Deployment, seconds: float) -> list[Look]:
    """Look at the resident memory of every process, again and again."""
    started, looks = time.monotonic(), list[Look]()
    while (elapsed := time.monotonic() - started) < seconds:
        seen = {name: resident_mebibytes(pid) for name, pid in _all_pids(deployment).items()}
        looks.append((elapsed, {name: size for name, size in seen.items() if size is not None}))
        time.sleep(LOOK_SECONDS)
    return looks


def _all_pids(deployment: Deployment) -> dict[str, int]:
    return {**deployment.pids(), "supervisor": deployment.supervisor}


def _wait_until_full(deployment: Deployment) -> bool:
    """Whether exchanges were dropped before the time was over, which says that the queue is full."""
    dropped_before = _dropped(deployment)
    give_up_at = time.monotonic() + FULL_SECONDS
    while time.monotonic() < give_up_at:
        if _dropped(deployment) > dropped_before:
            return True
        time.sleep(LOOK_SECONDS)
    return False


def _dropped(deployment: Deployment) -> float:
    return sum(value for (name, _), value in deployment.counters().items() if name == DROPS[0])


def growth_of(looks: Sequence[Look], name: str) -> float:
    """MiB in ten minutes, by least squares."""
    return slope([(at, sizes[name]) for at, sizes in looks if name in sizes]) * TEN_MINUTES


def rise_of(looks: Sequence[Look], name: str) -> float:
    """MiB from the first third of the looks to the last, by their medians."""
    sizes = [seen[name] for _, seen in looks if name in seen]
    third = max(1, len(sizes) // 3)
    return statistics.median(sizes[-third:]) - statistics.median(sizes[:third]) if sizes else 0.0


def _report(
    running: Sequence[Look], full: Sequence[Look], caps_reached: bool, offered: Offered, plan: Plan
) -> Report:
    names = sorted(running[0][1])
    growths = {name: growth_of(running, name) for name in names}
    rises = {name: rise_of(full, name) for name in names}
    floors = (
        *_floors("growth in ten minutes, MiB", growths),
        *_floors("rise with the caps reached, MiB", rises if caps_reached else dict.fromkeys(names)),
        Floor("errors seen by callers", float(offered.error_count), 0),
    )
    rows = tuple(
        (
            name,
            f"{_median(running, name):.1f}",
            f"{growths[name]:+.2f}",
            f"{_median(full, name):.1f}",
            f"{rises[name]:+.2f}" if caps_reached else "caps not reached",
        )
        for name in names
    )
    header = ("process", "MiB", "growth, MiB in 10 min", "MiB, queue full", "rise")
    note = (
        f"{plan.rate:g} requests/s for {plan.seconds:g} s after {plan.warm_up_seconds:g} s of warm-up; then with the"
        f" record's fsync blocked, {plan.full_seconds:g} s from the moment its queue was full."
    )
    return Report("memory", (Table("Resident memory", header, rows, note),), floors)


def _floors(what: str, figures: Mapping[str, float | None]) -> list[Floor]:
    return [Floor(f"{name}: {what}", value, LIMIT_MEBIBYTES) for name, value in figures.items()]


def _median(looks: Sequence[Look], name: str) -> float:
    sizes = [seen[name] for _, seen in looks if name in seen]
    return statistics.median(sizes) if sizes else 0.0
