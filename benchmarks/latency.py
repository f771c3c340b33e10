"""The latency that a gateway adds, at a constant arrival rate: nginx alone and Stillgate, beside the teacher itself.

Open loop, in turns (teacher, nginx, ours, ours, nginx, teacher), each round a block; what a round adds is the
difference of its own percentiles.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import packages
from benchmarks.deployment import running_deployment
from benchmarks.nginx import answering_nginx, plain_nginx
from benchmarks.open_loop import Offered, offer
from benchmarks.processes import free_ports
from benchmarks.quantiles import percentile
from benchmarks.report import Floor, Report, Table

DIRECT, NGINX, STILLGATE = "the teacher itself", "nginx, plain proxy", "stillgate, shadow and record"
KIND = "classification"


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 5
    seconds: float = 6.0  # of each leg; a round is six legs
    rate: float = 300.0  # requests a second


SHORT = Plan(rounds=2, seconds=2.0)

Round = Mapping[str, Sequence[Offered]]


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx")
    teacher, nginx = free_ports(2)
    with (
        answering_nginx(folder, "teacher", teacher),
        plain_nginx(folder, nginx, teacher),
        running_deployment(folder, teacher, {"no-op": 0}) as deployment,
    ):
        deployment.shadow("no-op")
        ports = {DIRECT: teacher, NGINX: nginx, STILLGATE: deployment.port}
        for port in ports.values():
            offer(port, KIND, plan.rate, min(3.0, plan.seconds))  # connected, compiled, warm
        rounds = [_round(number + 1, ports, plan) for number in range(plan.rounds)]
    return _report(rounds, plan)


def _round(number: int, ports: Mapping[str, int], plan: Plan) -> Round:
    legs: dict[str, list[Offered]] = {name: [] for name in ports}
    for name in (*ports, *reversed(list(ports))):
        legs[name].append(offer(ports[name], KIND, plan.rate, plan.seconds))
    said = ", ".join(
        f"{name} {_quantile(of, 0.5):.2f}/{_quantile(of, 0.99):.2f}" for name, of in legs.items()
    )
    print(f"round {number}, p50/p99 ms: {said}", flush=True)
    return legs


def _quantile(legs: Sequence[Offered], share: float) -> float:
    """Milliseconds, over every request of the legs; infinite when none was answered."""
    return percentile(np.concatenate([leg.latencies_us for leg in legs]), share) / 1e3


def added(rounds: Sequence[Round], name: str, to: str, share: float) -> list[float]:
    """Milliseconds of each round."""
    return [_quantile(one[name], share) - _quantile(one[to], share) for one in rounds]


def _report(rounds: Sequence[Round], plan: Plan) -> Report:
    def median(name: str, to: str, share: float) -> float:
        return statistics.median(added(rounds, name, to, share))

    errors = sum(leg.error_count for one in rounds for leg in one[STILLGATE])
    late = max(leg.late_p99_us for one in rounds for legs in one.values() for leg in legs) / 1e3
    floors = (
        Floor("added p50, ms", median(STILLGATE, DIRECT, 0.5), 2),
        Floor("added p99, ms", median(STILLGATE, DIRECT, 0.99), 10),
        Floor("p50 above nginx's own, ms", median(STILLGATE, NGINX, 0.5), 1, stretch=True),
        Floor("p99 above nginx's own, ms", median(STILLGATE, NGINX, 0.99), 3, stretch=True),
        Floor("errors seen by our callers", float(errors), 0),
    )
    header = ("", "p50 ms", "p99 ms", "added p50", "spread", "added p99", "spread", "errors")
    rows = tuple(_row(rounds, name) for name in (DIRECT, NGINX, STILLGATE))
    note = (
        f"{plan.rate:g} requests/s, open loop, latency from the moment a request was due; medians of {plan.rounds}"
        f" rounds of {2 * plan.seconds:g} s a side. Requests were sent {late:.2f} ms late at most (p99 of a leg)."
    )
    return Report("latency", (Table("Added latency", header, rows, note),), floors)


def _row(rounds: Sequence[Round], name: str) -> tuple[str, ...]:
    p50, p99 = (statistics.median(_quantile(one[name], share) for one in rounds) for share in (0.5, 0.99))
    differences = (added(rounds, name, DIRECT, share) for share in (0.5, 0.99))
    cells = [
        cell
        for values in differences
        for cell in (f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}")
    ]
    errors = sum(leg.error_count for one in rounds for leg in one[name])
    return (name, f"{p50:.2f}", f"{p99:.2f}", *(cells if name != DIRECT else ["-"] * 4), str(errors))
