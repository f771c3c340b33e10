"""The peer table: legs of load on each gateway become medians, ratios within rounds, and floors."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import packages, wrk
from benchmarks.machine import said_by
from benchmarks.report import Floor, Report, Table

STILLGATE, ENVOY, NGINX = "stillgate", "envoy with mirror", "nginx with mirror"
LITELLM, PORTKEY = "litellm with silent_model", "portkey, no mirror"
MIRRORED = "share of requests that the student answered (stillgate)"


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of load on one side."""

    requests: int
    errors: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    costs_us: Mapping[str, float]  # process -> processor time a request
    mirrored: float | None  # share of its requests

    @property
    def cost_us(self) -> float:
        return sum(self.costs_us.values())


def ratios(ours: Sequence[Leg], theirs: Sequence[Leg]) -> list[float]:
    """Ours over theirs, round by round: what slows the machine for a while slows both."""
    return [one.cost_us / other.cost_us for one, other in zip(ours, theirs, strict=True)]


def peer_report(
    legs: Mapping[str, Sequence[Leg]], idle: Mapping[str, float], accounts: tuple[int, int, int, int]
) -> Report:
    ours = legs[STILLGATE]
    against = {name: ratios(ours, theirs) for name, theirs in legs.items() if name != STILLGATE}
    envoy = statistics.median(against[ENVOY]) if ENVOY in against else None
    litellm = statistics.median(1 / ratio for ratio in against[LITELLM]) if LITELLM in against else None
    requests, recorded, dropped, pending = accounts
    shares = [leg.mirrored for leg in ours if leg.mirrored is not None]
    errors = sum(leg.errors for leg in ours)
    floors = (
        Floor("processor time, times Envoy with mirror", envoy, 2.5),
        Floor("processor time, times Envoy with mirror", envoy, 1.5, stretch=True),
        Floor("LiteLLM with a silent model, times ours", litellm, 60, at_least=True),
        Floor("errors seen by our callers", float(errors), 0),
        Floor(MIRRORED, min(shares), 0.99, at_least=True),
        Floor(
            f"requests {requests} - recorded {recorded} - dropped {dropped} - pending {pending}",
            float(abs(requests - recorded - dropped - pending)),
            0,
        ),
    )
    return Report("peers", (_table(legs, against), _processes_table(ours, idle)), floors)


def _table(legs: Mapping[str, Sequence[Leg]], against: Mapping[str, Sequence[float]]) -> Table:
    header = ("gateway", "us a request", "least", "most", "ours / its", "spread", "req/s", "p50 ms", "p99 ms")
    rows = [_row(name, of, against.get(name)) for name, of in legs.items()]
    note = (
        f"Processor microseconds a request of the gateway's own processes; medians of {len(legs[STILLGATE])} rounds,"
        f" {wrk.CONNECTIONS} connections, closed loop. A mirror throws its copies away; Stillgate records every"
        " exchange durably, asks its student and folds the pair, and all of that is counted."
        f" {said_by('nginx', '-v')}, {packages.ENVOY}, {packages.LITELLM}, {packages.PORTKEY}."
    )
    return Table("Peers", (*header, "errors", "mirrored"), tuple(rows), note)


def _row(name: str, legs: Sequence[Leg], against: Sequence[float] | None) -> tuple[str, ...]:
    costs = [leg.cost_us for leg in legs]
    ratio = f"{statistics.median(against):.3g}" if against else "1"
    spread = f"{min(against):.3g} to {max(against):.3g}" if against else "-"
    shares = [leg.mirrored for leg in legs if leg.mirrored is not None]
    return (
        name,
        *(f"{value:.1f}" for value in (statistics.median(costs), min(costs), max(costs))),
        ratio,
        spread,
        f"{statistics.median(leg.requests_per_second for leg in legs):.0f}",
        f"{statistics.median(leg.p50_us for leg in legs) / 1e3:.2f}",
        f"{statistics.median(leg.p99_us for leg in legs) / 1e3:.2f}",
        str(sum(leg.errors for leg in legs)),
        f"{min(shares):.1%}" if shares else "-",
    )


def _processes_table(ours: Sequence[Leg], idle: Mapping[str, float]) -> Table:
    rows = [
        (
            name,
            f"{statistics.median(leg.costs_us.get(name, 0.0) for leg in ours):.1f}",
            f"{idle.get(name, 0.0) * 1e3:.1f}",
        )
        for name in ours[0].costs_us
    ]
    header = ("process", "us a request", "without load, ms of processor time a second")
    return Table("Stillgate by process", header, tuple(rows))
