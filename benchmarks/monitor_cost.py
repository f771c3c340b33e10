"""What statistics cost: exchanges folded a second from the record, kernels in memory, bytes of a slice, peers.

Fills an exchange file, then ticks over it as the monitor does until nothing waits: detectors, sums of every slice,
and the transaction that keeps them. Times are processor times of one process.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import orjson
from sqlmodel import Session, select

from benchmarks.drift_peers import peers
from benchmarks.report import Floor, Report, Table
from ledger.collector import calm_collector
from ledger.configuration import Configuration
from ledger.control_file import open_control_file, transaction
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from ledger.tables import SumsRow
from monitor.cycle import CycleReport, run_cycle
from monitor.gathering import A_TICK
from monitor.measures import closeness, measures_of
from monitor.sums import SliceSums, merged
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import add_student, build_configuration, build_pair

HEADERS = {"area": 12, "region": 6, "channel": 4, "tier": 3, "product": 20}  # header -> values
CLASSES = 10
A_SECOND = 2000  # exchanges of the traffic
WORDS_OF_A_TEXT = 60
GROUP = 500  # exchanges of one commit
TICK_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    exchanges: int = 60_000
    runs: int = 5
    many_slices: int = 2000


SHORT = Plan(exchanges=8000, runs=1, many_slices=200)


@dataclass(frozen=True, slots=True)
class Cost:
    """What working off the file took."""

    pairs: int
    slices: int
    processor_seconds: float
    longest_tick_seconds: float
    greatest_row_bytes: int

    @property
    def a_second(self) -> float:
        return self.pairs / self.processor_seconds


def measure(folder: Path, plan: Plan) -> Report:
    calm_collector()
    few = sorted(
        (measured(plan.exchanges, HEADERS) for _ in range(plan.runs)), key=lambda cost: cost.a_second
    )
    middle = few[len(few) // 2]
    every = {**HEADERS, "product": plan.many_slices}
    single, double = (_memory_of(plan.exchanges * times, every) for times in (1, 2))
    many = measured(plan.exchanges, every)
    kernels = _kernels()
    size = _bytes_of_a_slice()
    rows = (
        (f"{middle.slices} slices", f"{middle.a_second:,.0f}", f"{middle.longest_tick_seconds:.2f}"),
        (f"{many.slices} slices", f"{many.a_second:,.0f}", f"{many.longest_tick_seconds:.2f}"),
    )
    tables = (
        Table(
            "Exchanges folded from the record, 8 slices each, 10 classes",
            ("", "exchanges a second of one core", "longest tick, s"),
            rows,
            f"{plan.exchanges} exchanges in ticks of {A_TICK.answers:,}; median of {plan.runs} runs in the first row.",
        ),
        Table(
            "In memory, 10 classes",
            ("", "pairs a second of one core"),
            tuple((name, f"{rate:,.0f}") for name, rate in kernels.items()),
        ),
        Table(
            "Memory",
            ("", ""),
            (
                ("bytes of a slice with every bin in use", f"{size:,}"),
                (f"peak MiB, {plan.exchanges} exchanges, {many.slices} slices", f"{single:.0f}"),
                (f"peak MiB, {2 * plan.exchanges} exchanges, {many.slices} slices", f"{double:.0f}"),
            ),
        ),
        peers(folder, plan.exchanges),
    )
    floors = (
        Floor("exchanges folded a second, 8 slices each", middle.a_second, 50_000, at_least=True),
        Floor("pairs a second through S1 to S3", kernels["S1 to S3"], 1_000_000, at_least=True),
        Floor("bytes of a slice", size, 40_000),
        Floor("peak memory of twice the exchanges, ratio", double / single, 1.1),
    )
    return Report("statistics", tables, floors)


def measured(exchanges: int, headers: dict[str, int]) -> Cost:
    """One file, worked off from its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        configuration = configured(directory, headers)
        engine = open_control_file(directory)
        artifact = add_student(engine, directory, {"all": (600, 570)}).artifact
        fill(directory, artifact, exchanges, headers)
        try:
            pairs, seconds, longest = work_off(lambda tick: run_cycle(engine, configuration, tick * TICK_US))
            with transaction(engine) as session:
                slices, size = _rows(session)
            return Cost(pairs, slices, seconds, longest, size)
        finally:
            engine.dispose()


def configured(directory: Path, headers: dict[str, int]) -> Configuration:
    """The overall slice and seven rules: every exchange is in eight slices."""
    rules = [
        {"name": name, "header": f"x-{name}", "max_values": max(200, values)}
        for name, values in headers.items()
    ]
    names = tuple(f"class{index}" for index in range(CLASSES))
    return build_configuration(
        directory,
        classes=names,
        slice=(*rules, {"name": "length", "words": (50, 100)}, {"name": "desk", "teacher_class": True}),
    )


