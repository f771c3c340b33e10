"""What a monitor has to have counted after a history, from the definitions of one pair and one label."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.exchange import TEACHER, Answer, Exchange, exchange_id, parse_exchange_id
from monitor.pairs import Pair, pairs_of, teacher_observations_of
from monitor.sums import SliceSums, merged
from tests.monitor.history import ALWAYS, Arrived, Labelled, Operation, Removed, Ticked
from tests.monitor.world import CLASSES, build_configuration

RULES = build_configuration(Path("/nowhere"), slice=ALWAYS).task[0].rules

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
