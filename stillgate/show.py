"""How the admin API's documents look in a terminal: tables for people, never read back by a program."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.alarms import LABELS_MOVED
from ledger.clock import iso

Document = Mapping[str, Any]

_STYLES = {
    "pass": "green",
    "healthy": "green",
    "succeeded": "green",
    "full": "green",
    "canary": "green",
    "fail": "red",
    "failed": "red",
    "degraded": "red",
    "rolled_back": "red",
    "inconclusive": "yellow",
    "paused": "yellow",
    "running": "yellow",
    "moved": "red",
    "moved_earlier": "yellow",
    "still": "green",
    "unknown": "yellow",
}


def show_status(document: Document) -> RenderableType:
    """What serves, whether the student is safe, who must act."""
    return Group(
        Text.assemble(document["deployment"], "  ", word(document["health"])),
        *(Text(f"  ! {problem}", style="red") for problem in document["problems"]),
        *(part for task in document["tasks"] for part in _task(task, document)),
        *_gateways(document),
    )


def word(text: str) -> Text:
    return Text(text.replace("_", " "), style=_STYLES.get(text, ""))


def percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _task(task: Document, document: Document) -> Iterator[RenderableType]:
    yield Text()
    yield Text.assemble(("task " + task["task"], "bold"), f"  revision {task['revision']}: {serves(task)}")
    if task["students"]:
        yield _students(task)
        for student in task["students"]:
            if student["judged"]:
                yield Text()
                yield _judged(student)
        for student in task["students"]:
            if student["erased"]:
                yield Text(f"{student['artifact']} was {erased_rows(student['erased'])}", style="yellow")
    for artifact in dict.fromkeys(line["artifact"] for line in task["slices"]):
        yield Text()
        yield _slices(task, artifact, document["recent_seconds"])
    for rule in task["rules"]:
        if rule["phase"] != "joined" and rule["share_read"] is not None:
            yield Text(
                f"slice rule {rule['rule']} is being measured over the past: {percent(rule['share_read'], 0)}",
                style="yellow",
            )
    yield from _teacher(task)
    yield from _open_jobs(task)
    if task["not_distillable"] is not None:
        yield Text(task["not_distillable"], style="red")
    for erasure in task["erasures"]:
        if erasure["done_at_us"] is None:
            yield Text(f"erasure {erasure['id']} is not done yet: step {erasure['step']}", style="yellow")
    for alarm in task["alarms"][:3]:
        yield Text(
            f"alarm {alarm['id']} on slice {alarm['slice']} of {alarm['artifact']}, {iso(alarm['at_us'])},"
            f" {alarm['harm'].replace('_', ' ')}: {alarm_said(alarm)}"
        )
        if alarm["cause"] is not None:
            yield Text(f"    {alarm['cause']['summary']}")
    for act in document["acts"]:
        if act["task"] == task["task"]:
            yield Text.assemble((act["who"], "bold"), f": {act['what']}\n    ", (act["command"], "cyan"))


def alarm_said(alarm: Document) -> str:
    """What it led to, or why it was refused."""
    if alarm["decision"] == LABELS_MOVED:
        return f"refused: {alarm['decision_reason']}"
    return str(alarm["decision"]).replace("_", " ") + (f", job {alarm['job_id']}" if alarm["job_id"] else "")


def serves(task: Document) -> str:
    """One sentence on who answers callers."""
    serving = task["serving"]
    if serving is None:
        shadow = sum(student["stage"] == "shadow" for student in task["students"])
        return f"the teacher serves everything; {shadow or 'no'} student{'s' * (shadow != 1)} in shadow"
    return (
        f"{serving['artifact']} serves {percent(serving['share'], 0)} of requests where its certificate"
        " allows, the teacher the rest"
    )


def _students(task: Document) -> Table:
    table = table_of("student", "stage", "share>", "kind", "gate", "live verdict", "why")
    for student in task["students"]:
        table.add_row(
            student["artifact"],
            word(student["stage"]),
            percent(student["share"], 0) if student["share"] else "",
            student["kind"],
            word(student["gate_outcome"]),
            word(student["outcome"] or ""),
            Text(student["problem"] or next(iter(student["reasons"]), "")),
        )
    return table


def _judged(student: Document) -> Table:
    """Every criterion of the overall slice, and what critical slices do not pass."""
    table = table_of(
        "slice", "judged by", "verdict", "value>", "at every look>", "bar>", "of>",
        title=f"{student['artifact']}: live verdict",
    )  # fmt: skip
    for line in student["judged"]:
        for one in line["criteria"]:
            if line["slice"] == "all" or one["outcome"] in ("fail", "inconclusive"):
                is_judged = one["outcome"] != "not_judged"
                bounds = f"{_plain(one['low'])}-{_plain(one['high'])}" if is_judged else ""
                table.add_row(
                    Text(line["slice"]),
                    Text(one["criterion"]),
                    word(one["outcome"]),
                    _plain(one["value"]) if is_judged else "",
                    bounds,
                    _plain(one["bar"]) if is_judged else "",
                    str(one["count"]) if is_judged else "",
                )
    return table


def _plain(value: float | None) -> str:
    """A share, or seconds."""
    return "?" if value is None else f"{value:.4g}"


def erased_rows(erased: Document) -> str:
    """One sentence on the rows that a student was made with and that were erased since."""
    bound = "at most " if erased["is_bound"] else ""
    trained, judged = erased["training_rows"], erased["gate_rows"]
    parts = [f"trained on {bound}{trained}"] if trained else []
    parts += [f"judged on {judged}"] if judged else []
    last = iso(erased["at_us"])[:10]
    return f"{' and '.join(parts)} row{'s' * (trained + judged > 1)} that were erased, the last on {last}"


def _slices(task: Document, artifact: str, recent_seconds: float) -> Table:
    table = table_of(
        "slice", "bar>", "at its gate>", "live>", f"last {recent_seconds:g} s>", "pairs>", "teacher itself>",
        "accuracy>", "teacher's>", "labels>", "calibration error>", "serves from>", title=artifact,
    )  # fmt: skip
    for line in task["slices"]:
        if line["artifact"] == artifact:
            table.add_row(*_slice(line))
    table.caption = "in brackets: 95 %, at every look"
    table.caption_justify = "left"
    return table


def _slice(line: Document) -> list[RenderableType]:
    error, threshold = line["calibration_error"], line["threshold"]
    return [
        Text(line["slice"] + (" *" if line["critical"] else "")),
        percent(line["bar"], 0),
        _share(line["gate"], None),
        _share(line, line["bar"]).append(_between(line, "fidelity")),
        _share(line["now"], line["bar"]).append(_between(line["now"], "fidelity")),
        str(line["pairs"]),
        _share(line["teacher_again"], None),
        percent(line["accuracy"]) + _between(line, "accuracy"),
        percent(line["teacher_accuracy"]) + _between(line, "teacher_accuracy"),
        labels_said(line["labelled"], line["effective_labels"]),
        "-" if error is None else f"{error:.3f}",
        _serves_from(threshold, line["void"]),
    ]


def _between(line: Document | None, name: str) -> str:
    """Bounds that hold at every look."""
    if line is None or line[f"{name}_low"] is None:
        return ""
    return f" ({100 * line[f'{name}_low']:.1f}-{100 * line[f'{name}_high']:.1f})"


def labels_said(labelled: int, effective: float) -> str:
    """How many labels there are and, where weights make them fewer, how many they count as."""
    return f"{labelled:,}" + (f" as {effective:,.0f}" if round(effective) < labelled else "")


def _serves_from(threshold: float | None, void: bool) -> Text:
    if threshold is not None:
        return Text(f"{threshold:.2f}")
    return Text("teacher, void", style="red") if void else Text("teacher")


def _share(part: Document | None, bar: float | None) -> Text:
    """Agreements over pairs, red below the bar."""
    if part is None or not part["pairs"]:
        return Text("-")
    share = part["agreements"] / part["pairs"]
    return Text(percent(share), style="red" if bar is not None and share < bar else "")


def _open_jobs(task: Document) -> Iterator[Text]:
    for job in task["jobs"]:
        if job["status"] in ("waiting", "running"):
            yield Text(f"job {job['id']} {job['status']}: {job['phase']} {percent(job['progress'], 0)}")


def _teacher(task: Document) -> Iterator[Text]:
    """What its probes show, its changes, and what it was asked today beside its callers' requests."""
    probes = task["probes"]
    if probes is not None and probes["last_pass"] is not None:
        last = probes["last_pass"]
        yield Text(
            f"teacher, {probes['probes']} probes: {last['changed']} of {last['replies']} replies of the last pass"
            f" differ from the first ones, {percent(probes['changed_low'])} to {percent(probes['changed_high'])} over"
            f" {probes['passes']} pass{'es' * (probes['passes'] != 1)}"
        )
    for change in task["teacher_changes"][:3]:
        style = "red" if change["voids"] else "yellow"
        yield Text(f"teacher changed, {iso(change['at_us'])}: {change['sentence']}", style=style)
    yield from _extra_calls(task["extra_calls"])


