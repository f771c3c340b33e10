"""What happens around a monitor, as a list: played on real files, with ticks that are killed or with none, and folded
by the definitions alone."""

import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import Session

from ledger.control_file import control_path, open_control_file
from ledger.cursors import cursor
from ledger.exchange import TEACHER, Answer, Exchange, Origin, exchange_id, parse_exchange_id
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from ledger.slices import OVERALL
from ledger.stages import Stage
from monitor.cycle import PROCESS
from monitor.gathering import source_of
from monitor.pairs import Pair, pairs_of, teacher_observations_of
from monitor.sums import SliceSums, merged
from tests.ledger.builders import build_answer, build_certified_slice, build_exchange
from tests.monitor.killing import Before, Order, Rule, run_tick
from tests.monitor.world import (
    CLASSES,
    A,
    B,
    add_student,
    build_configuration,
    send_label,
)

SECOND_US = 1_000_000
TICK_US = 10 * SECOND_US
FAR_US = 4 * 10**15  # the year 2096: more than a day after every label
GATEWAYS = ("g0", "g1", "g2")
GOOD = {OVERALL: (600, 570), "area=a": (300, 285), "area=z": (300, 285)}
LINES = {name: build_certified_slice(0.75) for name in (OVERALL, "area=a")}
UNSURE = {A: Observation((0.55, 0.45)), B: Observation((0.45, 0.55))}  # agrees, below every threshold

AREA: Rule = {"name": "area", "header": "x-area", "critical": True, "bar": 0.8}
DESK: Rule = {"name": "desk", "teacher_class": True}
TAG: Rule = {"name": "tag", "header": "x-tag", "max_values": 2}
LENGTH: Rule = {"name": "length", "words": (50,)}
SHORT: Rule = {"name": "length", "words": (3,)}
SIZE: Rule = {"name": "size", "characters": (7,)}
BOTH: Rule = {"name": "both", "of": ("area", "length")}
ALWAYS = (AREA, DESK)  # declared before the first exchange: what they count is folded by the definitions, too

CLOCKS = {  # columns that tell by the clock on the wall when a row was written, and what is made of them
    "api_key": {"created_at_us"},
    "audit": {"at_us", "digest"},
    "heartbeat": {"at_us"},
    "job": {"opened_at_us"},
    "label": {"arrived_at_us"},
    "slice_rule": {"declared_at_us"},
    "stage_change": {"at_us"},
}

