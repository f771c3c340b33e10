"""The tables beside other detectors, and the floors that they are held against."""

from collections.abc import Sequence

from benchmarks.detectors.changes import CHANGES, EVERY, IMPROVED, Change
from benchmarks.detectors.delays import ratio_interval, told
from benchmarks.detectors.equal import OURS, Compared, Row
from benchmarks.report import Floor, Table

KNOWN, LEARNT, SHIPPED = OURS
FILTERED = "for rises"  # in the name of a library's detector behind a filter of our own


def compared_tables(found: Compared) -> tuple[Table, ...]:
    return (
        _table("As they come", found.default, _drawn(found), None),
        _table("Tuned to equally many false alarms", found.tuned, _tuning(found), _named(found.tuned, KNOWN)),
        _beside_fastest(found.tuned),
    )


def equal_floors(found: Compared) -> list[Floor]:
    """Ours over the fastest of those with no more false alarms; a floor where the change is abrupt.

    A stretch where the fastest is a library's detector that a filter of ours makes faster than it comes.
    """
    floors = [Floor(problem, None, 0) for problem in found.problems]
    for change in CHANGES:
        for fastest in _fastest_of_each_kind(found.tuned, change):
            filtered = fastest is not None and FILTERED in fastest.name
            for name in (KNOWN, LEARNT):
                ratio = _ratio(_named(found.tuned, name), fastest, change)
                what = f"5 % {change.name}: {name}: median delay, times that of {_called(fastest)}"
                floors.append(Floor(what, ratio, 1.0, stretch=filtered or not change.is_abrupt))
    return floors


def _table(title: str, rows: Sequence[Row], note: str, ours: Row | None) -> Table:
    header = (
        "detector",
        "setting",
        *(["in tuning"] if ours else []),
        "false alarms / 1e6 (95 %)",
        *(change.name for change in CHANGES),
        f"alarms {IMPROVED.name}",
        "us an update",
    )
    return Table(title, header, tuple(_cells(row, ours) for row in rows), note)


def _cells(row: Row, ours: Row | None) -> tuple[str, ...]:
    low, high = row.rates
    more = " MORE" if ours is not None and not row.is_as_quiet_as(ours) else ""
    in_tuning = "" if row.in_tuning is None else f"{row.in_tuning * 1e6:.1f}"
    return (
        row.name,
        row.setting,
        *([in_tuning] if ours else []),
        f"{row.rate * 1e6:.1f} ({low * 1e6:.1f} to {high * 1e6:.1f}){more}",
        *(told(row.delays[change.name]) for change in CHANGES),
        f"{100 * (1 - row.delays[IMPROVED.name].missed):.0f} %",
        "" if row.microseconds is None else f"{row.microseconds:.2f}",
    )


def _beside_fastest(rows: Sequence[Row]) -> Table:
    header = (
        "change",
        "fastest comparator",
        "its median",
        "ours, null known",
        "ours, null learnt",
        "ours as shipped",
    )
    note = (
        "Median delay of ours over that of the fastest comparator of the table above that has no more false alarms,"
        " and where a filter of our own makes ADWIN faster than the library has it,"
        " of that one too; in brackets 95 % of resampled runs. Below 1 ours is faster."
    )
    body = [
        (
            f"5 % {change.name}",
            _called(fastest),
            "" if fastest is None else told(fastest.delays[change.name]),
            *(_said_ratio(_named(rows, name), fastest, change) for name in OURS),
        )
        for change in CHANGES
        for fastest in _fastest_of_each_kind(rows, change)
    ]
    return Table("Beside the fastest, cell by cell", header, tuple(body), note)


def _called(fastest: Row | None) -> str:
    return "nobody: half of the runs went unnoticed" if fastest is None else fastest.name


def _said_ratio(ours: Row, fastest: Row | None, change: Change) -> str:
    ratio = _ratio(ours, fastest, change)
    if ratio is None or fastest is None:
        return "-"
    low, high = ratio_interval(ours.delays[change.name], fastest.delays[change.name], EVERY.index(change))
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def _fastest_of_each_kind(rows: Sequence[Row], change: Change) -> list[Row | None]:
    """Of libraries as they come, and of all where that is another one."""
    comparable = [row for row in rows if row.name not in OURS]
    libraries = _fastest([row for row in comparable if FILTERED not in row.name], _named(rows, KNOWN), change)
    every = _fastest(comparable, _named(rows, KNOWN), change)
    return [libraries] if every is libraries else [libraries, every]


def _fastest(rows: Sequence[Row], ours: Row, change: Change) -> Row | None:
    """Of those that notice the change in half of the runs and have no more false alarms than ours."""
    reached = [
        (median, row)
        for row in rows
        if row.is_as_quiet_as(ours) and (median := row.median(change)) is not None
    ]
    return min(reached, key=lambda pair: pair[0])[1] if reached else None


def _ratio(ours: Row, fastest: Row | None, change: Change) -> float | None:
    """0 where no comparator notices the change; None where ours does not."""
    mine, other = ours.median(change), None if fastest is None else fastest.median(change)
    if mine is None:
        return None
    return mine / other if other is not None else 0.0


def _named(rows: Sequence[Row], name: str) -> Row:
    return next(row for row in rows if row.name == name)


def _drawn(found: Compared) -> str:
    sizes = found.sizes
    parts = ", ".join(f"1/{part} of both {name}" for name, part in sizes.parts.items() if part > 1)
    return (
        f"Null: {sizes.streams} streams of {sizes.steps:,} requests at 5 %, each detector beginning anew after an"
        " alarm; its interval allows for alarms that come in clusters. Changes come at a random request, up to 1,000"
        f" after so many quiet ones: 10,000 if nothing else is said; {sizes.runs_of_defaults} runs each. ({parts}.)"
        " Median requests from change to alarm; in brackets the share of runs without one within the horizon"
        f" ({', '.join(f'{change.horizon:,}' for change in CHANGES)} requests); runs with an earlier false alarm are"
        f" left out. The last but one: share of runs that alarm within {IMPROVED.horizon:,} requests of an"
        " improvement. KSWIN, whose window holds 100, sees 500 of the quiet requests. Microseconds are those of"
        " Python loops on a machine that does other things too; ours is measured in ticks by"
        " benchmarks.monitor_cost."
    )


def _tuning(found: Compared) -> str:
    sizes = found.sizes
    allowed = sizes.rate * sizes.streams * sizes.steps
    return (
        f"One parameter of each is tuned, on streams of its own: the most sensitive setting found with at most"
        f" {sizes.rate * 1e6:g} false alarms in a million requests there ({allowed:.0f} in all), which `in tuning`"
        f" says; where that is above {sizes.rate * 1e6:g}, no setting in the range was as quiet. The next column is"
        " what it then had on other streams; MORE: more than ours beyond what the intervals leave open, so that the"
        f" comparison is not an equal one and is not held against ours. {sizes.runs} runs a change."
    )


def medians_at_ten_thousand(row: Row) -> list[tuple[float, float | None]]:
    """Rate after an abrupt change at 10,000, and the median delay."""
    steady = [change for change in CHANGES if change.is_abrupt and change.quiet == CHANGES[0].quiet]
    return [(change.after, row.median(change)) for change in steady]
