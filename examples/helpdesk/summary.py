"""The end of the demo: what was measured, in tables, each figure beside the number of pairs behind it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from examples.helpdesk.narrator import Narrator
from ledger.artifacts import Certificate
from monitor.comparison import PairedCounts
from monitor.intervals import holm, paired_loss_upper_bound, paired_p_value

OVERALL = "all"
AREA = "area="
ALPHA = 0.05
VERDICT_STYLE = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
VERDICT_WORD = {"pass": "pass", "fail": "fail", "inconclusive": "not provable"}


@dataclass(frozen=True, slots=True)
class Chapter:
    """The slices of one student over one stretch of traffic, as the admin API reports them."""

    since_us: int
    until_us: int
    slices: Mapping[str, Mapping[str, Any]]

    @property
    def pairs(self) -> int:
        return int(self.slices[OVERALL]["pairs"]) if OVERALL in self.slices else 0

    @property
    def overall_fidelity(self) -> float:
        return self.fidelity(OVERALL)

    def fidelity(self, name: str) -> float:
        row = self.slices.get(name)
        return float("nan") if row is None or row["fidelity"] is None else float(row["fidelity"])

    def pooled(self, names: Iterable[str]) -> tuple[int, int]:
        """(agreements, pairs) over several slices that do not overlap."""
        rows = [self.slices[name] for name in names if name in self.slices]
        return sum(row["agreements"] for row in rows), sum(row["pairs"] for row in rows)


@dataclass(frozen=True, slots=True)
class Served:
    """Shares of requests that the student answered, and why the teacher answered the others of its arm."""

    canary: float
    full: float
    fallbacks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both students on the same inputs: every slice, and the unaffected areas together."""

    slices: Sequence[Mapping[str, Any]]
    unaffected: PairedCounts
    harmed: Sequence[str]  # unaffected areas whose loss is significant after Holm


