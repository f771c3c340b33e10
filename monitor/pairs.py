"""Joins what teacher and student answered to the same input into a pair, the unit of every statistic."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.exchange import TEACHER, Answer, Exchange, Outcome, ServedBy
from ledger.observation import Observation, ObservationError
from ledger.slices import SliceRule, slices_of, subject_of

NOT_MEASURED = "not_measured"  # whether the teacher was asked depended on what the student said
INCOMPLETE = "incomplete"  # the exchange did not end as complete
NO_TEACHER = "no_teacher"  # the teacher's answer is missing; an audit may still bring it


@dataclass(frozen=True, slots=True)
class Pair:
    """Two usable distributions over the same classes for one input of one exchange."""

    exchange_id: str
    input_index: int
    artifact: str
    at_us: int  # start of the exchange
    slices: tuple[str, ...]  # the overall one first
    teacher: Observation
    student: Observation
    input_digest: str
    words: int = 0
    student_latency_us: int | None = None  # of the whole answer, whatever number of inputs it had
    teacher_latency_us: int | None = None  # of the exchange, where the teacher served it
    inclusion: float = 1.0  # probability with which both sides were asked

    @property
    def agrees(self) -> bool:
        return self.teacher.top == self.student.top


@dataclass(frozen=True, slots=True)
class Joined:
    """The pairs of one answer, and why its other inputs gave none."""

    pairs: tuple[Pair, ...]
    unusable: Mapping[str, int]  # reason -> inputs


def teacher_observations_of(exchange: Exchange, answers: Sequence[Answer]) -> tuple[Observation, ...]:
    """What the teacher said: on the caller's path, else when audited; empty if it was not asked."""
    if exchange.teacher:
        return exchange.teacher
    return next((answer.observations for answer in answers if answer.responder == TEACHER), ())


def pairs_of(
    exchange: Exchange,
    answer: Answer,
    teacher_observations: Sequence[Observation],
    rules: Sequence[SliceRule],
    classes: Sequence[str],
) -> list[Pair]:
    """The pairs of one student's answer: one for each input that both sides answered usably."""
    return list(join(exchange, answer, teacher_observations, rules, classes).pairs)


def join(
    exchange: Exchange,
    answer: Answer,
    teacher_observations: Sequence[Observation],
    rules: Sequence[SliceRule],
    classes: Sequence[str],
) -> Joined:
    """Like pairs_of, with the count of inputs that gave no pair for each reason."""
    inputs = len(exchange.input_words)
    reason = _unusable_exchange(exchange, teacher_observations)
    if reason is not None:
        return Joined((), {reason: inputs} if inputs else {})
    pairs: list[Pair] = []
    unusable: Counter[str] = Counter()
    for index in range(inputs):
        teacher = _at(teacher_observations, index, len(classes))
        student = _at(answer.observations, index, len(classes))
        if teacher.error or student.error:
            unusable[f"teacher_{teacher.error}" if teacher.error else f"student_{student.error}"] += 1
        else:
            pairs.append(_pair(exchange, answer, index, teacher, student, rules, classes))
    return Joined(tuple(pairs), dict(unusable))


def _unusable_exchange(exchange: Exchange, teacher_observations: Sequence[Observation]) -> str | None:
    if exchange.outcome is not Outcome.COMPLETE:
        return INCOMPLETE
    if not exchange.measured:
        return NOT_MEASURED
    return None if teacher_observations else NO_TEACHER


def _at(observations: Sequence[Observation], index: int, class_count: int) -> Observation:
    if index >= len(observations):
        return Observation(None, ObservationError.ABSENT)
    observation = observations[index]
    if observation.probabilities is not None and len(observation.probabilities) != class_count:
        return Observation(None, ObservationError.WRONG_CLASSES)
    return observation


def _pair(
    exchange: Exchange,
    answer: Answer,
    index: int,
    teacher: Observation,
    student: Observation,
    rules: Sequence[SliceRule],
    classes: Sequence[str],
) -> Pair:
    return Pair(
        exchange_id=exchange.exchange_id,
        input_index=index,
        artifact=answer.responder,
        at_us=exchange.started_at_us,
        slices=slices_of(rules, subject_of(exchange, index, classes[teacher.top])),
        teacher=teacher,
        student=student,
        input_digest=exchange.input_digests[index],
        words=exchange.input_words[index],
        student_latency_us=answer.latency_us,
        teacher_latency_us=exchange.duration_us if exchange.served_by is ServedBy.TEACHER else None,
        inclusion=exchange.inclusion * answer.inclusion,
    )
