"""Exchanges and answers with sane values, of which a test changes what it is about."""

from typing import Any

from ledger.artifacts import CertifiedSlice
from ledger.exchange import Answer, Arm, Exchange, Origin, Outcome, ServedBy, exchange_id
from ledger.observation import Observation

SURE_A = Observation((0.9, 0.1))


def build_exchange(sequence: int = 0, **changes: Any) -> Exchange:
    fields: dict[str, Any] = {
        "exchange_id": exchange_id("g0", sequence),
        "sequence": sequence,
        "task": "desk",
        "started_at_us": 1_000_000 + sequence,
        "duration_us": 10,
        "outcome": Outcome.COMPLETE,
        "status": 200,
        "served_by": ServedBy.TEACHER,
        "arm": Arm.CONTROL,
        "artifact": None,
        "stage_revision": 0,
        "teacher_epoch": "1",
        "inclusion": 1.0,
        "measured": True,
        "fallback": None,
        "unpaired": None,
        "attributes": {"x-area": "a"},
        "inputs": (f"text {sequence}",),
        "input_words": (2,),
        "input_digests": (f"{sequence:032x}",),
        "teacher": (SURE_A,),
    }
    return Exchange(**(fields | changes))


def build_answer(sequence: int = 0, responder: str = "s-1", **changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "exchange_sequence": sequence,
        "responder": responder,
        "origin": Origin.SHADOW,
        "answered_at_us": 2_000_000,
        "latency_us": 100,
        "observations": (SURE_A,),
    }
    return Answer(**(fields | changes))


def build_certified_slice(confidence: float, **changes: Any) -> CertifiedSlice:
    """A line of a certificate: 10 of 500 accepted pairs disagree."""
    fields: dict[str, Any] = {
        "confidence": confidence,
        "accepted": 500,
        "disagreements": 10,
        "pairs": 600,
        "delta": 0.05,
        "method": "grid",
        "coverage_low": 0.8,
        "coverage_high": 0.86,
    }
    return CertifiedSlice(**(fields | changes))
