"""Prometheus metrics computed from the control file when they are asked for; nothing is kept in between.

At most SLICES_A_TASK slices of a task are exported, those with most pairs; the admin API has all of them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlmodel import Session, col, func, select

from ledger.certificates import VoidCause, certified_rows, standings
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import transaction
from ledger.gateway_beats import beat_ages
from ledger.slices import OVERALL
from ledger.stages import task_stages
from ledger.tables import AlarmRow, DetectorRow, HeartbeatRow
from monitor.cycle import PROCESS, answering_students
from monitor.references import certificates
from monitor.reports import merged_sums
from monitor.sums import SliceSums
from monitor.trigger import log_threshold
from monitor.watch import read_watched

SLICES_A_TASK = 50
HOLDS = "holds"  # state of a certificate's line that nothing voided
RECENT_SECONDS = 3600  # exchanges of the gauges; ratios over a whole life would hide a decay

Slices = list[tuple[str, str, str, SliceSums]]  # task, artifact, slice, recent sums

SLICE_GAUGES: tuple[tuple[str, str, Callable[[SliceSums], float]], ...] = (
    ("stillgate_slice_pairs", "Pairs of the last hour", lambda sums: sums.pairs),
    ("stillgate_slice_fidelity_ratio", "Agreement with the teacher", lambda sums: sums.fidelity),
    ("stillgate_slice_accuracy_ratio", "Agreement with true labels", lambda sums: sums.accuracy),
    (
        "stillgate_slice_calibration_error_ratio",
        "Expected calibration error against the teacher",
        lambda sums: sums.calibration_error,
    ),
    (
        "stillgate_slice_divergence_bits",
        "Mean Jensen-Shannon divergence from the teacher",
        lambda sums: sums.mean_divergence_bits,
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
        "stillgate_slices", "Slices with recent pairs, exported or not", labels=["task"]
    )
    for task in configuration.task:
        found = _recent(session, task)
        counts.add_metric([task.name], len({name for _, _, name, _ in found}))
        slices += _exported(found)
    yield counts
    yield from _slice_gauges(slices)
    yield from _detector_gauges(session, configuration, slices)
    yield _certified_slices(session, configuration)
    yield _alarm_counts(session)
    yield from _tick_metrics(session)
    yield _gateway_ages(configuration)


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


def _detector_gauges(session: Session, configuration: Configuration, slices: Slices) -> Iterator[Metric]:
    labels = ["task", "artifact", "slice"]
    wealth = GaugeMetricFamily(
        "stillgate_detector_log_wealth", "Evidence against the null; an alarm at the threshold", labels=labels
    )
    null = GaugeMetricFamily(
        "stillgate_detector_null_ratio", "Disagreement that the detector holds against", labels=labels
    )
    limit = GaugeMetricFamily(
        "stillgate_detector_log_threshold", "Log-wealth that raises an alarm", labels=["task"]
    )
    for task in configuration.task:
        limit.add_metric([task.name], log_threshold(task.trigger, configuration.monitor.tick_seconds))
    chosen = {entry[:3] for entry in slices}
    for row in session.exec(select(DetectorRow)):
        if (row.task, row.artifact, row.slice) in chosen:
            detector = read_watched(row.state).detector
            wealth.add_metric([row.task, row.artifact, row.slice], detector.log_wealth)
            null.add_metric([row.task, row.artifact, row.slice], detector.m0)
    yield from (wealth, null, limit)


def _certified_slices(session: Session, configuration: Configuration) -> Metric:
    """Every state of every student that answers, 0 where no line is in it."""
    gauge = GaugeMetricFamily(
        "stillgate_certified_slices",
        "Lines of the certificate that hold, or that something voided",
        labels=["task", "artifact", "state"],
    )
    answering = {task.name: answering_students(session, task.name) for task in configuration.task}
    found = certificates(configuration.deployment.data_directory, answering)
    for task in configuration.task:
        for artifact, certificate in found[task.name].items():
            kept = certified_rows(session, task.name, artifact)
            lines = standings(certificate, kept, task, now_us())
            counts = Counter(line.cause or HOLDS for line in lines.values())
            for state in (HOLDS, *VoidCause):
                gauge.add_metric([task.name, artifact, str(state)], counts[state])
    return gauge


def _alarm_counts(session: Session) -> Metric:
    alarms = CounterMetricFamily("stillgate_alarms", "Drift alarms raised", labels=["task", "slice"])
    query = select(AlarmRow.task, AlarmRow.slice, func.count()).group_by(
        col(AlarmRow.task), col(AlarmRow.slice)
    )
    for task, slice_name, count in session.exec(query):
        alarms.add_metric([task, slice_name], count)
    return alarms


def _tick_metrics(session: Session) -> Iterator[Metric]:
    heartbeat = session.get(HeartbeatRow, PROCESS)
    age = GaugeMetricFamily("stillgate_monitor_tick_age_seconds", "Time since the monitor's last tick")
    pairs = CounterMetricFamily("stillgate_monitor_pairs", "Pairs folded into sums")
    unusable = CounterMetricFamily(
        "stillgate_monitor_unusable", "Answered inputs that gave no pair", labels=["reason"]
    )
    overflow = CounterMetricFamily(
        "stillgate_slice_overflow_pairs",
        "Pairs of values above max_values of their rule",
        labels=["task", "rule"],
    )
    if heartbeat is not None:
        age.add_metric([], (now_us() - heartbeat.at_us) / 1e6)
        pairs.add_metric([], heartbeat.report["pairs"])
        for reason, count in heartbeat.report["unusable"].items():
            unusable.add_metric([reason], count)
        for slices, count in heartbeat.report.get("overflow", {}).items():
            overflow.add_metric([*slices.split("/")], count)
    yield from (age, pairs, unusable, overflow)


def _gateway_ages(configuration: Configuration) -> Metric:
    age = GaugeMetricFamily(
        "stillgate_gateway_beat_age_seconds",
        "Time since the gateway's last sign of life; above 15 it hangs or died, without one it was told to stop",
        labels=["gateway"],
    )
    for gateway, seconds in beat_ages(configuration.deployment.data_directory).items():
        age.add_metric([gateway], seconds)
    return age