State = Mapping[str, Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Arrived:
    """An exchange, an answer to one, or both at once."""

    gateway: str
    exchange: Exchange | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    exchange_id: str
    input_index: int
    label: str


@dataclass(frozen=True, slots=True)
class Declared:
    """Besides those that are always there."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """Retention looks at so many of the oldest exchanges of a gateway."""

    gateway: str
    exchanges: int


@dataclass(frozen=True, slots=True)
class Ticked:
    now_us: int


Operation = Arrived | Labelled | Declared | Removed | Ticked


# --- what happens ---------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """Exchanges of several gateways with the answers of two students; audits and labels come when they like."""

    rng: random.Random
    students: Sequence[str]
    windows: int = 5  # over which exchanges are spread
    sequences: dict[str, int] = field(default_factory=dict)
    waiting: list[tuple[str, Answer]] = field(default_factory=list)

    def exchange(self, wrong: float) -> Arrived:
        """`wrong` is the share of answers that disagree."""
        gateway = self.rng.choice(GATEWAYS)
        sequence = self.sequences[gateway] = self.sequences.get(gateway, -1) + 1
        inputs = self.rng.choice((1, 1, 1, 2))
        teacher = tuple(self.rng.choice((A, A, B)) for _ in range(inputs))
        audited = self.rng.random() < 0.3
        texts = [self.rng.choice(("short", "a longer text")) for _ in range(inputs)]
        exchange = build_exchange(
            sequence,
            exchange_id=exchange_id(gateway, sequence),
            started_at_us=self.rng.randrange(0, self.windows * 60 * SECOND_US),
            teacher=() if audited else teacher,
            inclusion=0.3,
            attributes={"x-area": self.rng.choice("az"), "x-tag": self.rng.choice("pqrs")},
            inputs=tuple(texts),
            input_words=tuple(self.rng.choice((2, 80)) for _ in range(inputs)),
            input_digests=tuple(
                "same" if self.rng.random() < 0.1 else f"{gateway}-{sequence}-{index}"
                for index in range(inputs)
            ),
        )
        late = [self._answer(sequence, student, teacher, wrong) for student in self.students]
        if audited:
            late.append(build_answer(sequence, TEACHER, origin=Origin.AUDIT, observations=teacher))
        self.rng.shuffle(late)
        at_once = [answer for answer in late if self.rng.random() < 0.5]
        self.waiting += [(gateway, answer) for answer in late if answer not in at_once]
        return Arrived(gateway, exchange, tuple(at_once))

    def late_answer(self) -> Arrived | None:
        """Now and then one that comes again."""
        if not self.waiting:
            return None
        place = self.rng.randrange(len(self.waiting))
        gateway, answer = self.waiting[place] if self.rng.random() < 0.2 else self.waiting.pop(place)
        return Arrived(gateway, None, (answer,))

    def label(self) -> Labelled:
        """Of any input: known, still to come, never to come, labelled before; now and then of no class."""
        gateway = self.rng.choice(GATEWAYS)
        sequence = self.rng.randrange(self.sequences.get(gateway, 0) + 6)
        named = exchange_id(gateway, sequence) if self.rng.random() < 0.95 else "nobody's"
        return Labelled(named, self.rng.randrange(2), self.rng.choice(("a", "a", "b", "no class")))

    def _answer(self, sequence: int, student: str, teacher: Sequence[Observation], wrong: float) -> Answer:
        said = [
            (B if right is A else A)
            if self.rng.random() < wrong
            else self.rng.choice((right, right, UNSURE[right]))
            for right in teacher
        ]
        return build_answer(
            sequence, student, observations=tuple(said), latency_us=self.rng.randrange(16, 10**6)
        )


def burst(traffic: Traffic, exchanges: int, wrong: float) -> Iterator[Operation]:
    """So many exchanges, with as many late answers and half as many labels."""
    for number in range(exchanges):
        yield traffic.exchange(wrong)
        yield from filter(None, [traffic.late_answer()])
        if number % 2:
            yield traffic.label()


def plan(rng: random.Random, traffic: Traffic, steps: int) -> list[Operation]:
    """Traffic that begins to disagree halfway; the last ticks come days later, when lost labels are removed."""
    found: list[Operation] = []
    for step in range(steps):
        wrong = 0.02 if step < steps / 2 else 0.7
        match rng.choices(range(6), (50, 30, 14, 2, 3, 9))[0]:
            case 0:
                found.append(traffic.exchange(wrong))
            case 1:
                found += filter(None, [traffic.late_answer()])
            case 2:
                found.append(traffic.label())
            case 3:
                found.append(declared(rng))
            case 4:
                found.append(Removed(rng.choice(GATEWAYS), rng.randrange(1, 30)))
            case _:
                found.append(Ticked((step + 1) * TICK_US))
    return [*found, *(Ticked(FAR_US + tick * TICK_US) for tick in range(8))]


def declared(rng: random.Random) -> Declared:
    chosen = [rule for rule in (TAG, rng.choice((LENGTH, SHORT)), SIZE) if rng.random() < 0.6]
    if any(rule["name"] == "length" for rule in chosen):
        chosen.append(BOTH)
    return Declared(tuple(chosen))


# --- on files -------------------------------------------------------------------------------------------


class Deployment:
    """The files of one deployment; what happens is written to them as its processes would."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.rules, self.past = directory, ALWAYS, 15
        self.engine = open_control_file(directory)
        self.students = [
            add_student(self.engine, directory, GOOD, stage, number, LINES).artifact
            for number, stage in ((1, Stage.SHADOW), (2, Stage.CANARY))
        ]
        self._files: dict[str, ExchangeFile] = {}

    def apply(self, operation: Operation) -> None:
        match operation:
            case Arrived(gateway, exchange, answers):
                self._file(gateway).append([exchange] if exchange else [], answers)
            case Labelled(named, index, label):
                send_label(self.engine, named, label, index)
            case Declared(rules):
                self.rules = (*ALWAYS, *rules)
            case Removed(gateway, exchanges):
                self._remove(gateway, exchanges)
            case Ticked(now_us):
                run_tick(self.order(now_us))

    def order(self, now_us: int, before: Before = "statement", number: int = 0) -> Order:
        return Order(str(self.directory), self.rules, now_us, self.past, before, number)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self.engine.dispose()

    def _remove(self, gateway: str, exchanges: int) -> None:
        """As gateway.retention does for age: nothing that has an answer which the monitor has not read."""
        file = self._file(gateway)
        with Session(self.engine) as session:
            folded = cursor(session, PROCESS, source_of(gateway))
        oldest = [sequence for sequence, _ in file.oldest(exchanges)]
        unfolded = file.unfolded(oldest, folded)
        file.remove([sequence for sequence in oldest if sequence not in unfolded], "age")

    def _file(self, gateway: str) -> ExchangeFile:
        if gateway not in self._files:
            self._files[gateway] = ExchangeFile(exchange_path(self.directory, gateway))
        return self._files[gateway]


def state_of(directory: Path) -> State:
    """Every row of the control file, by table, without what the clock on the wall said; repairs it first, as every
    process does that opens it after another one was killed."""
    if not control_path(directory).exists():
        return {}
    with closing(sqlite3.connect(control_path(directory))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {table: _rows(connection, table) for table in sorted(tables)}


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = ", ".join(name for name in names if name not in CLOCKS.get(table, ()))
    return sorted(connection.execute(f"SELECT {kept} FROM {table}").fetchall(), key=repr)


# --- by the definitions ---------------------------------------------------------------------------------

Place = tuple[str, int, str]  # exchange id, index of the input, student


@dataclass
class Folded:
    """What was read, by which every pair and label is counted at most once, whenever ticks came."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)  # those that are still there
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)  # how many of these answers
    new_labels: list[Labelled] = field(default_factory=list)
    labels: dict[tuple[str, int], str] = field(default_factory=dict)  # the last that was read, by input
    pairs: dict[Place, Pair] = field(default_factory=dict)
    labelled: dict[Place, str] = field(default_factory=dict)

    def apply(self, operation: Operation) -> None:
        match operation:
            case Arrived(gateway, exchange, answers):
                self._arrive(gateway, exchange, answers)
            case Labelled():
                self.new_labels.append(operation)
            case Removed(gateway, exchanges):
                self._remove(gateway, exchanges)
            case Ticked():
                self._tick()

    def sums(self) -> dict[tuple[str, str], SliceSums]:
        """By student and slice."""
        parts: dict[tuple[str, str], list[SliceSums]] = {}
        for place, pair in self.pairs.items():
            sums = SliceSums.of_pair(pair)
            if self.labelled.get(place) in CLASSES:
                sums = sums.merge(SliceSums.of_label(pair, CLASSES.index(self.labelled[place])))
            for name in pair.slices:
                parts.setdefault((pair.artifact, name), []).append(sums)
        return {key: merged(group) for key, group in parts.items()}

    def _arrive(self, gateway: str, exchange: Exchange | None, answers: Sequence[Answer]) -> None:
        if exchange is not None:
            self.exchanges[exchange.exchange_id] = exchange
        for answer in answers:
            known = self.answers.setdefault(exchange_id(gateway, answer.exchange_sequence), [])
            if answer.responder not in [earlier.responder for earlier in known]:
                known.append(answer)

    def _remove(self, gateway: str, exchanges: int) -> None:
        own = [(parse_exchange_id(name), name) for name in self.exchanges]
        oldest = sorted((place[1], name) for place, name in own if place and place[0] == gateway)[:exchanges]
        for _, name in oldest:
            if len(self.answers.get(name, ())) == self.read.get(name, 0):
                del self.exchanges[name]

    def _tick(self) -> None:
        for label in self.new_labels:
            self.labels[label.exchange_id, label.input_index] = label.label
            for place in self.pairs:
                if place[:2] == (label.exchange_id, label.input_index) and place[0] in self.exchanges:
                    self.labelled[place] = label.label
        self.new_labels.clear()
        for name, exchange in self.exchanges.items():
            self._read(exchange, self.answers.get(name, []))

    def _read(self, exchange: Exchange, answers: Sequence[Answer]) -> None:
        self.read[exchange.exchange_id] = len(answers)
        teacher = teacher_observations_of(exchange, answers)
        for answer in answers:
            if answer.responder != TEACHER:
                for pair in pairs_of(exchange, answer, teacher, RULES, CLASSES):
                    place = (pair.exchange_id, pair.input_index, pair.artifact)
                    if place not in self.pairs:
                        self.pairs[place] = pair
                        self.labelled[place] = self.labels.get(place[:2], "")


RULES = build_configuration(Path("/nowhere"), slice=ALWAYS).task[0].rules
