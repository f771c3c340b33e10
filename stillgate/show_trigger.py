"""How the trigger's promise, an alarm and its replay look in a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.clock import iso
from ledger.harms import Harm
from ledger.tables import AlarmRow
from monitor.outlook import Delay, Outlook, SliceOutlook
from monitor.receipt import Replay
from monitor.words_moved import WordMoved
from stillgate.show import Document, percent, table_of, word

_RATES = {
    "gate": "at its gate",
    "labels": "by its first labels",
    "live": "so far",
    "null": "taken for the null",
}
_WATCHED = {
    Harm.DISAGREEMENT: "disagreement with the teacher, in requests",
    Harm.TOTAL_VARIATION: "total variation from the teacher, in requests",
    Harm.DIVERGENCE_BITS: "Jensen-Shannon divergence from the teacher in bits, in requests",
    Harm.REGRET: "share where by true labels the teacher alone is right, in labels",
}


def show_alarm(document: Document, replay: Replay | None) -> RenderableType:
    """An alarm with what it says moved and its receipt, and what the receipt's own counts lead to now."""
    table = table_of("receipt", "")
    for name, value in document["receipt"].items():
        table.add_row(name, Text(_receipt_cell(name, value)))
    if replay is not None:
        table.add_row("log_wealth, replayed", f"{replay.replayed['log_wealth']}")
    return Group(
        Text(
            f"alarm {document['id']}: {document['harm'].replace('_', ' ')} in slice {document['slice']} of"
            f" {document['artifact']} in task {document['task']}, {iso(document['at_us'])};"
            f" {document['decision'].replace('_', ' ')}"
        ),
        *_cause(document["cause"]),
        table,
    )


def _cause(cause: Document | None) -> Iterator[RenderableType]:
    """What moved, source by source, and what a successor could learn from."""
    if cause is None:
        return
    yield Text()
    yield Text(cause["summary"], style="bold")
    table = table_of("source", "", "what looking at it showed")
    for finding in cause["findings"]:
        table.add_row(finding["source"], word(finding["outcome"]), Text(finding["sentence"]))
    yield table
    for problem in cause["problems"]:
        yield Text(f"  ! {problem}", style="red")
    if cause["window"] is not None:
        yield from map(Text, _window(cause["window"]))
    yield Text()


def _window(window: Document) -> Iterator[str]:
    yield f"suggested training window: {iso(window['since_us'])} to {iso(window['until_us'])}; {window['sentence']}"
    if window["enough_at_us"] is not None:
        yield f"  at the rate of this stretch there will be enough at {iso(window['enough_at_us'])}"


def _receipt_cell(name: str, value: Any) -> str:
    if name == "ticks":
        return f"{len(value)} ticks, see -o json"
    if name == "start":
        return "where the bets stood before them, see -o json"
    if name == "training_window_us":
        return " to ".join(map(iso, value))
    return iso(value) if name.endswith("_us") and value is not None else str(value)


def show_replay(alarm: int, replay: Replay) -> RenderableType:
    """Found and replayed side by side, and the one word that matters."""
    table = table_of("", "when it was raised>", "replayed>")
    for name, value in replay.found.items():
        table.add_row(name, *(_told(name, of) for of in (value, replay.replayed[name])))
    word = Text("same", style="green") if replay.is_same else Text("differs", style="red")
    return Group(Text.assemble(f"alarm {alarm}: ", word), table)


def show_words(alarm: AlarmRow, words: Sequence[WordMoved]) -> RenderableType:
    """The word that moved most first; counts are distinct inputs."""
    head = Text(f"alarm {alarm.id}: slice {alarm.slice} of {alarm.artifact} in task {alarm.task}")
    if not words:
        return Group(head, Text("no word moved, among the texts that are stored"))
    table = table_of("word", "before>", "since>", "points>", "p>")
    for one in words:
        shares = f"{one.then} of {one.of_then}", f"{one.now} of {one.of_now}"
        table.add_row(Text(one.word), *shares, f"{100 * one.change:+.0f}", f"{one.p_value:.1g}")
    return Group(head, table)


def _told(name: str, value: Any) -> str:
    return iso(value) if name.endswith("_us") else repr(value)


def show_outlook(found: Outlook) -> Iterator[RenderableType]:
    """The budget in words, then a table for each harm of each student."""
    yield from map(Text, _budget(found))
    by_student: dict[tuple[str, str], list[SliceOutlook]] = {}
    for line in found.slices:
        by_student.setdefault((line.artifact, line.harm), []).append(line)
    for (artifact, harm), lines in by_student.items():
        yield Text()
        yield _delays(f"{artifact}: expected delay, {_WATCHED[Harm(harm)]}", lines)
        yield Text()
        yield _nulls(lines)
    yield Text()


def _budget(found: Outlook) -> Iterator[str]:
    yield (
        f"task {found.task}: at most {found.false_alarms:g} false alarm{'s' * (found.false_alarms != 1)} expected"
        f" in {found.period_days:g} days, over every slice of every student that answers"
    )
    yield (
        f"  Each tick of {found.tick_seconds:g} s gives out a restart mass of 1, so {found.mass_a_period:,.0f} in"
        f" {found.period_days:g} days. A detector alarms when its wealth reaches"
        f" A = {found.mass_a_period:,.0f} / {found.false_alarms:g} = {found.level:,.0f} (log A {found.log_level:.2f})."
    )
    yield (
        "  Up to any moment, the expected number of false alarms is at most the mass given out until then / A,"
        " however the slices depend on each other."
    )
    if found.mass_a_tick_by_slice is None:
        yield "  No student answers yet, so nothing is watched; its gate will say what the nulls are."
        return
    yield (
        f"  {len(found.slices)} detectors watch, each with a mass of {found.mass_a_tick_by_slice:.4g} a tick;"
        " the rest is kept for slices that show up."
    )
    yield (
        f"  Only a rise of the mean loss counts, and only above the null, which holds a tolerance of"
        f" {percent(found.tolerance)} where it comes from counts. Inputs repeated within a tick count once."
    )
    if found.learning:
        yield (
            f"  {len(found.learning)} slices have fewer than {found.reference_labels} labels, from which their null is"
            " learnt, so that their labels raise no alarm yet."
        )


def _delays(title: str, lines: list[SliceOutlook]) -> Table:
    """Requests of the slice, and hours at its traffic so far."""
    shifts = [f"+{100 * delay.shift:g} points>" for delay in lines[0].delays]
    table = table_of("slice", "mean loss>", "null>", "an hour>", *shifts, title=title)
    for line in lines:
        table.add_row(
            line.slice,
            percent(line.rate),
            percent(line.m0),
            "-" if line.pairs_an_hour is None else f"{line.pairs_an_hour:,.1f}",
            *map(_delay, line.delays),
        )
    table.caption = "of the slice, and time at its traffic so far; never: the rise stays within the null"
    table.caption_justify = "left"
    return table


def _delay(delay: Delay) -> str:
    if delay.requests is None:
        return "never"
    return f"{delay.requests:,.0f}" + ("" if delay.hours is None else f", {_duration(delay.hours)}")


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _nulls(lines: list[SliceOutlook]) -> Table:
    table = table_of("slice", "mean loss measured", "null comes from", "because")
    for line in lines:
        table.add_row(line.slice, _RATES[line.rate_source], line.null_source, Text(line.null_reason))
    return table
