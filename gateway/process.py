"""Everything that the gateway is made of, put together, run in one event loop and taken apart again."""

import asyncio
import logging
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app import Gateway
from gateway.arm import StudentArm
from gateway.audit import AuditDrop, Audits
from gateway.durability import DURABILITIES
from gateway.erasing import Erasing
from gateway.extra_calls import ExtraCalls
from gateway.metrics import Gauges, Metrics, UpstreamAccount
from gateway.operations import Operations
from gateway.passage import Passage, Request
from gateway.probe_record import ProbeRecord
from gateway.probing import Probing
from gateway.record import Recorder, RecorderLimits
from gateway.reload import Reload
from gateway.retention import Retention
from gateway.routes import routes_of
from gateway.sampling import sampling_key
from gateway.second_asking import SecondAskings
from gateway.server import Server, limits_of
from gateway.shadow import ShadowDrop
from gateway.shadowing import Shadowing
from gateway.stages import Snapshot, StageWatcher
from gateway.strict import Commits
from gateway.tls import CertificateUnusable, certificate_of
from gateway.upstream import Pools, UpstreamUnusable
from gateway.writer import Committed
from ledger.collector import calm_collector
from ledger.configuration import Configuration, GatewaySection
from ledger.exchange import Origin
from ledger.extra_calls import Purpose
from student.client import StudentClient
from student.wire import socket_path

LAST_WRITE_SECONDS = 5.0  # at the end, while the exchange file cannot be written
CANCELLED_SECONDS = 1.0  # for what is cut at the end of the drain time to be counted

if TYPE_CHECKING:  # an extra
    from gateway.tracing import Tracing

log = logging.getLogger(__name__)


class TracingUnavailable(Exception):
    """The configuration asks for traces, and the packages are not there."""


def tracing_of(section: GatewaySection) -> "Tracing | None":
    """Raises TracingUnavailable."""
    if section.tracing is None:
        return None
    try:
        from gateway.tracing import Tracing
    except ImportError as error:
        raise TracingUnavailable(
            f"gateway.tracing needs packages that are not installed ({error}): pip install 'stillgate[otel]',"
            " or remove the section"
        ) from None
    return Tracing(section.tracing, section.name)


