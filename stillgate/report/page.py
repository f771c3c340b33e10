"""The page: a head that says the state, and one section for each question that follows from it."""

from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.shell import whole_page
from monitor.drawing.words import moment, percent, sentence
from stillgate.report.document import Report
from stillgate.report.sections.alarm_lists import alarms_section
from stillgate.report.sections.diagrams import calibration_section, risk_section
from stillgate.report.sections.disagreement_lists import disagreement_section
from stillgate.report.sections.lineage import history_section, lineage_section
from stillgate.report.sections.over_time import time_section
from stillgate.report.sections.slice_table import slice_section
from stillgate.report.sections.statistics_table import statistics_section
from stillgate.report.sections.terms import reading_section
from stillgate.report.sections.what_it_rests_on import coverage_section
from stillgate.report.state import Health

KIND = {Health.HEALTHY: "good", Health.DRIFTING: "bad", Health.CANNOT_SAY: "wait"}

SECTIONS = (
    ("coverage", "What it rests on", coverage_section),
    ("slices", "Slice by slice", slice_section),
    ("time", "Over time", time_section),
    ("statistics", "Calibration and distance", statistics_section),
    ("calibration", "Reliability diagrams", calibration_section),
    ("risk", "Risk and coverage", risk_section),
    ("disagreements", "Worst disagreements", disagreement_section),
    ("alarms", "Alarms", alarms_section),
    ("history", "Jobs and stages", history_section),
    ("lineage", "Students", lineage_section),
    ("reading", "How to read this", reading_section),
)


def page_of(report: Report) -> str:
    """A whole HTML document that refers to nothing outside itself and holds no script."""
    title = f"Stillgate report: {report.task}, {report.state.health}"
    return whole_page(title, _header(report), _main(report), _footer(report))


def _header(report: Report) -> Markup:
    state = report.state
    return element(
        "header",
        None,
        element("h1", None, f"Task {report.task}: {state.health}"),
        element(
            "div",
            {"class_": f"state {KIND[state.health]}", "role": "status"},
            element("p", None, element("b", None, str(state.health)), ": ", sentence(state.why)),
            element("p", None, sentence(state.basis)),
        ),
        *(element("p", {"class_": "problem"}, sentence(problem)) for problem in report.problems),
        _about(report),
        element("nav", {"aria_label": "Sections"}, *(_link(name, title) for name, title, _ in SECTIONS)),
    )


def _link(name: str, title: str) -> Markup:
    return joined(element("a", {"href": f"#{name}"}, title), " ")


def _about(report: Report) -> Markup:
    return element("dl", None, *_pair("time", _time(report)), *_pair("student", _student(report)))


def _pair(term: str, description: str) -> tuple[Markup, Markup]:
    return element("dt", None, term), element("dd", None, description)


def _time(report: Report) -> str:
    period, windows = report.period, report.windows
    if period.is_whole_life:
        asked = "everything that was ever measured"
    else:
        since = "the beginning" if period.since_us is None else moment(period.since_us)
        asked = f"{since} to {'now' if period.until_us is None else moment(period.until_us)} UTC"
    if windows.first_start_us is None:
        return f"{asked}; no window of this student is kept"
    return (
        f"{asked}; {windows.count:,} windows of {windows.window_seconds} s are kept, from"
        f" {moment(windows.first_start_us)} to {moment(windows.last_end_us)} UTC"
    )


def _student(report: Report) -> str:
    if report.student is None:
        return "none yet"
    line = next((line for line in report.students if line.artifact == report.student), None)
    if line is None:
        return f"{report.student}, elsewhere: nothing vouches for what runs there"
    share = f", share {percent(line.share, 0)}" if line.stage in ("canary", "full") else ""
    return f"{line.artifact} ({line.kind}), stage {line.stage}{share}"


def _main(report: Report) -> Markup:
    return element(
        "main",
        None,
        *(
            element("section", {"id": name, "aria_label": title}, element("h2", None, title), draw(report))
            for name, title, draw in SECTIONS
        ),
    )


def _footer(report: Report) -> Markup:
    return element(
        "footer",
        None,
        f"Made {moment(report.made_at_us)} UTC by `stillgate report` for the deployment {report.deployment};"
        f" the same numbers as JSON: --json, schema {report.schema}. docs/report.md says what each of them is.",
    )
