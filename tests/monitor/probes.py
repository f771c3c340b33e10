"""Passes of probes through a teacher that the test makes up."""

from collections.abc import Callable, Iterator

from ledger.observation import Observation
from ledger.probe_replies import ProbeReply

A, B, NEARLY_A = Observation((0.9, 0.1)), Observation((0.2, 0.8)), Observation((0.8, 0.2))
PASS_US = 6 * 3600 * 1_000_000

Teacher = Callable[[int, int], Observation]  # pass, probe


def build_reply(
    probe: int = 0, of_pass: int = 0, said: Observation | None = A, **changes: object
) -> ProbeReply:
    """The reply to one probe in one pass; None is a teacher that failed."""
    began = 1_000_000 + of_pass * PASS_US
    reply = ProbeReply(
        task="desk",
        probe_set="set",
        probe=probe,
        pass_at_us=began,
        asked_at_us=began + probe * 1_000_000,
        latency_us=5,
        version=None,
        fingerprint=None,
        failure=None if said is not None else "upstream_timeout",
        observations=() if said is None else (said,),
    )
    return reply._replace(**changes)  # type: ignore[arg-type]


def passes(teacher: Teacher, first: int, count: int, probes: int = 20) -> Iterator[ProbeReply]:
    for number in range(first, first + count):
        for probe in range(probes):
            yield build_reply(probe, number, teacher(number, probe))
