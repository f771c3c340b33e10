"""Ends a round: keeps what it came to in the job's folder, and says what follows from all rounds so far."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from distill.curation.split import Split
from distill.gating.outcome import Outcome, Step, outcome_of
from distill.gating.rounds import Hints, Round, SliceRound, rounds_before, write_round
from ledger.artifacts import GateReport, SliceVerdict
from ledger.configuration import TaskSection


class Looked(Protocol):
    """What the gate said of one candidate, and on which rows it agreed, by their digests."""

    @property
    def report(self) -> GateReport: ...

    @property
    def agreed(self) -> Mapping[str, bool]: ...


def conclude(
    folder: Path,
    task: TaskSection,
    split: Split,
    judged: Sequence[Looked],
    earlier_jobs: Sequence[int],
    hints: Hints = Hints(),
) -> Outcome:
    """`folder` is the job's, named by its number. Called again, it comes to the same."""
    job_id = int(folder.name)
    now = round_of(job_id, task, split, best_of(judged), hints)
    before = rounds_before(
        folder.parent, task.teacher.version, [job for job in earlier_jobs if job != job_id]
    )
    outcome = outcome_of((*before, now))
    write_round(folder, replace(now, ended=outcome.step is Step.KILL))
    return outcome


def best_of(judged: Sequence[Looked]) -> Looked:
    """One that passed, else the one with the fewest failing slices and then the most agreement."""

    def rank(one: Looked) -> tuple[bool, int, int]:
        failing = sum(verdict.outcome == "fail" for verdict in one.report.verdicts)
        return one.report.outcome == "pass", -failing, sum(one.agreed.values())

    return max(judged, key=rank)


def round_of(job_id: int, task: TaskSection, split: Split, judged: Looked, hints: Hints) -> Round:
    """The slices that have to meet a bar, and the gate's rows of them."""
    held = [verdict for verdict in judged.report.verdicts if verdict.critical and verdict.bar is not None]
    names = {verdict.slice for verdict in held}
    trained = Counter(name for row in split.train for name in row.slices)
    return Round(
        job_id,
        task.teacher.version,
        judged.report.outcome == "pass",
        judged.report.alpha,
        tuple(_slice_round(verdict, trained[verdict.slice]) for verdict in held),
        judged.agreed,
        {
            entry.row.digest: tuple(name for name in entry.slices(task.rules) if name in names)
            for entry in split.gate
        },
        hints,
    )


def _slice_round(verdict: SliceVerdict, train_rows: int) -> SliceRound:
    assert verdict.bar is not None
    return SliceRound(
        verdict.slice, verdict.outcome, verdict.bar, verdict.pairs, verdict.agreements, train_rows
    )
