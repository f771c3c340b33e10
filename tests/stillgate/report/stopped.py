"""Writes traffic into a deployment's files, lets the real monitor fold it, and makes reports of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from click.testing import Result
from sqlalchemy import Engine, text

from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import ExchangeFile
from ledger.labels import keep_label
from ledger.observation import Observation
from ledger.stages import Stage
from monitor.cycle import run_cycle
from tests.artifacts import register, tiny_artifact
from tests.gateway.control.desk import CLASSES, TASK
from tests.ledger.builders import build_answer, build_exchange
from tests.stillgate.command import run

START_US = (now_us() - 3_600_000_000) // 6_000_000 * 6_000_000  # an hour ago, at the start of a window
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Stopped:
    path: Path  # of stillgate.toml
    configuration: Configuration
    engine: Engine
    exchanges: ExchangeFile

    @property
    def directory(self) -> Path:
        return self.configuration.deployment.data_directory

    def add_student(self, seed: int = 1, **given: Any) -> str:
        """A registered student that has been in shadow since before the traffic."""
        tiny = tiny_artifact(self.directory, CLASSES, task=TASK, seed=seed, **given)
        register(self.engine, tiny, task=TASK, stage=Stage.SHADOW)
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE stage_change SET at_us = :at"), {"at": START_US - SECOND_US})
        return tiny.artifact

    def write(self, rows: Sequence[tuple[Exchange, Answer | None]]) -> None:
        self.exchanges.append(
            [exchange for exchange, _ in rows], [answer for _, answer in rows if answer is not None]
        )

    def label(self, exchange: Exchange, name: str) -> None:
        with transaction(self.engine) as session:
            keep_label(session, exchange.exchange_id, 0, name, "test")

    def tick(self, number: int = 1) -> None:
        run_cycle(self.engine, self.configuration, START_US + 3_600_000_000 + number * SECOND_US)

    def report(self, *arguments: str) -> Result:
        return run("report", *arguments, "--config", str(self.path))

    def document(self, *arguments: str) -> dict[str, Any]:
        """The JSON report; fails where the command does."""
        made = self.report(*arguments, "--json", "-")
        assert made.exit_code == 0, made.stderr
        document: dict[str, Any] = orjson.loads(made.stdout)
        return document

    def page(self, *arguments: str) -> str:
        target = self.path.parent / "page.html"
        made = self.report(*arguments, "--out", str(target))
        assert made.exit_code == 0, made.stderr
        return target.read_text(encoding="utf-8")


def moment(at_us: int) -> str:
    """As the options of the command take it."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()


def observed(top: int, confidence: float) -> Observation:
    """Of the two classes."""
    rest = 1 - confidence
    return Observation((confidence, rest) if top == 0 else (rest, confidence))


def some_traffic(
    count: int, artifact: str, seed: int = 1, spacing_us: int = SECOND_US, first: int = 0, **changes: Any
) -> list[tuple[Exchange, Answer]]:
    """Exchanges of two areas with the student's answers: it is unsure of the area `new`, and often wrong there."""
    draw = random.Random(seed)
    rows = []
    for number in range(first, first + count):
        area = draw.choice(("old", "old", "new"))
        teacher = draw.randrange(2)
        agrees = draw.random() < (0.95 if area == "old" else 0.7)
        student = teacher if agrees else 1 - teacher
        exchange = build_exchange(
            number,
            **{
                "task": TASK,
                "started_at_us": START_US + number * spacing_us,
                "attributes": {"x-area": area},
                "teacher": (observed(teacher, draw.uniform(0.6, 1)),),
            }
            | changes,
        )
        answer = build_answer(
            number, artifact, observations=(observed(student, draw.uniform(0.5, 1) if agrees else 0.7),)
        )
        rows.append((exchange, answer))
    return rows
