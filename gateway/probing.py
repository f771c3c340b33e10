"""Sends a task's probes to its teacher, one after the other at a low rate, and keeps what it says.

One gateway of a data directory does it for each task: whoever holds the lock of the task's set. Callers notice
nothing: files are read and written in threads, and replies are recorded between two groups of the writer.
"""

import asyncio
import logging
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.captured import Body, observations_in
from gateway.dialects.dialect import Asked
from gateway.extra_calls import ExtraCalls
from gateway.headers import RawHeaders, header
from gateway.passage import Passage, Request
from gateway.probe_drawing import Drawing
from gateway.probe_keeping import ProbeSets
from gateway.probe_record import ProbeRecord
from gateway.routes import Route
from gateway.whole_reply import NoReply, WholeReply, ask_whole
from ledger.clock import now_us
from ledger.configuration import ProbeSection
from ledger.exchange_file import exchange_path, reading
from ledger.extra_calls import Purpose
from ledger.probe_replies import ProbeReply, last_pass
from ledger.probe_set import Probe, ProbeSet, ProbesUnusable

LOOK_SECONDS = 1.0  # between two looks while there is no set yet
MOST_SECONDS = 60.0  # between two looks in any case: a set may have been changed
UNREADABLE = "unreadable"  # the dialect cannot read the teacher's reply, or not the probe

