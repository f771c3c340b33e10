"""`python -m benchmarks [PART ...]`: measure, print the tables, check every floor.

Exit status 0 when every floor of the parts that ran holds, 1 when one is missed or was not measured.
"""

import argparse
import dataclasses
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from benchmarks import (
    certificates,
    document,
    failures,
    latency,
    memory,
    monitor_cost,
    peers,
    profiling,
    students,
)
from benchmarks.machine import Circumstances, circumstances
from benchmarks.packages import NotInstalled
from benchmarks.report import Floor, Report, text

OUTCOMES = Path(__file__).parent / "results"
DEFAULT_PARTS = ("peers", "latency", "failures", "memory", "students", "statistics")
MINUTES = {
    "peers": 8,
    "latency": 4,
    "failures": 16,
    "memory": 14,
    "students": 3,
    "statistics": 4,
    "profile": 1,
    "certificates": 3,
}


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    parts: Sequence[str] = arguments.parts or DEFAULT_PARTS
    minutes = "seconds each" if arguments.quick else f"about {sum(MINUTES[part] for part in parts)} minutes"
    where = circumstances()
    print(f"{where.line()}\n{', '.join(parts)}: {minutes}", flush=True)
    reports = [_run(part, arguments) for part in parts]
    print(f"\n{where.line()}")
    for report in reports:
        print(f"\n== {report.part}, {report.seconds / 60:.1f} min ==\n")
        print("\n\n".join(text(table) for table in report.all_tables()))
    _keep(where, reports)
    if arguments.write is not None:
        document.write(arguments.write, where, reports)
        print(f"\nwritten into {arguments.write}")
    missed = [floor.what for report in reports for floor in report.floors if floor.breaks]
    print(f"\n{'every floor holds' if not missed else 'MISSED: ' + '; '.join(missed)}")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*MINUTES, []], metavar="PART",
                        help=f"{', '.join(MINUTES)}; by default {' '.join(DEFAULT_PARTS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="of peers and latency; blocks of failures")
    parser.add_argument("--seconds", type=float, help="of each leg")
    parser.add_argument("--quick", action="store_true", help="short legs: whether it runs, not what it says")
    parser.add_argument("--write", type=Path, help="put the tables into this page, e.g. docs/performance.md")
    parser.add_argument("--keep", type=Path, help="leave logs, configuration and files in this folder")
    return parser.parse_args()


def _run(part: str, arguments: argparse.Namespace) -> Report:
    print(f"\n-- {part} --", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)) / part
        folder.mkdir(parents=True, exist_ok=True)
        try:
            report = _measuring(part, arguments)(folder.resolve())
        except (NotInstalled, RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"NOT MEASURED: {part}: {error}", flush=True)
            report = Report(part, (), (Floor(f"{part}: {error}", None, 0),))
    return dataclasses.replace(report, seconds=time.monotonic() - started)


def _measuring(part: str, arguments: argparse.Namespace) -> Callable[[Path], Report]:
    """The part with its plan: the default one, the quick one, or what the options say."""
    quick = arguments.quick
    given = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    options = {name: value for name, value in given.items() if value is not None}
    match part:
        case "peers":
            peers_plan = peers.SHORT if quick else peers.Plan()
            return lambda folder: peers.measure(folder, dataclasses.replace(peers_plan, **options))
        case "latency":
            latency_plan = latency.SHORT if quick else latency.Plan()
            return lambda folder: latency.measure(folder, dataclasses.replace(latency_plan, **options))
        case "failures":
            failures_plan = failures.SHORT if quick else failures.Plan()
            return lambda folder: failures.measure(folder, dataclasses.replace(failures_plan, **options))
        case "memory":
            return lambda folder: memory.measure(folder, memory.SHORT if quick else memory.Plan())
        case "statistics":
            statistics_plan = monitor_cost.SHORT if quick else monitor_cost.Plan()
            return lambda folder: monitor_cost.measure(folder, statistics_plan)
        case "certificates":
            return lambda folder: certificates.measure(certificates.SHORT if quick else certificates.Plan())
        case "profile":
            return lambda folder: profiling.measure(folder, profiling.SHORT if quick else profiling.Plan())
        case _:
            return lambda folder: students.measure(quick)


def _keep(where: Circumstances, reports: Sequence[Report]) -> None:
    OUTCOMES.mkdir(exist_ok=True)
    path = OUTCOMES / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    kept = {
        "circumstances": dataclasses.asdict(where),
        "reports": [dataclasses.asdict(one) for one in reports],
    }
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2))
    print(f"\nkept in {path}")


if __name__ == "__main__":
    sys.exit(main())
