"""Which set of probes holds now: the declared one, the one that was drawn, or none while it is being drawn.

Everything but the drawing itself is for a thread: it reads and writes files.
"""

import fcntl
import logging
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

from gateway.probe_drawing import Drawing
from gateway.routes import Route
from ledger.clock import now_us
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import exchange_path, reading
from ledger.overwriting import unerased
from ledger.probe_set import (
    Probe,
    ProbeSet,
    declared_probes,
    forget_probes,
    freeze,
    kept_set,
    name_of,
    probes_path,
    remove_set,
)

DAY_US = 86_400 * 1_000_000

log = logging.getLogger(__name__)


class ProbeSets:
    """Of one data directory, as one gateway sees them."""

    def __init__(self, data_directory: Path, gateway: str) -> None:
        self._directory, self._gateway = data_directory, gateway
        self._locks: dict[str, TextIOWrapper] = {}

    def holds_lock(self, task: str) -> bool:
        """Whether it is this gateway that probes the task's teacher; from then on it is. Raises OSError."""
        if task in self._locks:
            return True
        path = probes_path(self._directory, task).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._locks[task] = lock
        return True

    def close(self) -> None:
        for lock in self._locks.values():
            lock.close()

    def declared(self, route: Route, file: Path) -> ProbeSet:
        """The operator's set, frozen anew where the file has changed. Raises OSError or ProbesUnusable."""
        probes, kept = declared_probes(file, route.task.paths[0]), kept_set(self._directory, route.name)
        if kept is not None and kept.is_declared and kept.name == name_of(probes):
            return kept
        log.info("%d declared probes of %s are frozen. action=probes_frozen", len(probes), route.name)
        return freeze(self._directory, route.name, probes, True, now_us())

    def drawn(self, task: str, kept_days: float | None) -> ProbeSet | None:
        """The set that was drawn; one that may not be kept any longer is removed. Raises OSError."""
        kept = kept_set(self._directory, task)
        if kept is None or _may_go_on(kept, kept_days):
            return kept
        remove_set(self._directory, task)
        return None

    def freeze_drawn(self, task: str, drawing: Drawing) -> ProbeSet | None:
        """Keep what is in the record; what is not, or was erased meanwhile, goes, and others are drawn for it.

        Raises OSError or sqlite3.Error.
        """
        drawn = drawing.probes
        recorded = self._recorded(drawn)
        drawing.withdraw([probe for probe in drawn if probe not in recorded])
        if not drawing.is_over:
            return None
        probes = [replace(probe, number=number) for number, probe in enumerate(recorded)]
        frozen = freeze(self._directory, task, probes, False, now_us())
        still = self._recorded(probes)
        erased = [str(probe.exchange_id) for probe in probes if probe not in still]
        if erased:  # between the look before and now
            forget_probes(self._directory, task, None, erased, now_us())
        log.info("%d probes of %s are frozen as %s. action=probes_frozen", len(probes), task, frozen.name)
        return kept_set(self._directory, task)

    def _recorded(self, probes: list[Probe]) -> list[Probe]:
        """Those whose exchange is in this gateway's record and was not erased."""
        numbers = {probe: parse_exchange_id(probe.exchange_id or "") for probe in probes}
        with reading(exchange_path(self._directory, self._gateway)) as connection:
            there = unerased(connection, [found[1] for found in numbers.values() if found is not None])
        return [probe for probe, found in numbers.items() if found is not None and found[1] in there]


def _may_go_on(kept: ProbeSet, kept_days: float | None) -> bool:
    """Whether it was drawn, has anything left, and is no older than the record may be that it was drawn from."""
    if kept.is_declared or not kept.probes:
        return False
    oldest_us = min(probe.started_at_us for probe in kept.probes)
    return kept_days is None or now_us() - oldest_us <= kept_days * DAY_US
