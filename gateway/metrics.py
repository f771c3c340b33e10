"""Every metric of the gateway, declared in one place, on a registry of its own.

What others keep (the accounts, queue lengths, stages) is read when Prometheus asks, in one consistent view.
"""

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, product

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway.audit import AuditDrop
from gateway.coverage import Coverage
from gateway.record import Accounting
from gateway.shadow import ShadowDrop
from gateway.upstream import UpstreamOutcome
from ledger.exchange import Fallback, Outcome, ServedBy, Unpaired
from ledger.extra_calls import Purpose, Refusal
from ledger.stages import Stage

# From a static reply on the same host to a teacher that takes its whole first-byte time.
DURATION_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class UpstreamAccount:
    """Of one task's teacher; tasks that share a teacher share its account."""

    task: str
    outcomes: Mapping[UpstreamOutcome, int]
    connections_open: int
    connections_idle: int
    breaker_open: bool


OVERHEAD_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read when Prometheus asks."""

    accounting: Accounting
    in_flight: int
    in_flight_limit: int
    record_queue_bytes: int
    record_queue_limit_bytes: int
    shadow_queue_inputs: int
    tasks: tuple[str, ...]  # of the configuration
    revisions: dict[str, int]  # task -> stage revision
    stages: tuple[tuple[str, str, Stage, float], ...]  # task, artifact, stage, share
    upstreams: tuple[UpstreamAccount, ...]
    degraded: dict[str, bool]  # part -> it does not do its work
    configuration_loaded_at: float  # seconds since the epoch
    coverage: Coverage
    providers: Mapping[str, Sequence[str]]  # artifact -> what the student process says it runs on
    refused: Mapping[str, int]  # requests that never reached the application, by reason
    extra_calls: Mapping[tuple[str, Purpose], int]  # by task
    extra_calls_refused: Mapping[tuple[str, Purpose, Refusal], int]  # by task


class Durations:
    """A histogram that one thread fills: a tenth of what prometheus_client's locks cost on every request."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._buckets, seconds)] += 1
        self._seconds += seconds

    def family(self, name: str, text: str) -> Metric:
        bounds = [*(str(float(bound)) for bound in self._buckets), "+Inf"]
        cumulated = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=cumulated, sum_value=self._seconds)


class Metrics:
    """What the gateway counts itself."""

    def __init__(self) -> None:
        # a series more for each of a counter's, and nobody asks for it
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left its types out
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.duration = Durations(DURATION_BUCKETS)
        self.overhead = Durations(OVERHEAD_BUCKETS)
        self.served: Counts[tuple[str, ServedBy]] = Counts()  # by task; empty for a path of none
        self.outcomes = dict.fromkeys(Outcome, 0)
        text = "Requests of the student's arm that the teacher answered."
        self.fallbacks = self._by_reason("fallback", text, Fallback)
        self.unpaired = self._by_reason("unpaired", "Exchanges that can never become a pair.", Unpaired)
        self.shadow_answers = self._counter("shadow_answers", "Answers of students off the caller's path.")
        text = "Exchanges that a student should have answered and did not."
        self.shadow_dropped = self._by_reason("shadow_dropped", text, ShadowDrop)
        self.audits = self._counter("audits", "Teacher's answers about requests that the student served.")
        self.audits_dropped = self._by_reason("audits_dropped", "Audits drawn that got no answer.", AuditDrop)

        text = "The teacher's second answers about requests that it had answered."
        self.seconds = self._counter("second_askings", text)
        text = "Second askings drawn that got no answer."
        self.seconds_dropped = self._by_reason("second_askings_dropped", text, AuditDrop)

    def read_gauges_from(self, source: Callable[[], Gauges]) -> None:
        self.registry.register(_OnRequest(self, source))

    def _by_reason(self, name: str, text: str, reasons: type[StrEnum]) -> Counter:
        """Each reason at zero from the start: an increase that begins with a new series is seen by no rule."""
        counter = self._counter(name, text, "reason")
        for reason in reasons:
            counter.labels(reason)
        return counter

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"stillgate_{name}", text, labels, registry=self.registry)


class _OnRequest:
    """A prometheus_client collector."""

    def __init__(self, metrics: Metrics, source: Callable[[], Gauges]) -> None:
        self._metrics, self._source = metrics, source

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        gauges, metrics = self._source(), self._metrics
        text = "From the head of a request to the end of its response."
        yield metrics.duration.family("stillgate_request_duration_seconds", text)
        text = "Duration of a request less what was waited for: the caller, the teacher, the student."
        yield metrics.overhead.family("stillgate_overhead_seconds", text)
        yield _served(metrics.served, gauges.tasks)
        yield _counted("outcomes", "Requests by how they ended.", "outcome", metrics.outcomes.items())
        text = "Requests and connections that were refused before they were started requests."
        yield _counted("connections_refused", text, "reason", gauges.refused.items())
        yield from _accounting(gauges.accounting)
        yield _gauge("inflight_requests", "Requests that have not ended.", gauges.in_flight)
        text = "As many may be in flight; one more is refused with 503."
        yield _gauge("inflight_requests_limit", text, gauges.in_flight_limit)
        yield _gauge("record_queue_bytes", "Bytes that wait to be written.", gauges.record_queue_bytes)
        text = "As many bytes may wait; what comes beyond is dropped and counted."
        yield _gauge("record_queue_limit_bytes", text, gauges.record_queue_limit_bytes)
        yield _gauge("shadow_queue_inputs", "Inputs that wait for the student.", gauges.shadow_queue_inputs)
        yield from _stages(gauges)
        yield from _upstreams(gauges.upstreams)
        yield from _extra_calls(gauges)
        yield from _coverage(gauges.coverage)
        yield _providers(gauges.providers)
        text = "When the configuration that is obeyed was read."
        yield _gauge("configuration_loaded_timestamp_seconds", text, gauges.configuration_loaded_at)
        text = (
            "1 while the part does not work; for any part but the teacher, callers are served all the same."
        )
        yield _labelled("degraded", text, "part", {part: float(on) for part, on in gauges.degraded.items()})


