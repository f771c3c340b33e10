"""The failure table: the callers' p99 while something behind the gateway is slow, hung, dead or full.

Each condition is a real one on a running deployment. Blocks of four legs, off, condition, condition, off, at a constant
arrival rate; the ratio is that of the p99 over all requests of the legs, its bound a bootstrap over whole blocks. Off
means that no student is in shadow; the same bound for the last off legs against the first says how much is noise.
"""

import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
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
from benchmarks.nginx import answering_nginx
from benchmarks.open_loop import Offered, offer
from benchmarks.processes import free_ports
from benchmarks.quantiles import percentile, upper_bound
from benchmarks.report import MISSED, Floor, Report, Table
from benchmarks.traffic import CLASSES
from ledger.artifacts import MODEL_FILE
from tests.artifacts import tiny_artifact

KIND = "classification"
LIMIT, STRETCH = 1.25, 1.05
HEADER = (
    *("condition", "p99 ms", "off", "ratio", "upper bound", "off/off", "its bound", "worst ms", "errors"),
    *("dropped", ""),
)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 5  # blocks for each condition
    seconds: float = 4.0  # of each of the four legs of a block
    rate: float = 300.0  # requests a second


SHORT = Plan(rounds=2, seconds=2.0)


@dataclass(frozen=True, slots=True)
class Block:
    """Off, condition, condition, off."""

    before: Offered
    during: tuple[Offered, Offered]
    after: Offered
    held: bool  # the condition was what it says until the end of the second leg

    @property
    def off(self) -> tuple[Offered, Offered]:
        return self.before, self.after


@dataclass(frozen=True, slots=True)
class Outcome:
    condition: str
    blocks: tuple[Block, ...]
    drops: dict[str, int]
    unaccounted: int  # requests - recorded - dropped - pending, at the end
    bound: float  # of the p99 ratio of the condition to off
    off_bound: float  # of that of off to off


@dataclass(frozen=True, slots=True)
class Unmeasured:
    condition: str
    why: str


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx", "gcc")
    (teacher,) = free_ports(1)
    milliseconds = _batch_milliseconds(folder)
    with answering_nginx(folder, "teacher", teacher):
        outcomes = [
            outcome
            for on_small_disk, conditions in groupby(CONDITIONS, lambda condition: condition.small_disk)
            for outcome in _outcomes(folder, teacher, on_small_disk, deque(conditions), plan)
        ]
    return _report(outcomes, milliseconds, plan)


def _outcomes(
    folder: Path, teacher: int, on_small_disk: bool, conditions: deque[Condition], plan: Plan
) -> Iterator[Outcome | Unmeasured]:
    """One deployment for all; a new one after a condition that could not be begun or taken back."""
    while conditions:
        place = Path(tempfile.mkdtemp(prefix="deployment", dir=folder))
        try:
            with _deployment(place, teacher, on_small_disk) as deployment:
                offer(deployment.port, KIND, plan.rate, plan.seconds)
                while conditions:
                    yield _outcome(deployment, conditions[0], plan)
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


def _outcome(deployment: Deployment, condition: Condition, plan: Plan) -> Outcome:
    before = deployment.counters()
    blocks = tuple(_block(deployment, condition, plan) for _ in range(plan.rounds))
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
    print(f"{condition.name:32} {'  '.join(_row(outcome)[1:])}", flush=True)
    return outcome


def _block(deployment: Deployment, condition: Condition, plan: Plan) -> Block:
    def leg() -> Offered:
        return offer(deployment.port, KIND, plan.rate, plan.seconds)

    before = leg()
    with condition.begin(deployment):
        since = deployment.counters()
        during = leg(), leg()
        held = condition.holds(deployment, since)
    return Block(before, during, leg(), held)


def p99_ratio(blocks: Sequence[Block]) -> float:
    """Of the condition to off."""
    return _p99([leg for block in blocks for leg in block.during]) / _p99(
        [leg for block in blocks for leg in block.off]
    )


def off_ratio(blocks: Sequence[Block]) -> float:
    """Of off to off: the last leg of each block to its first."""
    return _p99([block.after for block in blocks]) / _p99([block.before for block in blocks])


def _p99(legs: Sequence[Offered]) -> float:
    """Microseconds, over every request of the legs; infinite when none was answered."""
    return percentile(np.concatenate([leg.latencies_us for leg in legs]), 0.99)


def _errors(outcome: Outcome) -> int:
    return sum(leg.error_count for block in outcome.blocks for leg in (*block.off, *block.during))


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


def _report(
    outcomes: Sequence[Outcome | Unmeasured], milliseconds: tuple[float, float], plan: Plan
) -> Report:
    quick, slow = milliseconds
    floors = [floor for outcome in outcomes for floor in _floors(outcome)]
    floors.append(Floor("the slow student's batch, times the quick one's", slow / quick, 10, at_least=True))
    rows = tuple(_row(outcome) for outcome in outcomes)
    note = (
        f"{plan.rate:g} requests/s, open loop; {plan.rounds} blocks of 4 legs of {plan.seconds:g} s for each condition;"
        f" 95 % bootstrap bounds over blocks. A student's batch takes {quick:.2f} ms, the slow one's {slow:.1f} ms."
    )
    return Report("failures", (Table("What callers notice", HEADER, rows, note),), tuple(floors))


def _row(outcome: Outcome | Unmeasured) -> tuple[str, ...]:
    if isinstance(outcome, Unmeasured):
        return (outcome.condition, *["-"] * (len(HEADER) - 3), "not measured", MISSED)
    blocks = outcome.blocks
    off = [leg for block in blocks for leg in block.off]
    during = [leg for block in blocks for leg in block.during]
    worst = max(float(leg.latencies_us.max(initial=0.0)) for leg in during)
    return (
        outcome.condition,
        f"{_p99(during) / 1e3:.2f}",
        f"{_p99(off) / 1e3:.2f}",
        f"{p99_ratio(blocks):.2f}",
        f"{outcome.bound:.2f}",
        f"{off_ratio(blocks):.2f}",
        f"{outcome.off_bound:.2f}",
        f"{worst / 1e3:.1f}",
        str(_errors(outcome)),
        ", ".join(f"{reason} {count}" for reason, count in outcome.drops.items()) or "-",
        MISSED if any(floor.breaks for floor in _floors(outcome)) else "holds",
    )


def _floors(outcome: Outcome | Unmeasured) -> list[Floor]:
    if isinstance(outcome, Unmeasured):
        return [Floor(f"{outcome.condition}: {outcome.why}", None, LIMIT)]
    name, bound = outcome.condition, outcome.bound
    return [
        Floor(f"{name}: upper bound of the p99 ratio", bound, LIMIT),
        Floor(f"{name}: upper bound of the p99 ratio", bound, STRETCH, stretch=True),
        Floor(f"{name}: blocks in which it was not so", sum(not block.held for block in outcome.blocks), 0),
        Floor(f"{name}: errors seen by callers", float(_errors(outcome)), 0),
        Floor(f"{name}: unaccounted requests", float(abs(outcome.unaccounted)), 0),
    ]
