"""`python -m benchmarks.detectors [PART ...]`: false alarms, delays beside an oracle, everybody's detector beside ours.

Exit status 0 when every floor of the parts that ran holds, 1 when one is missed or was not measured.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import document
from benchmarks.detectors import behaviour, delays, equal, equal_table, nulls, plots
from benchmarks.detectors.changes import COMPARATORS, Sizes
from benchmarks.machine import circumstances
from benchmarks.packages import NotInstalled
from benchmarks.report import Floor, Report, text


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn."""

    null_streams: int = 200
    null_steps: int = 1_000_000
    runs: int = 1000
    behaviour_streams: int = 200
    behaviour_steps: int = 200_000
    sizes: Sizes = field(default_factory=Sizes)

    def line(self) -> str:
        sizes = self.sizes
        return (
            f"Sizes of this run: null {self.null_streams} streams of {self.null_steps:,}; beside the oracle"
            f" {self.runs} runs a cell; beside other detectors {sizes.streams} null streams of {sizes.steps:,}, as"
            f" many others to tune on, {sizes.runs} runs a change tuned, {sizes.runs_of_defaults} as they come. Parts"
            f" of these: {', '.join(f'{name} 1/{part}' for name, part in sizes.parts.items() if part > 1)}."
        )


QUICK = Plan(
    null_steps=20_000,
    runs=1000,
    behaviour_streams=50,
    behaviour_steps=100_000,
    sizes=Sizes(streams=12, runs=60, runs_of_defaults=30),
)


LARGE = Plan(sizes=Sizes(streams=160, runs=2400, parts=COMPARATORS | {"HDDMW": 2, "HDDMA": 16, "MAPIE": 8}))

PARTS = ("nulls", "delays", "behaviour", "equal")


def main() -> int:
    arguments = _arguments()
    plan = QUICK if arguments.quick else LARGE if arguments.large else Plan()
    where = circumstances()
    print(f"{where.line()}\n{plan.line()}", flush=True)
    cells: list[delays.DelayCell] = []
    found: list[equal.Compared] = []
    parts: dict[str, Callable[[], Report]] = {
        "nulls": lambda: _nulls(plan),
        "delays": lambda: _delays(plan, cells),
        "behaviour": lambda: _behaviour(plan),
        "equal": lambda: _equal(plan, found),
    }
    reports = [_timed(part, parts[part], plan) for part in arguments.parts or PARTS]
    if arguments.write is not None:
        document.write(arguments.write, where, reports)
        for path in plots.write_plots(arguments.write.parent / "plots", cells, found):
            print(f"written: {path}")
    missed = [floor.what for report in reports for floor in report.floors if floor.breaks]
    print(f"\n{'every floor holds' if not missed else 'MISSED: ' + '; '.join(missed)}")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detectors", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short runs: a few minutes")
    parser.add_argument("--large", action="store_true", help="more runs beside other detectors: for 16 cores")
    parser.add_argument("--write", type=Path, help="put the tables into this page, e.g. docs/detectors.md")
    return parser.parse_args()


def _timed(part: str, measure: Callable[[], Report], plan: Plan) -> Report:
    started = time.monotonic()
    try:
        report = measure()
    except NotInstalled as error:
        report = Report(part, (), (Floor(f"{part}: {error}", None, 0),))
    seconds = time.monotonic() - started
    report = replace(report, seconds=seconds, said=f"{plan.line()}\nThis part took {seconds:.0f} s.")
    print(f"\n== {part}, {report.seconds:.0f} s ==\n")
    print("\n\n".join(text(table) for table in report.all_tables()), flush=True)
    return report


def _nulls(plan: Plan) -> Report:
    cells = nulls.null_cells(plan.null_streams, plan.null_steps)
    return Report("nulls", (nulls.null_table(cells),), tuple(nulls.null_floors(cells)))


def _delays(plan: Plan, cells: list[delays.DelayCell]) -> Report:
    cells += delays.delay_cells(plan.runs)
    return Report("delays", (delays.delay_table(cells),), tuple(delays.delay_floors(cells)))


def _behaviour(plan: Plan) -> Report:
    return Report("behaviour", (behaviour.behaviour_table(plan.behaviour_streams, plan.behaviour_steps),), ())


def _equal(plan: Plan, found: list[equal.Compared]) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        found.append(equal.compared(plan.sizes, Path(folder)))
    return Report("equal", equal_table.compared_tables(found[0]), tuple(equal_table.equal_floors(found[0])))


if __name__ == "__main__":
    sys.exit(main())
