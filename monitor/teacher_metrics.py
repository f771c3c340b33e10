"""Metrics of what the teacher is asked beside its callers' requests, and of what that shows of it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlmodel import Session, col, func, select

from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.exchange import TEACHER_AGAIN
from ledger.extra_calls import used
from ledger.slices import OVERALL
from ledger.tables import TeacherChangeRow
from ledger.teacher_changes import ChangeKind
from monitor.intervals import INTERVAL_ALPHA, confidence_sequence
from monitor.probe_watch import Compared, ProbeWatch, log_threshold
from monitor.reports import merged_sums
from monitor.sums import SliceSums
from monitor.teacher_watch import probe_watch


def extra_call_metrics(configuration: Configuration) -> Iterator[Metric]:
    """Of all gateways together; no series for a task whose count cannot be read."""
    text = "Calls to the teacher that no caller asked for, since midnight UTC, by what they are for."
    today = GaugeMetricFamily("stillgate_extra_calls_today", text, labels=["task", "purpose"])
    text = "As many extra calls to the teacher may be made in a day; those beyond it are refused and counted."
    limit = GaugeMetricFamily("stillgate_extra_calls_limit", text, labels=["task"])
    for task in configuration.task:
        limit.add_metric([task.name], task.extra_calls.per_day)
        with suppress(OSError):
            for purpose, count in used(configuration.deployment.data_directory, task.name).items():
                today.add_metric([task.name, purpose], count)
    yield from (today, limit)


def probe_metrics(session: Session, configuration: Configuration) -> Iterator[Metric]:
    """No series for a task before its first pass has ended; changes of all kinds are there from the start."""
    gauges = [
        (GaugeMetricFamily(f"stillgate_probe_{name}", text, labels=["task"]), value)
        for name, text, value in _PROBE_GAUGES
    ]
    text = "Log-wealth against an unchanged teacher that says it has changed."
    limit = GaugeMetricFamily("stillgate_probe_log_threshold", text, labels=["task"])
    for task in configuration.task:
        watch = probe_watch(session, task.name) if task.probe is not None else None
        if watch is None or task.probe is None:
            continue
        limit.add_metric([task.name], log_threshold(task.probe))
        for gauge, value in gauges:
            if not math.isnan(number := value(watch)):
                gauge.add_metric([task.name], number)
    text = "Changes of the teacher that probes have shown, by what changed."
    changes = CounterMetricFamily("stillgate_teacher_changes", text, labels=["task", "kind"])
    query = select(TeacherChangeRow.task, TeacherChangeRow.kind, func.count())
    grouped = query.group_by(col(TeacherChangeRow.task), col(TeacherChangeRow.kind))
    found = {(task, kind): count for task, kind, count in session.exec(grouped)}
    for task in configuration.task:
        for kind in ChangeKind:
            changes.add_metric([task.name, kind], found.get((task.name, kind), 0))
    yield from (gauge for gauge, _ in gauges)
    yield from (limit, changes)


def _of_last(watch: ProbeWatch, value: Callable[[Compared], float]) -> float:
    """Of the last pass that has ended; nan before, or where it had no reply."""
    if watch.last is None or not watch.last.compared.replies:
        return math.nan
    return value(watch.last.compared) / watch.last.compared.replies


def _bounds(watch: ProbeWatch) -> tuple[float, float]:
    """They hold at every look."""
    if not watch.total.replies:
        return math.nan, math.nan
    return confidence_sequence(watch.total.changed, watch.total.replies, INTERVAL_ALPHA)


_PROBE_GAUGES: tuple[tuple[str, str, Callable[[ProbeWatch], float]], ...] = (
    (
        "changed_ratio",
        "Replies of the last pass that name another class than the first reply to the same request.",
        lambda watch: _of_last(watch, lambda compared: compared.changed),
    ),
    (
        "changed_low_ratio",
        "Lower 95 % bound of the share of changed replies, over all passes.",
        lambda watch: _bounds(watch)[0],
    ),
    (
        "changed_high_ratio",
        "Upper 95 % bound of the share of changed replies, over all passes.",
        lambda watch: _bounds(watch)[1],
    ),
    (
        "variation_ratio",
        "Mean total variation of the last pass from the first replies.",
        lambda watch: _of_last(watch, lambda compared: compared.variation),
    ),
    (
        "log_wealth",
        "Evidence of the probes that the teacher has changed; a change at the threshold.",
        lambda watch: watch.detector.log_wealth if watch.detector is not None else math.nan,
    ),
    (
        "pass_age_seconds",
        "Time since the last pass that has ended began.",
        lambda watch: math.nan if watch.last is None else (now_us() - watch.last.began_at_us) / 1e6,
    ),
    ("failures", "Probes that got no readable reply, since the first replies.", lambda watch: watch.failures),
)


def noise_metrics(session: Session, configuration: Configuration, most: int) -> Iterator[Metric]:
    """At most so many slices of a task, those with most requests that were asked twice."""
    labels = ["task", "slice"]
    text = "Inputs that the teacher was asked twice, over the whole record."
    pairs = GaugeMetricFamily("stillgate_teacher_again_pairs", text, labels=labels)
    text = "Share of them whose second answer names another class: what a student cannot be blamed for."
    noise = GaugeMetricFamily("stillgate_teacher_noise_ratio", text, labels=labels)
    text = "Lower 95 % bound of the teacher's disagreement with itself."
    lows = GaugeMetricFamily("stillgate_teacher_noise_low_ratio", text, labels=labels)
    text = "Upper 95 % bound of the teacher's disagreement with itself."
    highs = GaugeMetricFamily("stillgate_teacher_noise_high_ratio", text, labels=labels)
    for task in configuration.task:
        found = merged_sums(session, task.name, TEACHER_AGAIN)
        for name in _ranked(found)[:most]:
            sums = found[name]
            low, high = confidence_sequence(sums.pairs - sums.agreements, sums.pairs, INTERVAL_ALPHA)
            values = (pairs, sums.pairs), (noise, 1 - sums.fidelity), (lows, low), (highs, high)
            for gauge, value in values:
                gauge.add_metric([task.name, name], value)
    yield from (pairs, noise, lows, highs)


def _ranked(found: Mapping[str, SliceSums]) -> list[str]:
    """The overall slice first, then those with most pairs."""
    return sorted(found, key=lambda name: (name != OVERALL, -found[name].pairs, name))
