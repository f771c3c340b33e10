"""Metrics of what the control file says besides sums: alarms that stand, certificates, jobs, whoever waits.

Each family has a series for every task from the start, so that a rule sees an increase that begins at nothing.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlmodel import Session, col, func, select

from ledger.alarms import counts as alarms_that_count
from ledger.certificates import VoidCause, certified_rows, standings, valid_thresholds
from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.gateway_beats import beat_ages
from ledger.jobs import JobStatus, last_finished_job, open_job
from ledger.slices import OVERALL
from ledger.stages import task_stages
from ledger.tables import AlarmRow, ErasureRow, HeartbeatRow, JobRow, ProposalRow
from monitor.references import answering_students, certificates

ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
HOLDS = "holds"  # state of a certificate's line that nothing has voided
CONTROL = "control"  # the process whose heartbeat tells of webhooks


def alarm_metrics(session: Session, configuration: Configuration) -> Iterator[Metric]:
    alarms = CounterMetricFamily("stillgate_alarms", "Drift alarms raised.", labels=["task", "slice"])
    query = select(AlarmRow.task, AlarmRow.slice, func.count()).where(alarms_that_count())
    found = {
        (task, name): count
        for task, name, count in session.exec(query.group_by(col(AlarmRow.task), col(AlarmRow.slice)))
    }
    for labels, count in ({(task.name, OVERALL): 0 for task in configuration.task} | found).items():
        alarms.add_metric(labels, count)
    text = "Slices with an alarm about a student that still answers."
    standing = GaugeMetricFamily("stillgate_standing_alarms", text, labels=["task", "artifact"])
    for task in configuration.task:
        for artifact in task_stages(session, task.name).answering:
            slices = select(func.count(func.distinct(AlarmRow.slice)))
            of_student = slices.where(
                AlarmRow.task == task.name, AlarmRow.artifact == artifact, alarms_that_count()
            )
            standing.add_metric([task.name, artifact], session.exec(of_student).one())
    yield from (alarms, standing)


def certificate_metrics(session: Session, configuration: Configuration, most: int) -> Iterator[Metric]:
    """At most so many thresholds of a student; all lines are counted."""
    labels = ["task", "artifact"]
    text = "Confidence from which a student may serve a slice, by its certificate."
    thresholds = GaugeMetricFamily("stillgate_certificate_threshold_ratio", text, labels=[*labels, "slice"])
    text = "Lines of a student's certificate that hold, or that something voided, by what did."
    certified = GaugeMetricFamily("stillgate_certified_slices", text, labels=[*labels, "state"])
    text = "Disagreement with the teacher that the certificate allows."
    allowed = GaugeMetricFamily("stillgate_certificate_disagreement_limit_ratio", text, labels=["task"])
    answering = {task.name: answering_students(session, task.name) for task in configuration.task}
    found = certificates(configuration.deployment.data_directory, answering)
    for task in configuration.task:
        allowed.add_metric([task.name], task.fallback.max_disagreement)
        for artifact, certificate in found[task.name].items():
            lines = standings(certificate, certified_rows(session, task.name, artifact), task, now_us())
            counts = Counter(line.cause or HOLDS for line in lines.values())
            for state in (HOLDS, *VoidCause):
                certified.add_metric([task.name, artifact, str(state)], counts[state])
            valid = valid_thresholds(certificate, lines)
            for name in sorted(valid, key=lambda name: (name != OVERALL, name))[:most]:
                thresholds.add_metric([task.name, artifact, name], valid[name])
    yield from (thresholds, certified, allowed)


def job_metrics(session: Session, configuration: Configuration) -> Iterator[Metric]:
    text = "Distillation jobs that have ended, by how."
    ended = CounterMetricFamily("stillgate_jobs_ended", text, labels=["task", "status"])
    text = "1 if the task's newest ended job failed."
    failed = GaugeMetricFamily("stillgate_last_job_failed", text, labels=["task"])
    text = "Time since the task's open job was opened; no series without one."
    age = GaugeMetricFamily("stillgate_open_job_age_seconds", text, labels=["task"])
    query = select(JobRow.task, JobRow.status, func.count())
    found = {
        (task, status): count
        for task, status, count in session.exec(query.group_by(col(JobRow.task), col(JobRow.status)))
    }
    for task in configuration.task:
        for status in ENDED:
            ended.add_metric([task.name, status], found.get((task.name, status), 0))
        last, opened = last_finished_job(session, task.name), open_job(session, task.name)
        failed.add_metric([task.name], float(last is not None and last.status == JobStatus.FAILED))
        if opened is not None:
            age.add_metric([task.name], _age(opened.opened_at_us))
    yield from (ended, failed, age)


def waiting_metrics(session: Session) -> Iterator[Metric]:
    """People who are waited for, or who wait."""
    text = "Time since an open promotion proposal was made; no series without one."
    proposals = GaugeMetricFamily("stillgate_proposal_age_seconds", text, labels=["task"])
    for proposal in session.exec(select(ProposalRow).where(col(ProposalRow.decision).is_(None))):
        proposals.add_metric([proposal.task], _age(proposal.proposed_at_us))
    text = "Time since the oldest erasure that is not done was asked for; no series without one."
    erasures = GaugeMetricFamily("stillgate_erasure_age_seconds", text, labels=["task"])
    oldest = select(ErasureRow.task, func.min(ErasureRow.opened_at_us))
    open_ones = oldest.where(col(ErasureRow.done_at_us).is_(None)).group_by(col(ErasureRow.task))
    for task, opened_at_us in session.exec(open_ones):
        erasures.add_metric([task], _age(opened_at_us))
    yield from (proposals, erasures)


def process_metrics(session: Session, configuration: Configuration) -> Iterator[Metric]:
    text = "Time since a process's last sign of life in the control file."
    processes = GaugeMetricFamily("stillgate_process_beat_age_seconds", text, labels=["process"])
    for row in session.exec(select(HeartbeatRow)):
        processes.add_metric([row.process], _age(row.at_us))
    text = "Time since the gateway's last sign of life; above 15 it hangs or died, without one it was told to stop."
    gateways = GaugeMetricFamily("stillgate_gateway_beat_age_seconds", text, labels=["gateway"])
    directory = configuration.deployment.data_directory
    for gateway, seconds in beat_ages(directory).items():
        gateways.add_metric([gateway], seconds)
    yield from (processes, gateways)
    disk = shutil.disk_usage(directory)
    text = "Bytes that the file system of the data directory has left."
    yield GaugeMetricFamily("stillgate_data_directory_free_bytes", text, value=disk.free)
    text = "Bytes that the file system of the data directory has in all."
    yield GaugeMetricFamily("stillgate_data_directory_size_bytes", text, value=disk.total)


def webhook_metrics(session: Session) -> Iterator[Metric]:
    """As the control process told with its last sign of life; counts begin anew with that process."""
    heartbeat = session.get(HeartbeatRow, CONTROL)
    webhooks: Mapping[str, Mapping[str, Any]] = heartbeat.report.get("webhooks", {}) if heartbeat else {}
    text = "Events that a webhook's receiver has taken."
    delivered = CounterMetricFamily("stillgate_webhook_delivered", text, labels=["webhook"])
    text = "Events that a webhook's receiver will never get, by reason."
    dropped = CounterMetricFamily("stillgate_webhook_dropped", text, labels=["webhook", "reason"])
    text = "Events that wait for a webhook's receiver."
    waiting = GaugeMetricFamily("stillgate_webhook_waiting", text, labels=["webhook"])
    text = "Time for which every attempt at a webhook has failed; 0 while they succeed."
    failing = GaugeMetricFamily("stillgate_webhook_failing_seconds", text, labels=["webhook"])
    for name, account in webhooks.items():
        delivered.add_metric([name], account["delivered"])
        for reason, count in account["dropped"].items():
            dropped.add_metric([name, reason], count)
        waiting.add_metric([name], account["waiting"])
        failing.add_metric([name], account["failing_seconds"])
    yield from (delivered, dropped, waiting, failing)


def _age(at_us: int) -> float:
    return max(0.0, (now_us() - at_us) / 1e6)
