"""The two tables beside other detectors, and the floors that they are held against."""

from collections.abc import Sequence

from scipy.special import gammaincinv

from benchmarks.detectors.delays import told
from benchmarks.detectors.equal import (
    CHANGE,
    HORIZONS,
    IMPROVED,
    IMPROVED_HORIZON,
    OURS,
    Compared,
    Row,
)
from benchmarks.report import Floor, Table


def compared_tables(found: Compared) -> tuple[Table, Table]:
    sizes = found.sizes
    horizons = ", ".join(f"{horizon:,}" for horizon in HORIZONS.values())
    drawn = (
        f"Null: {sizes.streams} streams of {sizes.steps:,} requests at 5 %; changes at a random request after"
        f" {CHANGE:,}, {sizes.runs} runs each. Median requests from change to alarm; in brackets the share of runs"
        f" without one within the horizon ({horizons} requests); runs with an earlier false alarm are left out. The"
        f" last but one: share of runs that alarm within {IMPROVED_HORIZON:,} requests of an improvement."
        " Microseconds are those of Python loops on a machine that does other things too; ours is measured in"
        " ticks by benchmarks.monitor_cost."
    )
    equal = (
        f" One parameter of each is tuned, on streams of its own, to {sizes.rate * 1e6:g} false alarms in a million"
        " requests; the second column is what it then had on other streams."
    )
    return (
        _table("As they come", found.default, drawn),
        _table("Tuned to equally many false alarms", found.tuned, drawn + equal),
    )


def equal_floors(found: Compared) -> list[Floor]:
    """Ours over the fastest of the others, cell by cell, at equally many false alarms."""
    ours = {row.name: row for row in found.tuned if row.name in OURS}
    others = [row for row in found.tuned if row.name not in OURS]
    floors = [Floor(problem, None, 0) for problem in found.problems]
    for after in HORIZONS:
        medians = [median for row in others if (median := row.delays[after].quantile(0.5)) is not None]
        for name, stretch in ((OURS[0], False), (OURS[1], True)):
            mine = ours[name].delays[after].quantile(0.5)
            ratio = None if mine is None else mine / min(medians) if medians else 0.0
            what = f"5 % to {100 * after:g} %: {name}: median delay, times that of the fastest comparator"
            floors.append(Floor(what, ratio, 1.0, stretch=stretch))
    return floors


def _table(title: str, rows: Sequence[Row], note: str) -> Table:
    changes = [f"to {100 * after:g} %" for after in HORIZONS]
    improved = f"alarms at {100 * IMPROVED:g} %"
    header = ("detector", "setting", "false alarms / 1e6 (95 %)", *changes, improved, "us an update")
    return Table(title, header, tuple(map(_cells, rows)), note)


def _cells(row: Row) -> tuple[str, ...]:
    low, high = _poisson(row.false_alarms)
    scale = 1e6 / row.updates
    return (
        row.name,
        row.setting,
        f"{row.a_million:.1f} ({low * scale:.1f} to {high * scale:.1f})",
        *(told(row.delays[after]) for after in HORIZONS),
        f"{100 * (1 - row.delays[IMPROVED].missed):.0f} %",
        "" if row.microseconds is None else f"{row.microseconds:.2f}",
    )


def _poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean."""
    low = 0.0 if count == 0 else float(gammaincinv(count, 0.025))
    return low, float(gammaincinv(count + 1, 0.975))
