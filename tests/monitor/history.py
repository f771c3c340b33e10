"""What happens around a monitor, as a list of operations: tests.monitor.deployed plays it on real files,
tests.monitor.folded by the definitions alone."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.exchange import TEACHER, Answer, Exchange, Origin, exchange_id
from ledger.observation import Observation
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.killing import Rule
from tests.monitor.world import A, B

SECOND_US = 1_000_000
TICK_US = 10 * SECOND_US
FAR_US = 4 * 10**15  # the year 2096: more than a day after every label
GATEWAYS = ("g0", "g1", "g2")
UNSURE = {A: Observation((0.55, 0.45)), B: Observation((0.45, 0.55))}  # agrees, below every threshold

AREA: Rule = {"name": "area", "header": "x-area", "critical": True, "bar": 0.8}
DESK: Rule = {"name": "desk", "teacher_class": True}
TAG: Rule = {"name": "tag", "header": "x-tag", "max_values": 2}
LENGTH: Rule = {"name": "length", "words": (50,)}
SHORT: Rule = {"name": "length", "words": (3,)}
SIZE: Rule = {"name": "size", "characters": (7,)}
BOTH: Rule = {"name": "both", "of": ("area", "length")}
ALWAYS = (AREA, DESK)  # declared before the first exchange: what they count is folded by the definitions, too


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
    past: int = 15  # answers of each gateway that rules which catch up are shown


Operation = Arrived | Labelled | Declared | Removed | Ticked


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