def _extra_calls(calls: Document) -> Iterator[Text]:
    """What the teacher was asked today beside its callers' requests, where anything was."""
    used = {purpose: count for purpose, count in (calls["used"] or {}).items() if count}
    if used:
        total, parts = sum(used.values()), ", ".join(f"{purpose} {count}" for purpose, count in used.items())
        style = "yellow" if total >= calls["per_day"] else ""
        yield Text(
            f"extra calls to the teacher on {calls['day']}: {total} of {calls['per_day']} ({parts})",
            style=style,
        )


def _gateways(document: Document) -> Iterator[RenderableType]:
    if document["gateways"]:
        yield Text()
        table = table_of("gateway", "requests>", "recorded>", "dropped>", "pending>", "dropped by reason")
        for gateway in document["gateways"]:
            dropped = gateway["dropped"]
            counts = [gateway["requests"], gateway["recorded"], sum(dropped.values()), gateway["pending"]]
            reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.items())
            table.add_row(gateway["gateway"], *map(str, counts), reasons)
        yield table


def show_student(document: Document) -> RenderableType:
    """Gate report, certificate and lineage of one student."""
    manifest = document["manifest"]
    head = Text.assemble(
        (document["artifact"], "bold"), "  ", word(document["stage"]), f"  {document['kind']}"
    )
    if manifest is None:
        return Group(head, Text(f"  ! {document['problem']}", style="red"))
    lineage = manifest["lineage"]
    return Group(
        head,
        Text(
            f"job {lineage['job_id']} ({lineage['cause']}), parent {lineage['parent'] or 'none'},"
            f" teacher epoch {lineage['teacher_epoch']}, {manifest['milliseconds_per_answer']:.3f} ms an answer"
        ),
        *([Text(erased_rows(document["erased"]), style="yellow")] if document["erased"] else []),
        Text.assemble("gate ", word(manifest["gate"]["outcome"]), f" at alpha {manifest['gate']['alpha']:g}"),
        *(Text(f"  {reason}") for reason in manifest["gate"]["reasons"]),
        _gate_table(manifest, document["certificate"]),
        *_criteria(manifest["gate"]["criteria"]),
        *(_certificate(document["certificate"]) if document["certificate"] else ()),
    )