# a bare quote ends every text of JSON, so that this never stands inside one
_FINGERPRINT = re.compile(rb'"system_fingerprint"\s*:\s*"([^"\\]{1,200})"')

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass through one set has got."""

    name: str  # of the set
    pass_at_us: int
    asked: frozenset[int]
    last_us: int  # when the last probe was asked, of any pass

    def next_of(self, probes: Iterable[Probe], at_us: int) -> tuple[Probe, "Progress"] | None:
        """The probe that is due and the progress with it; None where the set is empty."""
        for probe in probes:
            if probe.number not in self.asked:
                return probe, replace(self, asked=self.asked | {probe.number}, last_us=at_us)
        return Progress(self.name, at_us, frozenset(), at_us).next_of(probes, at_us) if self.asked else None


class Probing:
    """Lives in the event loop."""

    def __init__(
        self,
        data_directory: Path,
        gateway: str,
        extra_calls: ExtraCalls,
        record: ProbeRecord,
        body_limit: int,
    ) -> None:
        self._path, self._gateway = exchange_path(data_directory, gateway), gateway
        self._sets = ProbeSets(data_directory, gateway)
        self._extra_calls, self._record, self._body_limit = extra_calls, record, body_limit
        self._drawings: dict[str, Drawing] = {}
        self._progress: dict[str, Progress] = {}
        self._running: list[asyncio.Task[None]] = []

    def obey(self, routes: Iterable[Route], kept_days: float | None) -> None:
        """Probe the tasks that ask for it, from now on; what was drawn is kept for so many days."""
        self._end()
        by_task = {route.name: route for route in routes if route.task.probe is not None}
        self._drawings = {name: one for name, one in self._drawings.items() if name in by_task}
        self._extra_calls.kept_for_probes.clear()
        for route in by_task.values():
            assert route.task.probe is not None
            self._running.append(asyncio.create_task(self._probe(route, route.task.probe, kept_days)))

    def offer(self, passage: Passage, request: Request) -> None:
        """A request that the teacher has answered, while probes are being drawn."""
        drawing = self._drawings.get(passage.route.name)
        if drawing is not None:  # looked at once the response has left
            asyncio.get_running_loop().call_soon(drawing.offer, passage, request)

    async def close(self) -> None:
        await asyncio.gather(*self._end(), return_exceptions=True)
        self._sets.close()

    def _end(self) -> list[asyncio.Task[None]]:
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        return running

    async def _probe(self, route: Route, section: ProbeSection, kept_days: float | None) -> None:
        while True:
            try:
                wait = await self._turn(route, section, kept_days)
            except (OSError, sqlite3.Error, ProbesUnusable) as error:
                log.warning("The teacher of %s is not probed: %s. action=probing_failed", route.name, error)
                wait = MOST_SECONDS
            await asyncio.sleep(wait)

    async def _turn(self, route: Route, section: ProbeSection, kept_days: float | None) -> float:
        """Do what is due; how many seconds until something may be again."""
        if not await asyncio.to_thread(self._sets.holds_lock, route.name):
            return MOST_SECONDS
        kept = await self._held(route, section, kept_days)
        if kept is None:
            return LOOK_SECONDS
        self._extra_calls.kept_for_probes[route.name] = round(len(kept.probes) * section.passes_per_day)
        interval_us = section.every_hours * 3600e6 / max(1, len(kept.probes))
        progress = await self._progress_of(route.name, kept)
        early_us = progress.last_us + interval_us - now_us()
        due = progress.next_of(kept.probes, now_us()) if early_us <= 0 else None
        if due is None:
            return min(MOST_SECONDS, max(early_us / 1e6, 0.05))
        probe, self._progress[route.name] = due
        await self._ask(route, section, kept.name, probe)
        return min(MOST_SECONDS, interval_us / 1e6)

    async def _held(self, route: Route, section: ProbeSection, kept_days: float | None) -> ProbeSet | None:
        """The set that holds now; None while it is being drawn."""
        if section.file is not None:
            return await asyncio.to_thread(self._sets.declared, route, section.file)
        kept = await asyncio.to_thread(self._sets.drawn, route.name, kept_days)
        if kept is None:
            drawing = self._drawings.setdefault(route.name, Drawing(section.requests))
            if not drawing.is_over:
                return None
            kept = await asyncio.to_thread(self._sets.freeze_drawn, route.name, drawing)
        if kept is not None:
            self._drawings.pop(route.name, None)
        return kept

    async def _progress_of(self, task: str, kept: ProbeSet) -> Progress:
        """Where this run is, or an earlier one was; else a pass that begins one interval from now."""
        progress = self._progress.get(task)
        if progress is None or progress.name != kept.name:
            found = await asyncio.to_thread(self._last_pass, task, kept.name)
            begun = found or (now_us(), frozenset[int](), now_us())
            progress = self._progress[task] = Progress(kept.name, *begun)
        return progress

    def _last_pass(self, task: str, name: str) -> tuple[int, frozenset[int], int] | None:
        with reading(self._path) as connection:
            return last_pass(connection, task, name)

    async def _ask(self, route: Route, section: ProbeSection, name: str, probe: Probe) -> None:
        """Ask one probe and keep the reply; one that the day's ceiling refuses is left out of its pass."""
        if await self._extra_calls.take(route.task, Purpose.PROBE) is not None:
            return
        asked_at_us, pass_at_us = now_us(), self._progress[route.name].pass_at_us
        body = probe.body.encode()
        amendment = route.dialect.amend(body) if route.dialect.amend is not None else None
        fields = [
            (b"content-type", probe.content_type.encode("latin-1")),
            (b"accept", b"*/*"),
            (b"via", b"1.1 stillgate-" + self._gateway.encode()),
        ]
        content = body if amendment is None else amendment.body
        asking = "POST", probe.target.encode("latin-1"), fields, content
        said = await ask_whole(route.upstream, asking, self._body_limit)
        nothing = ProbeReply(route.name, name, probe.number, pass_at_us, asked_at_us, 0, None, None, None, ())
        self._record.put(_reply(route, section, content, said, nothing))


def _reply(
    route: Route, section: ProbeSection, body: bytes, said: WholeReply | NoReply, nothing: ProbeReply
) -> ProbeReply:
    """`nothing` with what was said, or with why nothing was."""
    if isinstance(said, NoReply):
        return nothing._replace(failure=said)
    asked = route.read_request(body)
    readable = (
        observations_in(route, asked, Body(said.body), said.encoding) if isinstance(asked, Asked) else None
    )
    version = header(said.headers, route.version_header) if route.version_header is not None else None
    return nothing._replace(
        latency_us=said.latency_us,
        version=None if version is None else version.decode("latin-1"),
        fingerprint=_fingerprint(route, section, said.headers, said.body),
        failure=UNREADABLE if readable is None else None,
        observations=readable or (),
    )


def _fingerprint(route: Route, section: ProbeSection, headers: RawHeaders, body: bytes) -> str | None:
    """What the reply says of the machinery behind it, in one document or a stream of events."""
    if section.fingerprint_header is not None:
        told = header(headers, section.fingerprint_header.lower().encode())
        return None if told is None else told.decode("latin-1")[:200]
    found = _FINGERPRINT.search(body) if route.task.dialect == "openai-chat" else None
    return None if found is None else found[1].decode("utf-8", "backslashreplace")
