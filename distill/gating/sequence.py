"""The artifacts of one candidate, judged in the order that was locked: the first that does not pass ends it.

Each is judged at the candidate's whole alpha; since a later one is looked at only where all earlier ones passed, the
probability of any wrong pass stays alpha (fixed-sequence testing, Maurer et al. 1995).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from distill.curation.split import GateRow
from distill.gating.answers import Answers
from distill.gating.gate import Judged, judge
from distill.gating.lock import Lock
from distill.gating.look import ALONE, Beside
from distill.gating.terms import ARTIFACTS
from ledger.configuration import TaskSection

ORIGINAL = ARTIFACTS[0]  # what the others were quantized from


def judge_in_order(
    artifacts: Mapping[str, Answers],
    gate_rows: Sequence[GateRow],
    task: TaskSection,
    lock: Lock,
    looks: int,
    beside: Beside = ALONE,
    inputs_per_day: float | None = None,
) -> dict[str, Judged]:
    """By kind of artifact, those that were looked at. Quantization never blocks: what passed before it stands."""
    judged: dict[str, Judged] = {}
    for kind in (kind for kind in ARTIFACTS if kind in artifacts):
        original = artifacts[ORIGINAL] if kind != ORIGINAL and ORIGINAL in artifacts else None
        seen = replace(beside, original=original)
        judged[kind] = judge(artifacts[kind], gate_rows, task, lock, looks, seen, inputs_per_day)
        if judged[kind].report.outcome != "pass":
            break
    return judged
