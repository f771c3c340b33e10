"""What the two threads of the student process do with what the event loop hands them."""

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnxruntime

from ledger.observation import Observation, ObservationError
from student.batching import Buckets, Waiting
from student.session import Student
from student.tokens import TokenIds
from student.wire import Refusal

TURN_SECONDS = 0.005  # of small batches in one go, before the event loop is asked what is urgent

_arrivals = itertools.count()

log = logging.getLogger(__name__)


class Raw(NamedTuple):
    """A request that is not tokenised yet."""

    number: int  # the server's own
    artifact: str
    shadow: bool
    texts: tuple[str, ...]
    deadline: float  # event-loop time


class Said(NamedTuple):
    """What became of one input; a refusal is that of its whole request."""

    request: int
    place: int
    what: Observation | Refusal


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tokenised inputs, and those that have their answer without a model."""

    waiting: Buckets
    said: list[Said]


def prepare(students: Mapping[str, Student], requests: Sequence[Raw]) -> Prepared:
    """Tokenise the texts of each artifact in one call."""
    prepared = Prepared(Buckets(), [])
    for artifact in dict.fromkeys(request.artifact for request in requests):
        same = [request for request in requests if request.artifact == artifact]
        student = students.get(artifact)
        if student is None:  # unloaded since it was admitted
            prepared.said.extend(Said(request.number, 0, Refusal.NOT_LOADED) for request in same)
        else:
            _prepare_for(student, same, prepared)
    return prepared


def infer(
    students: Mapping[str, Student], artifact: str, batch: Sequence[Waiting], options: onnxruntime.RunOptions
) -> list[Said]:
    student = students.get(artifact)
    if student is None:
        return [Said(entry.request, entry.place, Refusal.NOT_LOADED) for entry in batch]
    observations = student.infer([entry.row for entry in batch], options)
    return [
        Said(entry.request, entry.place, observation)
        for entry, observation in zip(batch, observations, strict=True)
    ]


def infer_batch(
    students: Mapping[str, Student], artifact: str, batch: Sequence[Waiting], options: onnxruntime.RunOptions
) -> Prepared:
    return Prepared(Buckets(), infer(students, artifact, batch, options))


def prepare_and_infer(
    students: Mapping[str, Student],
    requests: Sequence[Raw],
    max_batch_tokens: int,
    options: onnxruntime.RunOptions,
) -> Prepared:
    """Tokenise, then run batches for TURN_SECONDS: what is left waits for its turn."""
    end = time.monotonic() + TURN_SECONDS
    prepared = prepare(students, requests)
    while time.monotonic() < end and (chosen := prepared.waiting.next_batch(max_batch_tokens)):
        prepared.said.extend(infer(students, *chosen, options))
    return prepared


def _prepare_for(student: Student, requests: Sequence[Raw], prepared: Prepared) -> None:
    rows = _rows(student, [text for request in requests for text in request.texts])
    start = 0
    for request in requests:
        end = start + len(request.texts)
        for place, row in enumerate(rows[start:end]):
            if isinstance(row, Observation):
                prepared.said.append(Said(request.number, place, row))
            else:
                entry = Waiting(request.deadline, next(_arrivals), request.number, place, row)
                prepared.waiting.add(request.artifact, request.shadow, entry)
        start = end


def _rows(student: Student, texts: list[str]) -> Sequence[TokenIds | Observation]:
    """The ids of each text; where the tokenizer fails, each text alone."""
    try:
        return student.tokenize(texts)
    except Exception as error:  # the tokenizer raises nothing narrower
        if len(texts) > 1:
            return [row for text in texts for row in _rows(student, [text])]
        log.warning("A text of %d characters: %s. action=tokenize_failed", len(texts[0]), error)
        return [Observation(None, ObservationError.STUDENT_FAILED)]
