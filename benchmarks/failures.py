"""The failures: the callers' p99 while something behind the gateway is slow, hung, dead or full.

Each condition is a real one on a running deployment. Blocks of four legs, off, condition, condition, off, at a constant
arrival rate; the ratio is the midmean of the blocks' own, its bound a bootstrap over blocks. Off
means that no student is in shadow; the same bound for the last off legs against the first says how much is noise.
Requests that were open while the host had taken a processor away do not count, in the condition as little as in off.
"""

import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks import packages
from benchmarks.conditions import (
    CONDITIONS,
    QUICK_ROUNDS,
    SLOW_ROUNDS,
    STUDENTS,
    Condition,
    fsync_shim,
    small_disk,
)
from benchmarks.deployment import Deployment, account, drops_between, running_deployment
from benchmarks.failure_table import (
    HEADER,
    Block,
    Leg,
    Outcome,
    Unmeasured,
    failure_report,
    off_ratio,
    p99_ratio,
    row_of,
)
from benchmarks.nginx import answering_nginx
from benchmarks.open_loop import offer
from benchmarks.processes import free_ports
from benchmarks.quantiles import upper_bound
from benchmarks.report import Report
from benchmarks.stalls import stalls_in, undisturbed_us, watching_processors
from benchmarks.traffic import CLASSES
from ledger.artifacts import MODEL_FILE
from tests.artifacts import tiny_artifact

KIND = "classification"


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 10  # blocks for each condition
    seconds: float = 3.0  # of each of the four legs of a block
    rate: float = 300.0  # requests a second


SHORT = Plan(rounds=2, seconds=2.0)


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx")
    (teacher,) = free_ports(1)
    quick, slow = _batch_milliseconds(folder)
    with answering_nginx(folder, "teacher", teacher), watching_processors(folder) as stalls:
        outcomes = [
            outcome
            for on_small_disk, conditions in groupby(CONDITIONS, lambda condition: condition.small_disk)
            for outcome in _outcomes(folder, teacher, on_small_disk, deque(conditions), plan, stalls)
        ]
    note = (
        f"{plan.rate:g} requests/s, open loop; {plan.rounds} blocks of 4 legs of {plan.seconds:g} s for each condition;"
        f" 95 % bootstrap bounds over blocks. Left out, off and during: requests that were open while the host had"
        " taken a processor away, as a thread of the highest priority on each saw it; the worst is of all."
        f" A student's batch takes {quick:.2f} ms, the slow one's {slow:.1f} ms."
    )
    return failure_report(outcomes, slow / quick, note)


def _outcomes(
    folder: Path, teacher: int, on_small_disk: bool, conditions: deque[Condition], plan: Plan, stalls: Path
) -> Iterator[Outcome | Unmeasured]:
    """One deployment for all; a new one after a condition that could not be begun or taken back."""
    while conditions:
        place = Path(tempfile.mkdtemp(prefix="deployment", dir=folder))
        try:
            with _deployment(place, teacher, on_small_disk) as deployment:
                offer(deployment.port, KIND, plan.rate, plan.seconds)
                while conditions:
                    yield _outcome(deployment, conditions[0], plan, stalls)
                    conditions.popleft()
        except (packages.NotInstalled, RuntimeError, OSError) as error:
            print(f"NOT MEASURED: {conditions[0].name}: {error}", flush=True)
            yield Unmeasured(conditions.popleft().name, str(error))


@contextmanager
def _deployment(folder: Path, teacher: int, on_small_disk: bool) -> Iterator[Deployment]:
    if on_small_disk:
        with small_disk(folder) as disk, _on(folder, teacher, disk / "state") as deployment:
            yield deployment
    else:
        with _on(folder, teacher, folder / "state") as deployment:
            yield deployment


@contextmanager
def _on(folder: Path, teacher: int, data_directory: Path) -> Iterator[Deployment]:
    environment = fsync_shim(folder, data_directory)
    with running_deployment(
        folder, teacher, STUDENTS, data_directory=data_directory, environment=environment
    ) as deployment:
        yield deployment


def _outcome(deployment: Deployment, condition: Condition, plan: Plan, stalls: Path) -> Outcome:
    before = deployment.counters()
    blocks = tuple(_block(deployment, condition, plan, stalls) for _ in range(plan.rounds))
    after = deployment.counters()
    requests, recorded, dropped, pending = account(after)
    outcome = Outcome(
        condition.name,
        blocks,
        drops_between(before, after),
        requests - recorded - dropped - pending,
        upper_bound(blocks, p99_ratio),
        upper_bound(blocks, off_ratio),
    )
    said = ", ".join(f"{name} {cell}".strip() for name, cell in zip(HEADER, row_of(outcome), strict=True))
    print(said, flush=True)
    return outcome


def _block(deployment: Deployment, condition: Condition, plan: Plan, stalls: Path) -> Block:
    def leg() -> Leg:
        seen = offer(deployment.port, KIND, plan.rate, plan.seconds)
        return Leg(seen, undisturbed_us(seen, stalls_in(stalls)))

    before = leg()
    with condition.begin(deployment):
        since = deployment.counters()
        during = leg(), leg()
        held = condition.holds(deployment, since)
    return Block(before, during, leg(), held)


def _batch_milliseconds(folder: Path) -> tuple[float, float]:
    """Of the quick student and of the slow one, on the machine while it does nothing else."""
    quick, slow = (
        _batch_seconds(tiny_artifact(folder / "timed", CLASSES, busy_rounds=rounds).folder / MODEL_FILE)
        for rounds in (QUICK_ROUNDS, SLOW_ROUNDS)
    )
    return quick * 1e3, slow * 1e3


def _batch_seconds(model: Path) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    ones = np.ones((8, 12), dtype=np.int64)

    def one() -> float:
        started = time.perf_counter()
        session.run(None, {"input_ids": ones, "attention_mask": ones})
        return time.perf_counter() - started

    return min(one() for _ in range(50))
