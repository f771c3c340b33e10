"""Processor time of the monitor for each pair: `python -m benchmarks.monitor_cost`.

Fills an exchange file, then ticks over it as the monitor does until nothing waits, with one student that
answers in shadow and detectors on every slice.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processor import machine_line
from ledger.collector import calm_collector
from ledger.control_file import open_control_file
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from monitor.cycle import CycleReport, run_cycle
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import add_student, build_configuration

AREAS = 12
WORDS_OF_A_TEXT = 60
GROUP = 500  # exchanges of one commit
TICK_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What working off the file took."""

    pairs: int
    ticks: int
    processor_seconds: float
    longest_tick_seconds: float

    @property
    def microseconds_a_pair(self) -> float:
        return self.processor_seconds / self.pairs * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--a-second", type=int, default=2_000, help="pairs that one second brings")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    calm_collector()
    costs = [measured(arguments.pairs, arguments.a_second, arguments.classes) for _ in range(arguments.runs)]
    print(machine_line())
    for cost in costs:
        print(
            f"{cost.pairs} pairs in {cost.ticks} ticks: {cost.microseconds_a_pair:.1f} us a pair,"
            f" longest tick {cost.longest_tick_seconds:.2f} s"
        )
    middle = sorted(costs, key=lambda cost: cost.microseconds_a_pair)[len(costs) // 2]
    print(f"median {middle.microseconds_a_pair:.1f} us a pair")


def measured(pairs: int, a_second: int, classes: int) -> Cost:
    """One file, worked off from its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        names = tuple(f"class{index}" for index in range(classes))
        configuration = build_configuration(directory, classes=names)
        engine = open_control_file(directory)
        artifact = add_student(engine, directory, {"all": (600, 570)}).artifact
        fill(directory, artifact, pairs, a_second, classes)
        try:
            return work_off(lambda number: run_cycle(engine, configuration, number * TICK_US))
        finally:
            engine.dispose()


def work_off(tick: Callable[[int], CycleReport]) -> Cost:
    """Tick until nothing waits."""
    pairs = ticks = 0
    longest, began = 0.0, time.process_time()
    while True:
        started = time.process_time()
        report = tick(ticks)
        pairs, ticks = pairs + report.pairs, ticks + 1
        longest = max(longest, time.process_time() - started)
        if not report.is_behind:
            return Cost(pairs, ticks, time.process_time() - began, longest)


def fill(directory: Path, artifact: str, pairs: int, a_second: int, classes: int) -> None:
    """Traffic of `a_second` exchanges a second over AREAS areas, every tenth answered differently."""
    chance = random.Random(7)
    file = ExchangeFile(exchange_path(directory, "g0"))
    for first in range(0, pairs, GROUP):
        made = [
            _exchange(chance, number, artifact, a_second, classes)
            for number in range(first, min(first + GROUP, pairs))
        ]
        file.append([exchange for exchange, _ in made], [answer for _, answer in made])
    file.close()


def _exchange(
    chance: random.Random, number: int, artifact: str, a_second: int, classes: int
) -> tuple[Exchange, Answer]:
    top = chance.randrange(classes)
    said = top if chance.random() < 0.9 else chance.randrange(classes)
    exchange = build_exchange(
        number,
        started_at_us=number * 1_000_000 // a_second,
        attributes={"x-area": f"area{chance.randrange(AREAS)}"},
        inputs=("word " * WORDS_OF_A_TEXT,),
        input_words=(chance.randrange(120),),
        teacher=(_distribution(chance, top, classes),),
    )
    return exchange, build_answer(number, artifact, observations=(_distribution(chance, said, classes),))


def _distribution(chance: random.Random, top: int, classes: int) -> Observation:
    weights = [chance.random() for _ in range(classes)]
    weights[top] += 2 + 3 * chance.random()
    total = sum(weights)
    return Observation(tuple(weight / total for weight in weights))


if __name__ == "__main__":
    main()
