"""Everything that the gateway is made of, put together, run in one event loop and taken apart again."""

import asyncio
import gc
import logging
import signal
import socket
import time

from gateway.app import Gateway
from gateway.arm import StudentArm
from gateway.audit import Audits
from gateway.durability import DURABILITIES
from gateway.metrics import Gauges, Metrics
from gateway.operations import Operations
from gateway.record import Recorder, RecorderLimits
from gateway.retention import Retention
from gateway.routes import routes_of
from gateway.server import server
from gateway.shadow import Shadow, ShadowDrop, ShadowLimits
from gateway.stages import Snapshot, StageWatcher
from gateway.strict import Commits
from gateway.teacher import open_session
from gateway.writer import Committed
from ledger.configuration import Configuration
from ledger.exchange import Origin
from student.client import StudentClient
from student.wire import socket_path

LAST_WRITE_SECONDS = 5.0  # at the end, while the exchange file cannot be written
CANCELLED_SECONDS = 1.0  # for what is cut at the end of the drain time to be counted

COLLECTOR_THRESHOLDS = (20_000, 20, 100)

log = logging.getLogger(__name__)


class GatewayProcess:
    """Start, serve, stop."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        section, directory = configuration.gateway, configuration.deployment.data_directory
        self._loop = asyncio.get_running_loop()
        self._metrics = Metrics()
        limits = RecorderLimits(section.record_queue_count, section.record_queue_bytes)
        durability = DURABILITIES[section.durability]
        self._recorder = Recorder(
            directory,
            section.name,
            limits,
            self._committed_in_thread,
            durability,
            section.ballast_bytes,
            [self._retention()],
        )
        self._commits = Commits() if durability.awaited else None
        self._stages = StageWatcher(configuration)
        self._student = StudentClient(socket_path(directory))
        shadow_limits = ShadowLimits(
            section.shadow_queue_count,
            section.shadow_queue_bytes,
            configuration.student.shadow_deadline_seconds,
        )
        self._shadow = Shadow(self._student, shadow_limits, self._recorder, self._shadow_dropped)
        self._session = open_session()
        self._audits = Audits(self._session, self._recorder, section.record_body_bytes, self._audit_dropped)
        arm = StudentArm(
            self._student,
            configuration.student.inline_deadline_seconds,
            self._recorder,
            self._audits,
            self._metrics,
            lambda: self._stages.snapshot,
        )
        self._app = Gateway(
            section,
            routes_of(configuration),
            self._session,
            arm,
            self._recorder,
            self._metrics,
            self._commits,
        )
        self._metrics.read_gauges_from(self._gauges)
        self._ready = False
        self._stopping = asyncio.Event()
        self._started = False

    def start(self) -> None:
        """Raises StoreTaken or SchemaTooNew."""
        self._recorder.start()
        self._stages.start()
        self._started = True
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)

    async def serve(self, listener: socket.socket, operations: socket.socket) -> None:
        section = self._configuration.gateway
        data_plane = server(self._app, section.drain_seconds)
        side = server(Operations(self._metrics.registry, lambda: self._ready), 0)
        running = [
            asyncio.create_task(data_plane.serve([listener])),
            asyncio.create_task(side.serve([operations])),
        ]
        _calm_collector()
        self._ready = True
        log.info(
            "Listening on %s, operations on %s. action=started", section.listen, section.operations_listen
        )
        await self._stopping.wait()
        self._ready = False
        log.info("Draining for at most %g seconds. action=draining", section.drain_seconds)
        data_plane.should_exit = True
        await running[0]
        await self._requests_ended()
        side.should_exit = True
        await running[1]

    async def stop(self) -> None:
        await self._audits.close(CANCELLED_SECONDS)
        await self._shadow.close()
        await self._student.close()
        await self._session.close()
        if self._started:
            self._stages.stop()
            await asyncio.to_thread(self._recorder.stop, LAST_WRITE_SECONDS)

    async def _requests_ended(self) -> None:
        """uvicorn does not wait for the requests that it cancels."""
        give_up_at = time.monotonic() + CANCELLED_SECONDS
        while self._app.in_flight and time.monotonic() < give_up_at:
            await asyncio.sleep(0.01)

    def _retention(self) -> Retention:
        section = self._configuration.retention
        return Retention(section.days, section.max_bytes, lambda: self._stages.snapshot.folded)

    # --- what the parts tell each other ----------------------------------------------------------------

    def _committed_in_thread(self, committed: Committed) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._committed, committed)

    def _committed(self, committed: Committed) -> None:
        """Hand what was written to the students that have not answered it yet, and count it."""
        if self._commits is not None:
            self._commits.told(committed)
        tasks = self._stages.snapshot.tasks
        for built in committed.built:
            exchange = built.exchange
            if exchange.unpaired is not None:
                self._metrics.unpaired.labels(exchange.unpaired).inc()
            elif exchange.task in tasks:
                answered = built.inline.responder if built.inline is not None else None
                for artifact in tasks[exchange.task].answering:
                    if artifact != answered:
                        self._shadow.submit(artifact, built.classes, exchange.sequence, built.texts)
        self._shadow.start_asking()
        origins = [answer.origin for answer in committed.answers]
        self._metrics.shadow_answers.inc(origins.count(Origin.SHADOW))
        self._metrics.audits.inc(origins.count(Origin.AUDIT))
        if committed.unreadable_audits:
            self._metrics.audits_dropped.labels("unreadable").inc(committed.unreadable_audits)

    def _shadow_dropped(self, reason: ShadowDrop, count: int) -> None:
        self._metrics.shadow_dropped.labels(reason).inc(count)

    def _audit_dropped(self, reason: str) -> None:
        self._metrics.audits_dropped.labels(reason).inc()

    def _gauges(self) -> Gauges:
        snapshot = self._stages.snapshot
        return Gauges(
            self._recorder.accounting(),
            self._app.in_flight,
            self._recorder.queued_bytes,
            self._shadow.inputs,
            {task: stages.revision for task, stages in snapshot.stages.items()},
            tuple(
                (task, artifact, stage, share)
                for task, stages in snapshot.stages.items()
                for artifact, (stage, share) in stages.stages.items()
            ),
            self._degraded(snapshot),
        )

    def _degraded(self, snapshot: Snapshot) -> dict[str, bool]:
        answering = any(task.answering for task in snapshot.tasks.values())
        return {
            "store": self._recorder.failing,
            "control": not snapshot.control_readable,
            "monitor": time.monotonic() > snapshot.fresh_until,
            "student": answering and not self._student.connected,
            "certificate": bool(snapshot.problems),
        }


def _calm_collector() -> None:
    """Captured exchanges outlive many requests, so that the cyclic collector, at its usual pace, would walk all
    that was imported several times a second. Cycles are rare here: tracebacks, mostly."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
