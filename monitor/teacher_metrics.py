"""Metrics of what the teacher is asked beside its callers' requests, and of what that shows of it."""

from collections.abc import Iterator
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily, Metric

from ledger.configuration import Configuration
from ledger.extra_calls import used


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
