"""How much of what should have been compared was: the number that every other number of a report rests on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.control.accounts import GatewayAccounts, read_accounts
from ledger.coverage_file import read_coverage
from ledger.exchange_file import exchange_paths, reading
from ledger.slices import OVERALL
from stillgate.report.period import END_US, Period
from stillgate.report.traffic import SliceTraffic, Traffic

# Losses are counted by run of a gateway, not by task or minute: every run that overlaps the period counts in full.
_LOSSES = (
    "SELECT l.reason, sum(l.count) FROM loss l JOIN sequence_block b ON b.first = l.block_first"
    " WHERE b.opened_at_us < ? AND coalesce(b.closed_at_us, ?) >= ? GROUP BY 1"
)
_OPEN_BLOCK = "SELECT count(*) FROM sequence_block WHERE closed_at_us IS NULL AND opened_at_us < ?"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Exchanges of the task in the period, beside what every gateway lost.

    `eligible` are those that the student had to answer and the teacher answered readably, asked whatever the
    student said. Lost requests count as eligible, all of them, since nobody knows their task.
    """

    requests: int
    eligible: int
    answered: int
    eligible_share: float | None  # answered / (eligible + lost)
    lost: int  # by every run of a gateway that overlaps the period, whatever the task
    lost_by_reason: Mapping[str, int]
    outcomes: Mapping[str, int]
    served_by: Mapping[str, int]
    fallbacks: Mapping[str, int]
    unpaired: Mapping[str, int]
    skipped: Mapping[str, int]  # by the shadow, since the gateways started
    unusable_inputs: Mapping[
        str, int
    ]  # of answers that the monitor read, in its whole life and of every task
    unfolded_answers: int  # of the student, in the period, that the monitor has not read yet
    unfolded_share: float  # of those answers
    gateways: tuple[GatewayAccounts, ...]  # whole life, every task
    pending: (
        int  # of these, in flight when the files were read, or lost by a gateway that did not start again
    )


def coverage_of(
    data_directory: Path,
    task: str,
    artifact: str | None,
    period: Period,
    traffic: Traffic,
    unusable_inputs: Mapping[str, int],
) -> Coverage:
    overall = traffic.slices.get(OVERALL, SliceTraffic())
    gateways = read_accounts(data_directory)
    losses = _losses(data_directory, period, gateways)
    lost = losses.total()
    answers = max(overall.answered, traffic.unfolded_answers)
    return Coverage(
        requests=traffic.requests,
        eligible=overall.eligible,
        answered=overall.answered,
        eligible_share=overall.answered / (overall.eligible + lost) if overall.eligible else None,
        lost=lost,
        lost_by_reason=dict(losses.most_common()),
        outcomes=traffic.outcomes,
        served_by=traffic.served_by,
        fallbacks=traffic.fallbacks,
        unpaired=traffic.unpaired,
        skipped=_skipped(data_directory, task, artifact),
        unusable_inputs=unusable_inputs,
        unfolded_answers=traffic.unfolded_answers,
        unfolded_share=traffic.unfolded_answers / answers if answers else 0.0,
        gateways=gateways,
        pending=sum(gateway.pending for gateway in gateways),
    )


def _losses(data_directory: Path, period: Period, gateways: tuple[GatewayAccounts, ...]) -> Counter[str]:
    """By reason; what a run that never closed dropped is in the accounts alone."""
    since, until = period.bounds_us
    accounts = {gateway.gateway: gateway for gateway in gateways}
    losses: Counter[str] = Counter()
    for path in exchange_paths(data_directory):
        if path.stem not in accounts:
            continue  # it could not be read
        with reading(path) as connection:
            closed = dict(connection.execute(_LOSSES, (until, END_US, since)).fetchall())
            every = dict(connection.execute("SELECT reason, sum(count) FROM loss GROUP BY 1").fetchall())
            (is_open,) = connection.execute(_OPEN_BLOCK, (until,)).fetchone()
        losses.update(closed)
        if is_open:
            dropped = Counter(accounts[path.stem].dropped)
            dropped.subtract(every)
            losses.update(+dropped)
    return +losses


def _skipped(data_directory: Path, task: str, artifact: str | None) -> dict[str, int]:
    skipped: Counter[str] = Counter()
    for report in read_coverage(data_directory):
        for student in report["students"]:
            if student["task"] == task and student["artifact"] == artifact:
                skipped.update(student["skipped"])
    return dict(skipped.most_common())
