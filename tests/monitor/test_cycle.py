"""Ticks: exact sums whatever the order, the ticks and the crashes, and alarms that can be replayed."""

import random
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange import TEACHER, Answer, Exchange, Origin
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tables import HeartbeatRow
from monitor.cycle import CycleReport, run_cycle
from monitor.pairs import pairs_of, teacher_observations_of
from monitor.reports import merged_sums
from monitor.sums import SliceSums, merged
from tests.ledger.builders import build_answer
from tests.monitor.world import (
    CLASSES,
    TASK,
    A,
    B,
    build_configuration,
    send_label,
    served,
    shadowed,
    traffic,
)

TICK_US = 10_000_000
GOOD = {"all": (600, 570), "area=a": (300, 285), "area=z": (300, 285)}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return build_configuration(tmp_path)


def sums_of(engine: Engine, artifact: str = "s-1", **span: int) -> dict[str, SliceSums]:
    with Session(engine) as session:
        return merged_sums(session, TASK, artifact, **span)


def tick(engine: Engine, configuration: Configuration, number: int = 0) -> CycleReport:
    return run_cycle(engine, configuration, number * TICK_US)


# --- folding ------------------------------------------------------------------------------------------


def test_pairs_are_folded_into_every_slice_and_window(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """A pair counts in the window in which its exchange started."""
    minute = 60_000_000
    for sequence, started in enumerate((0, minute - 1, minute, 5 * minute)):
        exchange, answer = shadowed(sequence, agrees=sequence != 2, started_at_us=started)
        exchanges.append([exchange], [answer])

    report = tick(engine, configuration)

    assert (report.pairs, report.is_behind) == (4, False)
    whole = sums_of(engine)
    assert {name: (s.pairs, s.agreements) for name, s in whole.items()} == dict.fromkeys(
        ("all", "area=a", "desk=a", "length=0-49"), (4, 3)
    )
    assert sums_of(engine, until_us=minute)["all"].pairs == 2
    assert sums_of(engine, since_us=minute, until_us=2 * minute)["all"].agreements == 0
    assert sums_of(engine, since_us=0) == whole


def test_several_gateways_are_followed_at_once(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Each with a cursor of its own, and equal sequence numbers do not collide."""
    other = ExchangeFile(exchange_path(tmp_path, "g1"))
    for file, gateway in ((exchanges, "g0"), (other, "g1")):
        exchange, answer = shadowed(7, agrees=True, gateway=gateway)
        file.append([exchange], [answer])
    other.close()

    assert tick(engine, configuration).pairs == 2
    assert tick(engine, configuration).pairs == 0
    assert sums_of(engine)["all"].pairs == 2


def test_an_unreadable_exchange_file_holds_up_no_other(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """It is named, and its labels wait; labels that came before them do not."""
    broken = exchange_path(tmp_path, "broken")
    broken.write_bytes(b"this is not a database, however long one reads it" * 100)
    exchanges.append(*traffic(2, "s-1"))
    for exchange in ("g0-0", "broken-1", "g0-1"):
        send_label(engine, exchange, "a")

    report = tick(engine, configuration)

    assert (report.pairs, report.labels) == (2, 1)
    assert "broken.sqlite cannot be read" in report.problems["broken"]
    broken.unlink()
    assert tick(engine, configuration).labels == 2
    assert sums_of(engine)["all"].labelled == 2


# --- exactness ----------------------------------------------------------------------------------------


class Story:
    """Random traffic and labels in random order, and what the sums have to be in the end."""

    def __init__(self, seed: int, engine: Engine, file: ExchangeFile, configuration: Configuration) -> None:
        self.random, self.engine, self.file = random.Random(seed), engine, file
        self.configuration = configuration
        self.exchanges: list[Exchange] = []
        self.answers: dict[int, list[Answer]] = {}
        self.waiting: list[Answer] = []
        self.labels: dict[tuple[str, int], tuple[str, float]] = {}

    def step(self) -> None:
        self.random.choice((self.request, self.request, self.arrive, self.arrive, self.label, self.tick))()

    def request(self) -> None:
        sequence = len(self.exchanges)
        sides: dict[str, Any] = {
            "teacher": (self.random.choice((A, B)), self.random.choice((A, B))),
            "inputs": ("x", "y"),
            "input_words": (3, 80),
            "input_digests": (f"{sequence % 5}", "same"),
            "attributes": {"x-area": self.random.choice("az")},
            "started_at_us": self.random.randrange(0, 600_000_000),
        }
        if self.random.random() < 0.6:
            exchange, answer = shadowed(sequence, self.random.random() < 0.7, **sides)
            late = [answer]
        else:
            exchange, answer = served(sequence, **(sides | {"teacher": ()}))
            audit = build_answer(sequence, TEACHER, origin=Origin.AUDIT, observations=sides["teacher"])
            late = [build_answer(sequence, "s-1", observations=(A, B)), audit]
        self.exchanges.append(exchange)
        self.file.append([exchange], [])
        self.waiting.extend(late)

    def arrive(self) -> None:
        if self.waiting:
            answer = self.waiting.pop(self.random.randrange(len(self.waiting)))
            self.answers.setdefault(answer.exchange_sequence, []).append(answer)
            self.file.append([], [answer])

    def label(self) -> None:
        """Of any input: known, still to come, labelled before; now and then of no class at all.

        Some say with which probability they were chosen; who says nothing leaves it as it was.
        """
        of_input = (f"g0-{self.random.randrange(len(self.exchanges) + 5)}", self.random.randrange(2))
        label, said = self.random.choice(("a", "b", "b", "no class")), self.random.choice((None, 0.3, 1.0))
        _, before = self.labels.get(of_input, ("", 1.0))
        self.labels[of_input] = label, before if said is None else said
        send_label(self.engine, of_input[0], label, of_input[1], said)

    def tick(self) -> None:
        tick(self.engine, self.configuration)

    def expected(self) -> dict[str, SliceSums]:
        """Everything at once, from the final state alone."""
        rules = self.configuration.task[0].rules
        parts: dict[str, list[SliceSums]] = {}
        for exchange in self.exchanges:
            answers = self.answers.get(exchange.sequence, [])
            teacher = teacher_observations_of(exchange, answers)
            for answer in (a for a in answers if a.responder != TEACHER):
                for pair in pairs_of(exchange, answer, teacher, rules, CLASSES):
                    sums = SliceSums.of_pair(pair)
                    label, chosen = self.labels.get((pair.exchange_id, pair.input_index), ("", 1.0))
                    if label in CLASSES:
                        sums = sums.merge(SliceSums.of_label(pair, CLASSES.index(label), chosen))
                    for name in pair.slices:
                        parts.setdefault(name, []).append(sums)
        return {name: merged(group) for name, group in parts.items()}


@pytest.mark.parametrize("seed", range(6))
def test_sums_do_not_depend_on_order_or_ticks(
    seed: int, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Labels early, late, corrected, repeated or of no class; audits before and after; ticks anywhere."""
    story = Story(seed, engine, exchanges, configuration)
    for _ in range(250):
        story.step()
    tick(engine, configuration)

    assert orjson.dumps({n: s.to_json() for n, s in sorted(sums_of(engine).items())}) == orjson.dumps(
        {n: s.to_json() for n, s in sorted(story.expected().items())}
    )
    assert sums_of(engine, since_us=0) == sums_of(engine)


def test_a_tick_that_fails_leaves_nothing_behind(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """The file itself refuses the last write of the transaction; the next tick does everything once."""
    exchanges.append(*traffic(20, "s-1", disagree=range(5)))
    send_label(engine, "g0-3", "b")
    with transaction(engine) as session:
        session.connection().execute(
            text("CREATE TRIGGER refuse BEFORE INSERT ON heartbeat BEGIN SELECT RAISE(ABORT, 'refused'); END")
        )

    with pytest.raises(IntegrityError, match="refused"):
        tick(engine, configuration)
    assert sums_of(engine) == {}
    with transaction(engine) as session:
        session.connection().execute(text("DROP TRIGGER refuse"))

    assert tick(engine, configuration).pairs == 20
    assert tick(engine, configuration).pairs == 0
    overall = sums_of(engine)["all"]
    assert (overall.pairs, overall.agreements, overall.labelled) == (20, 15, 1)


def test_a_monitor_that_was_overtaken_writes_nothing(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Two at once: whoever comes second sees moved cursors and leaves it."""
    exchanges.append(*traffic(5, "s-1"))
    tick(engine, configuration)
    exchanges.append(*([part[5:] for part in traffic(8, "s-1")]))

    barrier = Barrier(4)
    reports: list[CycleReport] = []

    def work() -> None:
        barrier.wait()
        reports.append(tick(engine, configuration))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(report.pairs for report in reports) == 3
    assert sums_of(engine)["all"].pairs == 8


def test_the_heartbeat_carries_exact_totals(
    engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """They live in the transaction of the tick, so they survive restarts."""
    exchanges.append(*traffic(5, "s-1"))
    tick(engine, configuration)
    unaudited, inline = served(9, measured=False)
    exchanges.append([unaudited], [inline])
    tick(engine, configuration, 1)

    with Session(engine) as session:
        heartbeat = session.get(HeartbeatRow, "monitor")
    assert heartbeat is not None
    assert {name: heartbeat.report[name] for name in ("ticks", "pairs", "alarms", "unusable")} == {
        "ticks": 2,
        "pairs": 5,
        "alarms": 0,
        "unusable": {"not_measured": 1},
    }
