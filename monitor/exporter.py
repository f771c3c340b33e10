"""Prometheus metrics computed from the control file when they are asked for; nothing is kept in between.

At most SLICES_A_TASK slices of a task are exported, those with most pairs; the admin API has all of them.
"""

import math
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import transaction
from ledger.slices import OVERALL, rule_of
from ledger.stages import task_stages
from ledger.tables import DetectorRow, HeartbeatRow
from monitor.calibration import calibration_noise
from monitor.cycle import PROCESS
from monitor.input_metrics import input_metrics
from monitor.intervals import INTERVAL_ALPHA, confidence_sequence
from monitor.reports import merged_sums
from monitor.states import (
    alarm_metrics,
    certificate_metrics,
    job_metrics,
    process_metrics,
    waiting_metrics,
    webhook_metrics,
)
from monitor.sums import SliceSums
from monitor.teacher_metrics import extra_call_metrics, noise_metrics, probe_metrics
from monitor.trigger import log_threshold
from monitor.watch import read_watched

SLICES_A_TASK = 50
RECENT_SECONDS = 3600  # exchanges of the gauges; ratios over a whole life would hide a decay

Slices = list[tuple[str, str, str, SliceSums]]  # task, artifact, slice, recent sums

SLICE_GAUGES: tuple[tuple[str, str, Callable[[SliceSums], float]], ...] = (
    ("stillgate_slice_pairs", "Pairs of the last hour.", lambda sums: sums.pairs),
    (
        "stillgate_slice_labelled_pairs",
        "Pairs of the last hour with a true label.",
        lambda sums: sums.labelled,
    ),
    (
        "stillgate_slice_effective_labels",
        "Equally weighted labels that would say as much as those of the last hour.",
        lambda sums: sums.effective_labels,
    ),
    ("stillgate_slice_fidelity_ratio", "Agreement with the teacher.", lambda sums: sums.fidelity),
    (
        "stillgate_slice_fidelity_low_ratio",
        "Lower 95 % bound of the agreement with the teacher.",
        lambda sums: _fidelity_bounds(sums)[0],
    ),
    (
        "stillgate_slice_fidelity_high_ratio",
        "Upper 95 % bound of the agreement with the teacher.",
        lambda sums: _fidelity_bounds(sums)[1],
    ),
    ("stillgate_slice_accuracy_ratio", "Agreement with true labels.", lambda sums: sums.accuracy),
    (
        "stillgate_slice_teacher_accuracy_ratio",
        "The teacher's agreement with true labels, over the same pairs.",
        lambda sums: sums.teacher_accuracy,
    ),
    (
        "stillgate_slice_calibration_error_ratio",
        "Expected calibration error against the teacher.",
        lambda sums: sums.calibration_error,
    ),
    (
        "stillgate_slice_label_calibration_error_ratio",
        "Expected calibration error against true labels.",
        lambda sums: sums.label_calibration_error,
    ),
    (
        "stillgate_slice_divergence_bits",
        "Mean Jensen-Shannon divergence from the teacher.",
        lambda sums: sums.mean_divergence_bits,
    ),
    (
        "stillgate_slice_calibration_noise_ratio",
        "Calibration error that few answers alone explain, 95 % quantile.",
        lambda sums: calibration_noise(sums.reliability),
    ),
    (
        "stillgate_slice_temperature",
        "Temperature at which the student fits its teacher best, 1 when it is as sure as it should be.",
        lambda sums: sums.temperature,
    ),
)


class ControlFileCollector(Collector):
    """Register with a prometheus_client CollectorRegistry."""

    def __init__(self, engine: Engine, configuration: Configuration) -> None:
        self._engine, self._configuration = engine, configuration

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering does not read the file

    def collect(self) -> Iterable[Metric]:
        with transaction(self._engine) as session:
            return list(_metrics(session, self._configuration))


def _metrics(session: Session, configuration: Configuration) -> Iterator[Metric]:
    slices: Slices = []
    counts = GaugeMetricFamily(
        "stillgate_slices", "Slices with recent pairs, exported or not.", labels=["task"]
    )
    for task in configuration.task:
        found = _recent(session, task)
        counts.add_metric([task.name], len({name for _, _, name, _ in found}))
        slices += _exported(found)
    yield counts
    yield from _slice_gauges(slices)
    yield _bars(configuration, slices)
    yield from _detector_gauges(session, configuration, slices)
    yield from input_metrics(session, configuration, slices)
    yield from _tick_metrics(session)
    yield from alarm_metrics(session, configuration)
    yield from certificate_metrics(session, configuration, SLICES_A_TASK)
    yield from job_metrics(session, configuration)
    yield from waiting_metrics(session)
    yield from process_metrics(session, configuration)
    yield from webhook_metrics(session)
    yield from extra_call_metrics(configuration)
    yield from probe_metrics(session, configuration)
    yield from noise_metrics(session, configuration, SLICES_A_TASK)


