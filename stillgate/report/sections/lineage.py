"""Jobs, stage changes and students: what made what."""

from collections.abc import Sequence
from dataclasses import asdict

from monitor.drawing.markup import Markup, joined
from monitor.drawing.tables import VERDICT_KIND, Cell, card, folded, name, paragraph, pill, table
from monitor.drawing.words import NONE, count, moment, number, percent, sentence, words
from stillgate.report.document import Report
from stillgate.report.history import StudentLine
from stillgate.show import erased_rows


def history_section(report: Report) -> Markup:
    jobs = [
        (
            str(job.id),
            words(job.cause) + (f" {job.alarm_id}" if job.alarm_id else ""),
            job.opened_by,
            moment(job.opened_at_us),
            moment(job.finished_at_us),
            words(job.status),
            name(job.artifact) if job.artifact else "; ".join(job.reasons) or job.phase or NONE,
        )
        for job in report.jobs
    ]
    stages = [
        (
            str(line.revision),
            moment(line.at_us),
            name(line.artifact),
            words(line.stage),
            percent(line.share, 0) if line.share else NONE,
            line.actor + (f", approved by {line.approved_by}" if line.approved_by else ""),
            line.reason,
        )
        for line in report.stages
    ]
    return joined(
        _or_none(("job>", "cause", "opened by", "opened, UTC", "ended, UTC", "status", "gave"), jobs, "Jobs"),
        _or_none(
            ("revision>", "at, UTC", "student", "stage", "share>", "by", "reason"), stages, "Stage changes"
        ),
    )


def _or_none(columns: Sequence[str], rows: Sequence[Sequence[Cell]], title: str) -> Markup:
    if not rows:
        return paragraph(f"{title}: none in this time.")
    return card(table(columns, rows, title))


def lineage_section(report: Report) -> Markup:
    if not report.students:
        return paragraph("No student is registered yet.")
    columns = (
        "student", "stage", "kind", "registered, UTC", "job>", "cause", "successor of", "teacher", "gate",
        "training rows>", "ms an answer>", "certified slices>",
    )  # fmt: skip
    reasons = [(name(line.artifact), _said(line)) for line in report.students]
    return joined(
        paragraph("The newest first. Lineage is read from each student's sealed manifest."),
        card(table(columns, map(_student_row, report.students))),
        folded("What the gate said", table(("student", "reasons"), reasons)),
    )


def _student_row(line: StudentLine) -> Sequence[Cell]:
    rows = sum(line.rows.values()) if line.rows else None
    return (
        name(line.artifact),
        words(line.stage) + (f" {percent(line.share, 0)}" if line.share else ""),
        line.kind,
        moment(line.registered_at_us),
        str(line.job_id),
        words(line.cause or NONE) + (f" {line.alarm_id}" if line.alarm_id else ""),
        name(line.parent) if line.parent else "none",
        name(line.teacher_epoch) if line.teacher_epoch else NONE,
        pill(line.gate_outcome, VERDICT_KIND.get(line.gate_outcome, "wait")),
        count(rows),
        number(line.milliseconds_per_answer),
        NONE if line.thresholds is None else count(len(line.thresholds)),
    )


def _said(line: StudentLine) -> str:
    """The gate's reasons, and what became of its rows."""
    gate = sentence("; ".join(line.gate_reasons) or line.problem or "nothing is said")
    return gate if line.erased is None else f"{gate} It was {erased_rows(asdict(line.erased))}."
