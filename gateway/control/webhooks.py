"""Hands events to the receivers that stillgate.toml names, in a thread for each; nothing ever waits for one.

The queue is the audit log itself: a cursor in the control file says how far a receiver has got, so a restart
loses nothing, and what waits takes no memory. Each event arrives at least once, in order.
"""

import logging
import threading
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, func, select

from gateway.control.delivery import Outcome, attempt, pause_seconds
from gateway.control.events import event_of, tells
from ledger.clock import now_us
from ledger.configuration import Configuration, WebhookSection
from ledger.control_file import open_control_file_read_only, transaction
from ledger.cursors import advance_cursor
from ledger.glance import AUDIT_MARK, Glance, Mark
from ledger.tables import AuditRow, CursorRow

logger = logging.getLogger(__name__)

AUDIT = "audit"  # the cursor's source; its reader is "webhook:<name>"
LOOK_SECONDS = 0.5  # between two looks whether the audit log has grown


class Dropped(StrEnum):
    """Why a receiver will never get an event."""

    REFUSED = "refused"  # it answered that it does not want this one
    EXPIRED = "expired"  # it failed for longer than give_up_seconds after the event
    FULL = "full"  # more than max_waiting waited: the oldest went


class Webhook:
    """One receiver; `run` belongs to its thread, `account` may be asked by any."""

    def __init__(self, section: WebhookSection, configuration: Configuration, writing: Engine) -> None:
        directory = configuration.deployment.data_directory
        self.name, self._section, self._writing = section.name, section, writing
        self._deployment = configuration.deployment.name
        self._reading, self._glance = open_control_file_read_only(directory), Glance(directory)
        self._position = self._saved = -1  # of the audit log; -1: not read yet
        self._mark: Mark | None = None
        self._failures, self._failing_since = 0, 0.0
        self._delivered, self._waiting = 0, 0
        self._dropped = dict.fromkeys(Dropped, 0)

    def account(self) -> Mapping[str, Any]:
        """Since the start of this process."""
        return {
            "delivered": self._delivered,
            "dropped": {str(reason): count for reason, count in self._dropped.items()},
            "waiting": self._waiting,
            "failing_seconds": time.monotonic() - self._failing_since if self._failures else 0.0,
        }

    def run(self, stopping: threading.Event) -> None:
        pause = 0.0
        while not stopping.wait(pause):
            try:
                pause = self._turn()
            except Exception:  # whatever it is, the other events and webhooks go on
                logger.exception("Webhook %s failed and goes on action=webhook_defect", self.name)
                pause = LOOK_SECONDS
        self._glance.close()
        self._reading.dispose()

    def _turn(self) -> float:
        """Look for the next event and try it once; seconds until the next turn."""
        mark = self._glance.ask(AUDIT_MARK)
        if mark == self._mark and not self._waiting:
            return LOOK_SECONDS
        row = self._next()
        self._mark = mark
        self._save()
        if row is None:
            return LOOK_SECONDS
        if row.at_us < now_us() - self._section.give_up_seconds * 1e6:
            return self._drop(
                row, Dropped.EXPIRED, f"no attempt succeeded in {self._section.give_up_seconds:g} s"
            )
        tried = attempt(self._section, event_of(row, self._deployment))
        if tried.outcome is Outcome.REFUSED:
            return self._drop(row, Dropped.REFUSED, tried.reason)
        if tried.outcome is Outcome.FAILED:
            return self._failed(tried.reason, tried.retry_after_seconds)
        self._delivered += 1
        self._advance(row.number or 0)
        return 0.0

    def _next(self) -> AuditRow | None:
        """The oldest event that waits; beyond max_waiting the oldest are dropped first."""
        with transaction(self._reading) as session:
            if self._position < 0:
                self._position = _start(session, self._reader)
            waits = (tells(self._section.kinds), col(AuditRow.number) > self._position)
            self._waiting = session.exec(select(func.count()).select_from(AuditRow).where(*waits)).one()
            in_order = select(AuditRow).where(*waits).order_by(col(AuditRow.number))
            too_many = max(0, self._waiting - self._section.max_waiting)
            row = session.exec(in_order.offset(too_many).limit(1)).first()
        if too_many and row is not None:
            self._dropped[Dropped.FULL] += too_many
            self._waiting -= too_many
            self._position = (row.number or 0) - 1
            logger.warning(
                "Webhook %s: %d events dropped, more than max_waiting = %d waited action=event_dropped",
                *(self.name, too_many, self._section.max_waiting),
            )
        return row

    def _drop(self, row: AuditRow, why: Dropped, reason: str) -> float:
        self._dropped[why] += 1
        text = "Webhook %s: event %d (%s) dropped as %s: %s action=event_dropped"
        logger.warning(text, self.name, row.number, row.action, why, reason)
        self._advance(row.number or 0, answered=why is Dropped.REFUSED)
        return 0.0

    def _failed(self, reason: str, retry_after_seconds: float) -> float:
        self._failures += 1
        if self._failures == 1:
            self._failing_since = time.monotonic()
            text = "Webhook %s fails and is tried again: %s action=webhook_failing"
            logger.warning(text, self.name, reason)
        return pause_seconds(self._failures, retry_after_seconds)

    def _advance(self, number: int, answered: bool = True) -> None:
        self._position = number
        self._waiting -= 1
        if answered and self._failures:
            logger.info("Webhook %s works again action=webhook_recovered", self.name)
            self._failures = 0
        self._save()

    def _save(self) -> None:
        """A control file that cannot be written costs repetitions after a restart, nothing else."""
        if self._position == self._saved:
            return
        try:
            with transaction(self._writing) as session:
                advance_cursor(session, self._reader, AUDIT, self._position)
            self._saved = self._position
        except SQLAlchemyError as error:
            logger.warning(
                "Webhook %s: its cursor is saved later: %s action=cursor_unsaved", self.name, error
            )

    @property
    def _reader(self) -> str:
        return f"webhook:{self.name}"


def _start(session: Session, reader: str) -> int:
    """Where it stopped; a new receiver starts now, and one of a restored older file not beyond its end."""
    newest = session.exec(select(func.max(AuditRow.number))).one() or 0
    row = session.get(CursorRow, (reader, AUDIT))
    return newest if row is None else min(row.position, newest)


def start_webhooks(
    configuration: Configuration, writing: Engine, stopping: threading.Event
) -> tuple[Webhook, ...]:
    """Deliver until told to stop; an attempt that is in progress then is not waited for."""
    webhooks = tuple(Webhook(section, configuration, writing) for section in configuration.webhook)
    for webhook in webhooks:
        name = f"webhook-{webhook.name}"
        threading.Thread(target=webhook.run, args=(stopping,), name=name, daemon=True).start()
    return webhooks
