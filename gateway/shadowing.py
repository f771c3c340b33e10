"""Which recorded exchanges go into the shadow, for which students: every one of them is counted either way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from gateway.captured import Built
from gateway.coverage import Coverage, slices_of_exchange
from gateway.record import Recorder
from gateway.remote_student import RemoteStudent
from gateway.routes import Route, Routes
from gateway.sampling import is_drawn, sampling_key
from gateway.shadow import Asked, Shadow, ShadowDrop, ShadowLimits, Student
from gateway.stages import TaskSnapshot
from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.coverage_file import write_coverage
from ledger.exchange import Unpaired

REPORT_SECONDS = 5.0  # between two reports of the coverage

# An exchange without an answer of the teacher (an error, a cut reply) owes nobody a comparison; one that was
# answered and could not be read is a gap in what the comparison rests on.
_GAPS = {
    Unpaired.REQUEST_TOO_LARGE: ShadowDrop.TOO_LARGE,
    Unpaired.RESPONSE_TOO_LARGE: ShadowDrop.TOO_LARGE,
    Unpaired.REQUEST_NOT_JSON: ShadowDrop.UNPARSED,
    Unpaired.REQUEST_NOT_TEXT: ShadowDrop.UNPARSED,
    Unpaired.REQUEST_EMPTY: ShadowDrop.UNPARSED,
    Unpaired.TEACHER_MALFORMED: ShadowDrop.UNPARSED,
}

log = logging.getLogger(__name__)


class Shadowing:
    """Lives in the event loop."""

    def __init__(
        self,
        configuration: Configuration,
        routes: Routes,
        student: Student,
        recorder: Recorder,
        on_drop: Callable[[ShadowDrop, int], None],
    ) -> None:
        section, self._directory = configuration.gateway, configuration.deployment.data_directory
        limits = ShadowLimits(
            section.shadow_queue_count,
            section.shadow_queue_bytes,
            configuration.student.shadow_deadline_seconds,
        )
        self.coverage = Coverage()
        self._gateway, self._key, self._since_us = section.name, sampling_key(self._directory), now_us()
        self._student = student
        self._shadow = Shadow(self._student_of, limits, recorder, on_drop)
        self._routes: Mapping[str, Route] = {}
        self._remotes: Mapping[str, tuple[str, RemoteStudent]] = {}  # task -> what it is called, and it
        self._reporting: asyncio.Task[None] | None = None
        self.obey(configuration, routes)

    @property
    def inputs(self) -> int:
        """Waiting for a student."""
        return self._shadow.inputs

    def start(self) -> None:
        self._reporting = asyncio.create_task(self._report_coverage())

    def obey(self, configuration: Configuration, routes: Routes) -> None:
        """From the next exchange on; the bounds of the queue stay as they were at the start."""
        self._routes = {route.name: route for route in routes.by_path.values()}
        self._remotes = {
            task.name: (
                task.remote_student.artifact,
                RemoteStudent(task.remote_student, task.classes, f"stillgate-{self._gateway}"),
            )
            for task in configuration.task
            if task.remote_student is not None
        }

    def offer(self, written: Sequence[Built], tasks: Mapping[str, TaskSnapshot]) -> None:
        """Hand exchanges to everybody who answers for their tasks, remote students included: these have no stage."""
        answering = {name: task.answering for name, task in tasks.items()}
        for name, (artifact, _) in self._remotes.items():
            answering[name] = (*answering.get(name, ()), artifact)
        for built in written:
            answered = built.inline.responder if built.inline is not None else None
            owing = [one for one in answering.get(built.exchange.task, ()) if one != answered]
            if owing and built.exchange.task in self._routes:
                self._offer(built, owing, self._routes[built.exchange.task])
        self._shadow.start_asking()

    async def close(self) -> None:
        await self._shadow.close()
        if self._reporting is not None:
            self._reporting.cancel()
            self._write_coverage()

    def _offer(self, built: Built, owing: Sequence[str], route: Route) -> None:
        exchange = built.exchange
        gap = None if exchange.unpaired is None else _GAPS.get(exchange.unpaired)
        if gap is None and exchange.unpaired is not None:
            return
        share = route.task.shadow.share
        if gap is None and not is_drawn(self._key, self._gateway, exchange.sequence, share):
            gap = ShadowDrop.NOT_SAMPLED
        slices = slices_of_exchange(built, route.counted_rules, route.classes)
        for artifact in owing:
            ticket = self.coverage.eligible(exchange.task, artifact, slices)
            asked = Asked(artifact, built.classes, exchange.sequence, built.texts, share, ticket)
            if gap is None:
                self._shadow.submit(asked)
            else:
                self._shadow.drop(gap, [asked])

    def _student_of(self, artifact: str) -> Student:
        return next((remote for name, remote in self._remotes.values() if name == artifact), self._student)

    async def _report_coverage(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._write_coverage()

    def _write_coverage(self) -> None:
        """A few kilobytes into the page cache; what a failing disk loses is a report."""
        try:
            write_coverage(self._directory, self._gateway, self._since_us, self.coverage.document())
        except OSError as error:
            log.debug("The coverage of the shadow is not reported: %s", error)