def _recent(session: Session, task: TaskSection) -> Slices:
    since_us = now_us() - RECENT_SECONDS * 1_000_000
    return [
        (task.name, artifact, name, sums)
        for artifact in task_stages(session, task.name).answering
        for name, sums in merged_sums(session, task.name, artifact, since_us=since_us).items()
    ]


def _exported(found: Slices) -> Slices:
    """The slices with most pairs over all students, the overall one always."""
    pairs: dict[str, int] = {}
    for _, _, name, sums in found:
        pairs[name] = pairs.get(name, 0) + sums.pairs
    ranked = sorted(pairs, key=lambda name: (name != OVERALL, -pairs[name], name))
    chosen = set(ranked[:SLICES_A_TASK])
    return [entry for entry in found if entry[2] in chosen]


def _slice_gauges(slices: Slices) -> Iterator[Metric]:
    for name, documentation, value in SLICE_GAUGES:
        gauge = GaugeMetricFamily(name, documentation, labels=["task", "artifact", "slice"])
        for task, artifact, slice_name, sums in slices:
            if not math.isnan(value(sums)):
                gauge.add_metric([task, artifact, slice_name], value(sums))
        yield gauge


def _fidelity_bounds(sums: SliceSums) -> tuple[float, float]:
    """They hold at every look; nan where there is nothing to bound."""
    if not sums.pairs:
        return math.nan, math.nan
    return confidence_sequence(sums.agreements, sums.pairs, INTERVAL_ALPHA)


def _bars(configuration: Configuration, slices: Slices) -> Metric:
    text = "Least fidelity that is acceptable; no series for a slice without a bar."
    bars = GaugeMetricFamily("stillgate_slice_bar_ratio", text, labels=["task", "slice"])
    tasks = {task.name: task for task in configuration.task}
    for name, slice_name in sorted({(task, slice_name) for task, _, slice_name, _ in slices}):
        task = tasks[name]
        rule = rule_of(task.rules, slice_name)
        bar = task.gate.bar if slice_name == OVERALL else rule.bar if rule is not None else None
        if bar is not None:
            bars.add_metric([name, slice_name], bar)
    return bars


def _detector_gauges(session: Session, configuration: Configuration, slices: Slices) -> Iterator[Metric]:
    labels = ["task", "artifact", "slice", "harm"]
    wealth = GaugeMetricFamily(
        "stillgate_detector_log_wealth",
        "Evidence against the null; an alarm at the threshold.",
        labels=labels,
    )
    null = GaugeMetricFamily(
        "stillgate_detector_null_ratio", "Mean loss that the detector holds against.", labels=labels
    )
    limit = GaugeMetricFamily(
        "stillgate_detector_log_threshold", "Log-wealth that raises an alarm.", labels=["task"]
    )
    for task in configuration.task:
        budget, tick_seconds = task.trigger, configuration.monitor.tick_seconds
        limit.add_metric([task.name], log_threshold(budget.false_alarms, budget.period_days, tick_seconds))
    chosen = {entry[:3] for entry in slices}
    for row in session.exec(select(DetectorRow)):
        watched = read_watched(row.state)
        if watched is not None and (row.task, row.artifact, row.slice) in chosen:
            wealth.add_metric([row.task, row.artifact, row.slice, row.harm], watched.detector.log_wealth)
            null.add_metric([row.task, row.artifact, row.slice, row.harm], watched.detector.terms.m0)
    yield from (wealth, null, limit)


def _tick_metrics(session: Session) -> Iterator[Metric]:
    heartbeat = session.get(HeartbeatRow, PROCESS)
    age = GaugeMetricFamily("stillgate_monitor_tick_age_seconds", "Time since the monitor's last tick.")
    pairs = CounterMetricFamily("stillgate_monitor_pairs", "Pairs folded into sums.")
    unusable = CounterMetricFamily(
        "stillgate_monitor_unusable", "Answered inputs that gave no pair.", labels=["reason"]
    )
    overflow = CounterMetricFamily(
        "stillgate_slice_overflow_pairs",
        "Pairs of values above max_values of their rule.",
        labels=["task", "rule"],
    )
    lost = CounterMetricFamily(
        "stillgate_labels_lost", "True labels of exchanges that were not in the record a day later."
    )
    if heartbeat is not None:
        lost.add_metric([], heartbeat.report.get("lost_labels", 0))
        age.add_metric([], (now_us() - heartbeat.at_us) / 1e6)
        pairs.add_metric([], heartbeat.report["pairs"])
        for reason, count in heartbeat.report["unusable"].items():
            unusable.add_metric([reason], count)
        for slices, count in heartbeat.report.get("overflow", {}).items():
            overflow.add_metric([*slices.split("/")], count)
    yield from (age, pairs, unusable, overflow, lost)
