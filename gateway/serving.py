"""Who serves a request: pure decisions over a snapshot of the stages and what the student said."""

import hashlib
from collections.abc import Mapping, Sequence

from ledger.exchange import Arm, Fallback
from ledger.observation import Observation
from ledger.slices import SliceRule, Subject, serving_slices_of
from student.wire import Refusal

_SPAN = float(2**64)


def assign(artifact: str, subject: bytes, share: float) -> Arm:
    """The arm of a request: stable for a subject (session or exchange) while the artifact serves.

    The share only ever moves subjects in one direction: who is in at 5 % is still in at 20 %.
    """
    if share <= 0:
        return Arm.CONTROL
    digest = hashlib.blake2b(subject, digest_size=8, key=artifact.encode()[:64]).digest()
    return Arm.STUDENT if int.from_bytes(digest, "big") / _SPAN < share else Arm.CONTROL


def applied_threshold(
    rules: Sequence[SliceRule], thresholds: Mapping[str, float], subject: Subject
) -> float | None:
    """The least confidence with which one input may be served; None if a slice of it has no certificate."""
    slices = serving_slices_of(rules, subject)
    if not all(name in thresholds for name in slices):
        return None
    return max(thresholds[name] for name in slices)


def applied_thresholds(
    rules: Sequence[SliceRule],
    thresholds: Mapping[str, float],
    subjects: Sequence[Subject],
) -> list[float] | None:
    """One threshold for each input; None if the certificate does not cover all of them."""
    found = [applied_threshold(rules, thresholds, subject) for subject in subjects]
    return None if None in found else [threshold for threshold in found if threshold is not None]


def why_uncovered(rules: Sequence[SliceRule], void: frozenset[str], subjects: Sequence[Subject]) -> Fallback:
    """What to call it when the certificate does not cover all inputs: a slice lost it, or never had it."""
    slices = {name for subject in subjects for name in serving_slices_of(rules, subject)}
    return Fallback.CERTIFICATE_VOID if slices & void else Fallback.UNCERTIFIED_SLICE


def decide(said: Sequence[Observation] | Refusal, thresholds: Sequence[float]) -> Fallback | None:
    """Why the teacher must answer instead, or None if the student may: every input has to clear its own."""
    if said is Refusal.DEADLINE:
        return Fallback.DEADLINE
    if isinstance(said, Refusal) or len(said) != len(thresholds):
        return Fallback.STUDENT_FAILED
    if any(observation.probabilities is None for observation in said):
        return Fallback.STUDENT_FAILED
    pairs = zip(said, thresholds, strict=True)
    sure = all(observation.confidence >= threshold for observation, threshold in pairs)
    return None if sure else Fallback.LOW_CONFIDENCE