def work_off(tick: Callable[[int], CycleReport]) -> tuple[int, float, float]:
    """Tick until nothing waits: pairs, processor seconds, those of the longest tick."""
    pairs = ticks = 0
    longest, began = 0.0, time.process_time()
    while True:
        started = time.process_time()
        report = tick(ticks)
        pairs, ticks = pairs + report.pairs, ticks + 1
        longest = max(longest, time.process_time() - started)
        if not report.is_behind:
            return pairs, time.process_time() - began, longest


def fill(directory: Path, artifact: str, exchanges: int, headers: dict[str, int]) -> None:
    """Traffic of A_SECOND exchanges a second, every tenth answered differently."""
    chance = random.Random(7)
    file = ExchangeFile(exchange_path(directory, "g0"))
    for first in range(0, exchanges, GROUP):
        made = [
            _exchange(chance, number, artifact, headers)
            for number in range(first, min(first + GROUP, exchanges))
        ]
        file.append([exchange for exchange, _ in made], [answer for _, answer in made])
    file.close()


def _exchange(
    chance: random.Random, number: int, artifact: str, headers: dict[str, int]
) -> tuple[Exchange, Answer]:
    top = chance.randrange(CLASSES)
    said = top if chance.random() < 0.9 else chance.randrange(CLASSES)
    exchange = build_exchange(
        number,
        started_at_us=number * 1_000_000 // A_SECOND,
        duration_us=chance.randrange(2000, 60_000),
        attributes={f"x-{name}": f"v{chance.randrange(values)}" for name, values in headers.items()},
        inputs=("word " * WORDS_OF_A_TEXT,),
        input_words=(chance.randrange(160),),
        teacher=(_distribution(chance, top),),
    )
    observations = (_distribution(chance, said),)
    latency_us = chance.randrange(500, 8000)
    return exchange, build_answer(number, artifact, observations=observations, latency_us=latency_us)


def _distribution(chance: random.Random, top: int) -> Observation:
    weights = [chance.random() for _ in range(CLASSES)]
    weights[top] += 2 + 30 * chance.random()
    total = sum(weights)
    return Observation(tuple(weight / total for weight in weights))


def _rows(session: Session) -> tuple[int, int]:
    """Slices that have sums, and bytes of the largest row."""
    rows = session.exec(select(SumsRow)).all()
    return len({row.slice for row in rows}), max(len(orjson.dumps(row.sums)) for row in rows)


def _kernels() -> dict[str, float]:
    chance = np.random.default_rng(3)
    teacher, student = (chance.dirichlet(np.full(CLASSES, 0.3), 4000) for _ in range(2))
    return {
        "S1 to S3": _rate(lambda: closeness(teacher, student), 4000),
        "S1 to S6 and S10, rounded as they are kept": _rate(lambda: measures_of(teacher, student), 4000),
    }


def _rate(call: Callable[[], object], pairs: int) -> float:
    """Median over repetitions."""
    times = []
    for _ in range(60):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return pairs / max(median(times), 1e-9)


def _bytes_of_a_slice() -> int:
    """As stored, after so many different pairs with labels that hardly a bin is empty."""
    chance = random.Random(5)
    parts = []
    for number in range(6000):
        teacher, student = (_distribution(chance, chance.randrange(CLASSES)) for _ in range(2))
        latency_us = int(2 ** chance.uniform(5, 25))
        pair = build_pair(
            _sharpened(teacher, chance),
            _sharpened(student, chance),
            words=int(2 ** chance.uniform(0, 13)),
            student_latency_us=latency_us,
            teacher_latency_us=2 * latency_us,
        )
        parts += [SliceSums.of_pair(pair), SliceSums.of_label(pair, number % CLASSES)]
    return len(orjson.dumps(merged(parts).to_json()))


def _sharpened(observation: Observation, chance: random.Random) -> Observation:
    """Mixed with its own top class, so that confidences take every value."""
    assert observation.probabilities is not None
    share = chance.random()
    return Observation(
        tuple(
            (1 - share) * probability + share * (index == observation.top)
            for index, probability in enumerate(observation.probabilities)
        )
    )


def _memory_of(exchanges: int, headers: dict[str, int]) -> float:
    """Peak MiB of a process of its own that works a file off; the file is filled by another."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        engine = open_control_file(directory)
        artifact = add_student(engine, directory, {"all": (600, 570)}).artifact
        engine.dispose()
        fill(directory, artifact, exchanges, headers)
        command = [sys.executable, "-m", __name__, str(directory), orjson.dumps(headers).decode()]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(ended.stdout)


def _work_off_alone(directory: Path, headers: dict[str, int]) -> float:
    engine = open_control_file(directory)
    configuration = configured(directory, headers)
    work_off(lambda tick: run_cycle(engine, configuration, tick * TICK_US))
    engine.dispose()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_work_off_alone(Path(sys.argv[1]), orjson.loads(sys.argv[2])))