def comparison(rows: Sequence[Mapping[str, Any]], drift_areas: Sequence[str]) -> Comparison:
    """Pool the areas that did not drift and test each of them, all at once by Holm."""
    drifted = {AREA + area for area in drift_areas}
    unaffected = [row for row in rows if row["slice"].startswith(AREA) and row["slice"] not in drifted]
    p_values = [paired_p_value(row["losses"], row["gains"]) for row in unaffected]
    significant = holm(p_values, ALPHA)
    pooled = PairedCounts(
        *(
            sum(row[field] for row in unaffected)
            for field in ("inputs", "old_agreements", "new_agreements", "losses", "gains")
        )
    )
    harmed = [row["slice"] for row, holds in zip(unaffected, significant, strict=True) if holds]
    return Comparison(rows, pooled, harmed)


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the summary shows."""

    drift_areas: tuple[str, ...]
    before: Chapter
    at_alarm: Chapter
    after: Chapter
    alarm: Mapping[str, Any]
    student: Mapping[str, Any]  # the new one, with its manifest
    comparison: Comparison
    served: Served
    teacher_milliseconds: float
    repair_seconds: float
    accounts: Sequence[Mapping[str, Any]]  # of each gateway

    @property
    def drifted(self) -> list[str]:
        return [AREA + area for area in self.drift_areas]

    @property
    def own(self) -> list[str]:
        """The areas that the first student was distilled on."""
        return [name for name in self.before.slices if name.startswith(AREA) and name not in self.drifted]


def tell(narrator: Narrator, findings: Findings) -> None:
    narrator.chapter("What was measured")
    narrator.table(_slices(findings))
    narrator.table(_alarm(findings))
    narrator.table(_gate(findings.student))
    narrator.table(_comparison(findings))
    narrator.table(_outcome(findings))


def _slices(findings: Findings) -> Table:
    table = _table("Slices: fidelity to the teacher / accuracy / calibration error / pairs")
    for heading in ("slice", "before the drift", "at the alarm", "new student"):
        table.add_column(heading, justify="left" if heading == "slice" else "right")
    chapters = (findings.before, findings.at_alarm, findings.after)
    names = {name for chapter in chapters for name in chapter.slices}
    for name in sorted(names, key=lambda name: (name != OVERALL, name)):
        style = "bold" if name == OVERALL else "cyan" if name in findings.drifted else ""
        table.add_row(name, *(_cell(chapter.slices.get(name)) for chapter in chapters), style=style)
    return table


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["pairs"]:
        return "-"
    figures = (row["fidelity"], row["accuracy"], row["calibration_error"])
    return "  ".join([*(_percent(figure) for figure in figures), f"{row['pairs']:5d}"])


def _alarm(findings: Findings) -> Table:
    table = _table("The alarm's receipt")
    table.add_column("what")
    table.add_column("value")
    receipt = findings.alarm["receipt"]
    name = findings.alarm["slice"]
    table.add_row("slice", name)
    table.add_row("fidelity there since the drift began", _percent(findings.at_alarm.fidelity(name)))
    table.add_row("over all slices since the drift began", _percent(findings.at_alarm.overall_fidelity))
    table.add_row("the student's aggregate at that moment", _percent(findings.alarm["aggregate"]))
    for key, value in receipt.items():
        if isinstance(value, str | int | float):
            table.add_row(key.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
    table.add_row("replay", f"stillgate alarm replay {findings.alarm['id']}")
    return table


def _gate(student: Mapping[str, Any]) -> Table:
    gate = student["manifest"]["gate"]
    thresholds = Certificate.model_validate(student["manifest"]["certificate"]).thresholds
    table = _table(
        f"Gate of the new student ({student['manifest']['kind']}): {gate['outcome']},"
        f" locked as {gate['lock_digest'][:12]}, alpha {gate['alpha']:.3f}"
    )
    for heading in ("slice", "verdict", "agree / pairs", "lower bound", "bar", "serves from confidence"):
        table.add_column(heading)
    for verdict in gate["verdicts"]:
        threshold = thresholds.get(verdict["slice"])
        table.add_row(
            verdict["slice"],
            f"[{VERDICT_STYLE[verdict['outcome']]}]{_word(verdict)}[/]",
            f"{verdict['agreements']} / {verdict['pairs']}",
            f"{verdict['lower_bound']:.3f}",
            "-" if verdict["bar"] is None else f"{verdict['bar']:.2f}",
            "teacher" if threshold is None else f"{threshold:.2f}",
        )
    told = Counter(verdict["outcome"] for verdict in gate["verdicts"])
    table.caption = ", ".join(f"{told[outcome]} {word}" for outcome, word in VERDICT_WORD.items())
    return table


def _word(verdict: Mapping[str, Any]) -> str:
    word = VERDICT_WORD[verdict["outcome"]]
    return f"{word}: no bar" if verdict["bar"] is None else word


def _comparison(findings: Findings) -> Table:
    table = _table("Old and new student on the same fresh requests")
    for heading in ("slice", "old", "new", "inputs", "loss, 95 % upper bound", "significant (Holm)"):
        table.add_column(heading)
    for row in findings.comparison.slices:
        table.add_row(
            row["slice"],
            _percent(row["old_fidelity"]),
            _percent(row["new_fidelity"]),
            str(row["inputs"]),
            f"{row['loss_upper_bound'] * 100:+.1f} points",
            "yes" if row["significant"] else "no",
            style="bold" if row["slice"] == OVERALL else "",
        )
    return table


def _outcome(findings: Findings) -> Table:
    table = _table("Outcome")
    table.add_column("what")
    table.add_column("figure", justify="right")
    own, drifted = (
        _ratio(findings.before.pooled(findings.own)),
        _ratio(findings.after.pooled(findings.drifted)),
    )
    table.add_row("old student on its own areas, before the drift", _percent(own))
    table.add_row("old student on the new areas, at the alarm", _percent(_ratio(_at_alarm(findings))))
    table.add_row("new student on the new areas", _percent(drifted))
    table.add_row("  of what the old one had on its own", _percent(drifted / own))
    unaffected = findings.comparison.unaffected
    loss = (unaffected.losses - unaffected.gains) / unaffected.inputs
    bound = paired_loss_upper_bound(unaffected.losses, unaffected.gains, unaffected.inputs, ALPHA)
    table.add_row(
        f"loss on the unaffected areas, {unaffected.inputs} paired inputs",
        f"{loss * 100:+.1f} points, 95 % upper bound {bound * 100:+.1f}",
    )
    table.add_row("  areas with a significant loss (Holm)", ", ".join(findings.comparison.harmed) or "none")
    manifest = findings.student["manifest"]
    student_ms = manifest["milliseconds_per_answer"]
    table.add_row(
        "requests served by the student in canary (share one half)", _percent(findings.served.canary)
    )
    table.add_row("requests served by the student at full", _percent(findings.served.full))
    table.add_row("from confidence (lowest / highest certified)", _thresholds(manifest["certificate"]))
    table.add_row("fallbacks to the teacher", _counts(findings.served.fallbacks))
    table.add_row("certified: disagreement with the teacher at most", _certified(manifest["certificate"]))
    table.add_row(
        "processor time an answer, teacher / student",
        f"{findings.teacher_milliseconds:.2f} / {student_ms:.2f} ms",
    )
    table.add_row("from the alarm to the new student", f"{findings.repair_seconds:.0f} s")
    table.add_row("requests = recorded + dropped + pending", _identity(findings.accounts))
    return table


def _at_alarm(findings: Findings) -> tuple[int, int]:
    return findings.at_alarm.pooled(findings.drifted)


def _thresholds(certificate: Mapping[str, Any]) -> str:
    thresholds = Certificate.model_validate(certificate).thresholds.values()
    return f"{min(thresholds):.2f} / {max(thresholds):.2f}" if thresholds else "nowhere"


def _certified(certificate: Mapping[str, Any]) -> str:
    return f"{certificate['max_disagreement']:.0%}, with confidence {1 - certificate['delta']:.0%}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items())) or "none"


def _identity(accounts: Sequence[Mapping[str, Any]]) -> str:
    dropped = sum(sum(gateway["dropped"].values()) for gateway in accounts)
    requests, recorded, pending = (
        sum(gateway[field] for gateway in accounts) for field in ("requests", "recorded", "pending")
    )
    return f"{requests} = {recorded} + {dropped} + {pending}"


def _ratio(counts: Sequence[int]) -> float:
    part, whole = counts
    return part / whole if whole else float("nan")


def _percent(value: float | None) -> str:
    return "   -  " if value is None or value != value else f"{value * 100:5.1f}%"


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        header_style="dim",
        box=None,
    )