def _served(served: Mapping[tuple[str, ServedBy], int], tasks: Iterable[str]) -> Metric:
    text = "Requests by task and by whose answer the caller received; the task is empty for a path of none."
    counter = CounterMetricFamily("stillgate_served", text, labels=["task", "served_by"])
    kinds = {(task, served_by): 0 for task in ("", *tasks) for served_by in ServedBy}
    for (task, served_by), count in {**kinds, **served}.items():
        counter.add_metric([task, served_by], count)
    return counter


def _accounting(accounting: Accounting) -> Iterator[Metric]:
    """requests = recorded + dropped + pending, over the whole life of the exchange file."""
    yield CounterMetricFamily("stillgate_requests", "Started requests.", value=accounting.requests)
    text = "Requests that were written to the exchange file."
    yield CounterMetricFamily("stillgate_exchanges_recorded", text, value=accounting.recorded)
    text = "Started requests that will never be written to the exchange file."
    dropped = CounterMetricFamily("stillgate_exchanges_dropped", text, labels=["reason"])
    for reason, count in accounting.dropped.items():
        dropped.add_metric([reason], count)
    yield dropped
    yield _gauge("exchanges_pending", "Requests in flight or waiting to be written.", accounting.pending)


def _stages(gauges: Gauges) -> Iterator[Metric]:
    yield _labelled("stage_revision", "The stage revision that is obeyed.", "task", gauges.revisions)
    labels = ["task", "artifact", "stage"]
    info = GaugeMetricFamily("stillgate_stage_info", "1 for the stage of each student.", labels=labels)
    share = GaugeMetricFamily(
        "stillgate_stage_share_ratio", "Share of requests in the arm of each student.", labels=labels[:2]
    )
    for task, artifact, stage, of_requests in gauges.stages:
        info.add_metric([task, artifact, stage], 1)
        share.add_metric([task, artifact], of_requests)
    yield info
    yield share


def _upstreams(accounts: Sequence[UpstreamAccount]) -> Iterator[Metric]:
    text = (
        "Requests to the teacher by how they ended; tasks that share a teacher are counted at the first one."
    )
    requests = CounterMetricFamily("stillgate_upstream_requests", text, labels=["task", "outcome"])
    text = "Connections to the teacher."
    connections = GaugeMetricFamily("stillgate_upstream_connections", text, labels=["task", "state"])
    text = "1 while connections to the teacher fail and are tried at intervals only."
    breaker = GaugeMetricFamily("stillgate_upstream_breaker_open", text, labels=["task"])
    for account in accounts:
        for outcome in UpstreamOutcome:
            requests.add_metric([account.task, outcome], account.outcomes.get(outcome, 0))
        connections.add_metric([account.task, "idle"], account.connections_idle)
        connections.add_metric([account.task, "busy"], account.connections_open - account.connections_idle)
        breaker.add_metric([account.task], account.breaker_open)
    yield requests
    yield connections
    yield breaker


def _extra_calls(gauges: Gauges) -> Iterator[Metric]:
    """Every series from the start, like those of other reasons."""
    text = "Calls to the teacher that no caller asked for, by what they are for."
    made = CounterMetricFamily("stillgate_extra_calls", text, labels=["task", "purpose"])
    text = "Calls to the teacher that its task's daily ceiling, or its uncountable day, kept from being made."
    refused = CounterMetricFamily("stillgate_extra_calls_refused", text, labels=["task", "purpose", "reason"])
    for task, purpose in product(gauges.tasks, Purpose):
        made.add_metric([task, purpose], gauges.extra_calls.get((task, purpose), 0))
        for reason in Refusal:
            count = gauges.extra_calls_refused.get((task, purpose, reason), 0)
            refused.add_metric([task, purpose, reason], count)
    yield made
    yield refused


def _coverage(coverage: Coverage) -> Iterator[Metric]:
    labels = ["task", "artifact", "slice"]
    text = "Exchanges that a student ought to answer in shadow."
    eligible = CounterMetricFamily("stillgate_shadow_eligible", text, labels=labels)
    text = "Exchanges that a student ought to answer in shadow, and did."
    answered = CounterMetricFamily("stillgate_shadow_answered", text, labels=labels)
    for task, artifact, student in coverage:
        for name, count in student.slices.items():
            eligible.add_metric([task, artifact, name], count.eligible)
            answered.add_metric([task, artifact, name], count.answered)
    yield eligible
    yield answered


def _providers(providers: Mapping[str, Sequence[str]]) -> Metric:
    text = "1 for the execution provider that runs each loaded student first."
    info = GaugeMetricFamily("stillgate_student_info", text, labels=["artifact", "provider"])
    for artifact, names in providers.items():
        info.add_metric([artifact, names[0] if names else "none"], 1)
    return info


def _counted(name: str, text: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    counter = CounterMetricFamily(f"stillgate_{name}", text, labels=[label])
    for of_label, count in counts:
        counter.add_metric([of_label], count)
    return counter


def _labelled(name: str, text: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    gauge = GaugeMetricFamily(f"stillgate_{name}", text, labels=[label])
    for of_label, value in values.items():
        gauge.add_metric([of_label], value)
    return gauge


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"stillgate_{name}", text, value=value)