def _gate_table(manifest: Document, certificate: Document | None) -> Table:
    table = table_of("slice", "verdict", "pairs>", "agree>", "lower bound>", "bar>", "serves from>", "reason")
    thresholds = certificate["thresholds"] if certificate else {}
    void = certificate["void_slices"] if certificate else ()
    for line in manifest["gate"]["verdicts"]:
        threshold = thresholds.get(line["slice"])
        table.add_row(
            Text(line["slice"] + (" *" if line["critical"] else "")),
            word(line["outcome"]),
            str(line["pairs"]),
            str(line["agreements"]),
            f"{line['lower_bound']:.3f}",
            "-" if line["bar"] is None else f"{line['bar']:.3f}",
            _serves_from(threshold, line["slice"] in void),
            Text(line["reason"]),
        )
    return table


def _criteria(rows: list[Document]) -> Iterator[RenderableType]:
    """What was judged beside fidelity; the card has what was told and not judged."""
    judged = [row for row in rows if row["outcome"] != "not_judged"]
    if judged:
        table = table_of("criterion", "what", "verdict", "value>", "bar>", "of>", "reason")
        for row in judged:
            table.add_row(
                Text(row["criterion"].replace("_", " ")),
                Text(row["name"]),
                word(row["outcome"]),
                _plain(row["value"]),
                _plain(row["bar"]),
                str(row["count"]),
                Text(row["reason"]),
            )
        yield Text()
        yield table


def _certificate(certificate: Document) -> Iterator[RenderableType]:
    """What each line proves, and whether it still holds."""
    yield Text()
    yield Text(
        f"certificate of {iso(certificate['issued_at_us'])}: disagreement with teacher"
        f" {certificate['teacher_epoch']} at most {percent(certificate['max_disagreement'])} wherever it serves,"
        f" with probability {percent(1 - certificate['delta'])}"
    )
    if certificate["saved_low"] is not None:
        yield Text(
            f"it serves at least {percent(certificate['served_low'])} of requests and saves at least"
            f" {percent(certificate['saved_low'])} of the teacher's cost, by the rows of its gate"
        )
    table = table_of("line", "serves from>", "disagree>", "accepted>", "of pairs>", "coverage>", "now")
    for line in certificate["lines"]:
        table.add_row(
            Text(line["slice"] + (f" ({', '.join(line['pool'])})" if line["pool"] else "")),
            f"{line['confidence']:.3f}",
            str(line["disagreements"]),
            str(line["accepted"]),
            str(line["pairs"]),
            f"{line['coverage_low']:.3f}-{line['coverage_high']:.3f}",
            _standing(line),
        )
    yield table


def _standing(line: Document) -> Text:
    if line["cause"] is not None:
        return Text(f"void, {line['cause'].replace('_', ' ')}: {line['reason']}", style="red")
    until = f" until {iso(line['valid_until_us'])}" if line["valid_until_us"] is not None else ""
    return Text(f"holds{until}", style="green")


def table_of(*columns: str, title: str | None = None) -> Table:
    """Columns that end in > are numbers."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="dim")
    for column in columns:
        table.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left")
    return table
