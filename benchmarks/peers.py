"""The peers: processor microseconds a request of each gateway's own processes, side by side.

One teacher, one load, all gateways up, loaded in turns, every second round backwards. What a gateway still has to
do when the load ends (write, mirror, infer, fold) is waited for and counted, less what its processes use in so much
time without any load. Requests are those that the teacher saw.
"""

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateways, packages, wrk
from benchmarks.deployment import SETTLE_SECONDS, Deployment, account, running_deployment
from benchmarks.nginx import answering_nginx, counting, mirroring_nginx
from benchmarks.peer_table import ENVOY, LITELLM, NGINX, PORTKEY, STILLGATE, Leg, peer_report
from benchmarks.processes import free_ports, wait_for
from benchmarks.processor import processor_seconds
from benchmarks.report import Report
from benchmarks.traffic import CHAT, CLASSIFICATION, Traffic

QUIET_SECONDS = 1.0  # nothing new for so long: what runs in the background has ended


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 5
    seconds: float = 6.0  # of load in each leg
    idle_seconds: float = 12.0  # longer than the monitor's tick


SHORT = Plan(rounds=2, seconds=2.0, idle_seconds=3.0)


@dataclass(frozen=True, slots=True)
class Side:
    """What is loaded, whose time is counted, and how many requests it has mirrored once all is done."""

    name: str
    port: int
    traffic: Traffic
    headers: Mapping[str, str]
    seconds_used: Callable[[], Mapping[str, float]]
    settle: Callable[[], int | None]


def measure(folder: Path, plan: Plan) -> Report:
    packages.require("nginx", "wrk")
    teacher, target = free_ports(2)
    with (
        answering_nginx(folder, "teacher", teacher),
        answering_nginx(folder, "target", target),
        _sides(folder, teacher, target) as (sides, deployment),
    ):
        asked = counting(teacher)
        idle = {side.name: _idle_of(side, folder, plan) for side in sides}
        legs: dict[str, list[Leg]] = {side.name: [] for side in sides}
        for number in range(plan.rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                leg = _run(side, folder, asked, plan.seconds, idle[side.name])
                legs[side.name].append(leg)
                print(f"round {number + 1}: {side.name:26} {leg.cost_us:9.1f} us, {leg.requests}", flush=True)
        accounts = account(deployment.counters())
    return peer_report(legs, idle[STILLGATE], accounts)


@contextmanager
def _sides(folder: Path, teacher: int, target: int) -> Iterator[tuple[list[Side], Deployment]]:
    """Start everything that can be started; a peer that cannot is named, and its floor is not measured."""
    envoy, nginx, litellm, portkey = free_ports(4)
    starts = {
        ENVOY: (gateways.running_envoy(folder, envoy, teacher, target), envoy, CLASSIFICATION),
        NGINX: (mirroring_nginx(folder, nginx, teacher, target), nginx, CLASSIFICATION),
        LITELLM: (gateways.running_litellm(folder, litellm, teacher, target), litellm, CHAT),
        PORTKEY: (gateways.running_portkey(folder, portkey), portkey, CHAT),
    }
    copies = counting(target)
    with ExitStack() as stack:
        deployment = stack.enter_context(running_deployment(folder, teacher, {"no-op": 0}))
        deployment.shadow("no-op")
        sides = [_our_side(deployment)]
        for name, (start, port, traffic) in starts.items():
            print(f"starting {name}", flush=True)
            try:
                pid = stack.enter_context(start)
            except (packages.NotInstalled, RuntimeError) as error:
                print(f"NOT MEASURED: {name}: {error}", flush=True)
                continue
            headers = gateways.portkey_headers(teacher) if name == PORTKEY else {}
            settle = _nothing_to_settle if name == PORTKEY else _settling(copies)
            sides.append(Side(name, port, traffic, headers, _seconds_of(pid), settle))
        yield sides, deployment


def _our_side(deployment: Deployment) -> Side:
    settle = _settling_ours(deployment)
    return Side(STILLGATE, deployment.port, CLASSIFICATION, {}, deployment.processor_seconds, settle)


def _seconds_of(pid: int) -> Callable[[], dict[str, float]]:
    return lambda: {"all": processor_seconds(pid)}


def _nothing_to_settle() -> None:
    time.sleep(QUIET_SECONDS)


def _settling(copies: Callable[[], int]) -> Callable[[], int]:
    """Wait until no mirrored request arrives any more; how many have in all."""

    def settle() -> int:
        previous, changed_at = -1, time.monotonic()
        while time.monotonic() - changed_at < QUIET_SECONDS:
            now = copies()
            if now != previous:
                previous, changed_at = now, time.monotonic()
            time.sleep(QUIET_SECONDS / 5)
        return previous

    return settle


def _settling_ours(deployment: Deployment) -> Callable[[], int]:
    """Wait until every exchange is written, its answers in, and all of them folded by the monitor."""

    def settle() -> int:
        previous = (-1, -1)
        while (counts := deployment.counts()) != previous:
            previous = counts
            time.sleep(QUIET_SECONDS)
        wait_for(lambda: not deployment.monitor_is_behind(), "the monitor is behind", SETTLE_SECONDS)
        return counts[1]

    return settle


def _idle_of(side: Side, folder: Path, plan: Plan) -> dict[str, float]:
    """Processor seconds a second without load, after a first load: compiled, connected and settled."""
    _check_answer(side)
    wrk.load(folder, side.port, side.traffic, side.headers, 2.0)
    side.settle()
    before = side.seconds_used()
    time.sleep(plan.idle_seconds)
    idle = {
        name: (now - before.get(name, now)) / plan.idle_seconds for name, now in side.seconds_used().items()
    }
    print(
        f"{side.name}: {sum(idle.values()) * 1e3:.1f} ms of processor time a second without load", flush=True
    )
    return idle


def _check_answer(side: Side) -> None:
    """One request by itself: the gateway must answer what the teacher says. Raises RuntimeError."""
    url = f"http://127.0.0.1:{side.port}{side.traffic.path}"
    headers = {"Content-Type": "application/json", **side.headers}
    with urllib.request.urlopen(
        urllib.request.Request(url, side.traffic.body, headers), timeout=60
    ) as response:
        body = response.read()
    if body != side.traffic.reply and b'"content":"dogs"' not in body:
        raise RuntimeError(f"{side.name} answers {body[:200]!r}")


def _run(
    side: Side, folder: Path, asked: Callable[[], int], seconds: float, idle: Mapping[str, float]
) -> Leg:
    seen, copies, before = asked(), side.settle(), side.seconds_used()
    loaded = wrk.load(folder, side.port, side.traffic, side.headers, seconds)
    load_ended_at = time.monotonic()
    mirrored = side.settle()
    settling = time.monotonic() - load_ended_at
    used = {name: now - before.get(name, now) for name, now in side.seconds_used().items()}
    requests = asked() - seen
    return Leg(
        requests,
        loaded.errors,
        loaded.requests / loaded.seconds,
        loaded.p50_us,
        loaded.p99_us,
        {
            name: max(0.0, took - idle.get(name, 0.0) * settling) / requests * 1e6
            for name, took in used.items()
        },
        None if mirrored is None or copies is None else (mirrored - copies) / requests,
    )
