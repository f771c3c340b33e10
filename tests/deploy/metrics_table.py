"""Every metric that code exports: `python -m tests.deploy.metrics_table > docs/metrics.md`."""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from gateway.coverage import Coverage
from gateway.metrics import Gauges, Metrics
from gateway.record import Accounting
from ledger.control_file import open_control_file, open_control_file_read_only
from monitor.exporter import SLICES_A_TASK, ControlFileCollector
from tests.monitor.world import build_configuration

HEAD = """# Metrics

Each gateway serves its metrics at `gateway.operations_listen`, the monitor at `monitor.listen`, both under `/metrics`
in Prometheus's text format, with the usual `process_...` metrics beside them. This table is made of the code by
`python -m tests.deploy.metrics_table`; a test compares the two.

Names begin with `stillgate_` and end in their unit: `_seconds`, `_bytes`, `_bits`, `_nats`, `_ratio` (0 to 1), `_total`
for counters. A counter whose reasons are known has all of them from the start, at zero, so that a rule sees the first
increase.

| label | its values are bounded by |
|---|---|
| `task`, `rule`, `gateway`, `webhook`, `process` | what stillgate.toml declares |
| `artifact` | the students that answer now, and those of a stage |
| `slice` | {slices} slices a task, those with most pairs; the admin API has all of them |
| `reason`, `outcome`, `served_by`, `part`, `state`, `stage`, `status`, `provider`, `purpose`, `kind`, `harm`, \
`feature` | lists in the code |

Rules, dashboards, an Alertmanager example and the runbook lie in [deploy](../deploy/README.md).
"""


@dataclass(frozen=True, slots=True)
class Family:
    """What is exported under one name; `name` as it stands in a query, without the suffixes of a histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> tuple[str, ...]:
        """Names that queries may use."""
        parts = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        return tuple(self.name + part for part in parts)


def gateway_families() -> list[Family]:
    metrics = Metrics()
    nothing = Gauges(
        accounting=Accounting(0, 0, {}, 0),
        in_flight=0,
        in_flight_limit=1,
        record_queue_bytes=0,
        record_queue_limit_bytes=1,
        shadow_queue_inputs=0,
        tasks=(),
        revisions={},
        stages=(),
        upstreams=(),
        degraded={},
        configuration_loaded_at=0.0,
        coverage=Coverage(),
        providers={},
        refused={},
        extra_calls={},
        extra_calls_refused={},
    )
    metrics.read_gauges_from(lambda: nothing)
    return _families(metrics.registry.collect())


def monitor_families() -> list[Family]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        open_control_file(directory).dispose()
        reading = open_control_file_read_only(directory)
        registry = CollectorRegistry()
        registry.register(ControlFileCollector(reading, build_configuration(directory)))
        families = _families(registry.collect())
        reading.dispose()
    return families


def _families(metrics: Iterable[Metric]) -> list[Family]:
    return sorted(
        (
            Family(
                metric.name + ("_total" if metric.type == "counter" else ""),
                metric.type,
                _labels(metric),
                metric.documentation,
            )
            for metric in metrics
            if not metric.name.startswith("process_")
        ),
        key=lambda family: family.name,
    )


def _labels(metric: Metric) -> tuple[str, ...]:
    """As declared; where a family was made by a counter of prometheus_client, as its series have them."""
    declared = getattr(metric, "_labelnames", None)
    if declared is not None:
        return tuple(declared)
    return tuple(dict.fromkeys(name for sample in metric.samples for name in sample.labels))


def document() -> str:
    parts = [HEAD.format(slices=SLICES_A_TASK)]
    for title, families in (("The gateway", gateway_families()), ("The monitor", monitor_families())):
        parts.append(
            f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n{_rows(families)}"
        )
    return "".join(parts)


def _rows(families: Sequence[Family]) -> str:
    return "".join(
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |\n"
        for one in families
    )


if __name__ == "__main__":
    sys.stdout.write(document())