class GatewayProcess:
    """Start, serve, stop."""

    def __init__(self, configuration: Configuration, path: Path | None = None) -> None:
        self._reload = Reload(configuration, path)
        section, directory = configuration.gateway, configuration.deployment.data_directory
        self._loop = asyncio.get_running_loop()
        self._metrics = Metrics()
        limits = RecorderLimits(section.record_queue_count, section.record_queue_bytes)
        durability = DURABILITIES[section.durability]
        self._probe_record = ProbeRecord()
        self._recorder = Recorder(
            directory,
            section.name,
            limits,
            self._committed_in_thread,
            durability,
            section.ballast_bytes,
            [self._retention(), Erasing(lambda: self._stages.snapshot.erasures), self._probe_record],
        )
        self._commits = Commits() if durability.awaited else None
        self._stages = StageWatcher(configuration)
        self._student = StudentClient(socket_path(directory))
        self._pools = Pools()
        self._prepare_extra_calls(section, directory)
        self._arm = StudentArm(
            self._student,
            configuration.student.inline_deadline_seconds,
            self._recorder,
            self._audits,
            self._metrics,
            lambda: self._stages.snapshot,
        )
        self._routes = routes_of(configuration, self._pools)
        self._shadowing = Shadowing(
            configuration, self._routes, self._student, self._recorder, self._shadow_dropped
        )
        self._tracing = tracing_of(section)
        self._app = Gateway(
            section,
            self._routes,
            self._arm,
            self._recorder,
            self._metrics,
            self._tracing,
            self._commits,
            self._answered,
        )
        self._certificate = certificate_of(section)
        self._server = Server(self._app, limits_of(section), section.trusted_proxies, self._certificate)
        self._metrics.read_gauges_from(self._gauges)
        self._reloading: asyncio.Task[None] | None = None
        self._reload_wanted = False
        self._ready = False
        self._stopping = asyncio.Event()
        self._started = False

    def _prepare_extra_calls(self, section: GatewaySection, directory: Path) -> None:
        """Whoever asks the teacher beside its callers."""
        self._extra_calls = ExtraCalls(directory)
        self._audits, self._seconds = (
            Audits(
                purpose,
                self._recorder,
                section.record_body_bytes,
                self._extra_calls,
                partial(self._extra_call_dropped, purpose),
            )
            for purpose in (Purpose.AUDIT, Purpose.SECOND)
        )
        self._second_askings = SecondAskings(section.name, sampling_key(directory), self._seconds)
        self._probing = Probing(
            directory, section.name, self._extra_calls, self._probe_record, section.record_body_bytes
        )

    def start(self) -> None:
        """Raises StoreTaken or SchemaTooNew."""
        self._recorder.start()
        self._stages.start()
        self._shadowing.start()
        self._probing.obey(self._routes.by_path.values(), self._reload.configuration.retention.days)
        self._started = True
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._start_reload)

    async def serve(self, listener: socket.socket, operations: socket.socket) -> None:
        section, server = self._reload.configuration.gateway, self._server
        side = Server(Operations(self._metrics.registry, lambda: self._ready), limits_of(section))
        await server.start(listener)
        await side.start(operations)
        calm_collector()
        self._ready = True
        log.info(
            "Listening on %s, operations on %s. action=started", section.listen, section.operations_listen
        )
        await self._stopping.wait()
        self._ready = False
        log.info("Draining for at most %g seconds. action=draining", section.drain_seconds)
        await server.drain(section.drain_seconds)
        await self._requests_ended()
        await side.drain(CANCELLED_SECONDS)

    async def stop(self) -> None:
        await self._probing.close()
        await asyncio.gather(*(one.close(CANCELLED_SECONDS) for one in (self._audits, self._seconds)))
        await self._shadowing.close()
        await self._student.close()
        self._pools.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self._started:
            self._stages.stop()
            await asyncio.to_thread(self._recorder.stop, LAST_WRITE_SECONDS)

    def _start_reload(self) -> None:
        self._reload_wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = self._loop.create_task(self._reload_while_wanted())

    async def _reload_while_wanted(self) -> None:
        """The file may change, and be told of, while it is read: then it is read once more."""
        while self._reload_wanted:
            self._reload_wanted = False
            await self._read_configuration()

    async def _read_configuration(self) -> None:
        """Requests in flight end by the old configuration; each that starts afterwards obeys the new one."""
        configuration = await asyncio.to_thread(self._reload.read)
        if configuration is None:
            return
        try:
            routes = routes_of(configuration, self._pools)
            upstream = self._pools.read_again()
            if self._certificate is not None:
                self._certificate.read_again()
        except (UpstreamUnusable, CertificateUnusable) as error:
            self._reload.refuse(str(error))
            return
        self._pools.take(upstream)
        self._app.obey(configuration.gateway, routes)
        self._server.obey(limits_of(configuration.gateway), configuration.gateway.trusted_proxies)
        self._shadowing.obey(configuration, routes)
        self._routes = routes
        self._probing.obey(routes.by_path.values(), configuration.retention.days)
        self._arm.deadline_seconds = configuration.student.inline_deadline_seconds
        self._stages.obey(configuration)
        self._pools.keep({task.teacher for task in configuration.task})
        self._reload.take(configuration)

    async def _requests_ended(self) -> None:
        """Requests that were cut still end in their own time."""
        give_up_at = time.monotonic() + CANCELLED_SECONDS
        while self._app.in_flight and time.monotonic() < give_up_at:
            await asyncio.sleep(0.01)

    def _retention(self) -> Retention:
        section = self._reload.configuration.retention
        return Retention(section.days, section.max_bytes, lambda: self._stages.snapshot.folded)

    # --- what the parts tell each other ----------------------------------------------------------------

    def _committed_in_thread(self, committed: Committed) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._committed, committed)

    def _committed(self, committed: Committed) -> None:
        """Hand what was written to the students that have not answered it yet, and count it."""
        if self._commits is not None:
            self._commits.told(committed)
        for built in committed.built:
            if built.exchange.unpaired is not None:
                self._metrics.unpaired.labels(built.exchange.unpaired).inc()
        self._shadowing.offer(committed.built, self._stages.snapshot.tasks)
        origins = [answer.origin for answer in committed.answers]
        self._metrics.shadow_answers.inc(origins.count(Origin.SHADOW))
        self._metrics.audits.inc(origins.count(Origin.AUDIT))
        self._metrics.seconds.inc(origins.count(Origin.SECOND))
        for one in committed.unreadable:
            self._extra_call_dropped(one.purpose, AuditDrop.UNREADABLE)

    def _answered(self, passage: Passage, request: Request) -> None:
        """The teacher has answered a caller."""
        self._probing.offer(passage, request)
        self._second_askings.offer(passage, request)

    def _shadow_dropped(self, reason: ShadowDrop, count: int) -> None:
        self._metrics.shadow_dropped.labels(reason).inc(count)

    def _extra_call_dropped(self, purpose: Purpose, reason: str) -> None:
        counter = self._metrics.audits_dropped if purpose is Purpose.AUDIT else self._metrics.seconds_dropped
        counter.labels(reason).inc()

    def _gauges(self) -> Gauges:
        snapshot, section = self._stages.snapshot, self._reload.configuration.gateway
        return Gauges(
            self._recorder.accounting(),
            self._app.in_flight,
            section.max_in_flight,
            self._recorder.queued_bytes,
            section.record_queue_bytes,
            self._shadowing.inputs,
            tuple(task.name for task in self._reload.configuration.task),
            {task: stages.revision for task, stages in snapshot.stages.items()},
            tuple(
                (task, artifact, stage, share)
                for task, stages in snapshot.stages.items()
                for artifact, (stage, share) in stages.stages.items()
            ),
            self._upstreams(),
            self._degraded(snapshot),
            self._reload.loaded_at,
            self._shadowing.coverage,
            snapshot.providers,
            self._server.refused,
            self._extra_calls.made,
            self._extra_calls.refused,
        )

    def _upstreams(self) -> tuple[UpstreamAccount, ...]:
        accounts = {}
        for task in reversed(self._reload.configuration.task):  # the first that shares a pool names it
            pool = self._pools.of(task.teacher)
            account = UpstreamAccount(task.name, pool.outcomes, pool.slots, pool.idle, pool.breaker.is_open)
            accounts[pool] = account
        return tuple(reversed(accounts.values()))

    def _degraded(self, snapshot: Snapshot) -> dict[str, bool]:
        answering = any(task.answering for task in snapshot.tasks.values())
        return {
            "teacher": any(pool.breaker.is_open for pool in self._pools.all()),
            "store": self._recorder.failing,
            "control": not snapshot.control_readable,
            "monitor": time.monotonic() > snapshot.fresh_until,
            "student": answering and not self._student.connected,
            "certificate": bool(snapshot.problems),
            "configuration": self._reload.refused,
        }
