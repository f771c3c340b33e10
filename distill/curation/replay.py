"""Rows of earlier accepted jobs that the window no longer has, with the teacher's answers as they were recorded.

Buzzega et al. (2020), "Dark Experience for General Continual Learning": past inputs with their stored outputs keep a
student from forgetting what traffic no longer shows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Container, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from sqlmodel import Session

from distill.curation.rows import Row
from ledger.erasures import jobs_of_task
from ledger.job_folders import job_folder, training_rows
from ledger.jobs import JobStatus


def earlier_training_rows(session: Session, data_directory: Path, task: str) -> dict[int, list[str]]:
    """By job that gave a student: digests of the rows that it trained on. Whether they still are in the record, and
    whether the pinned teacher answered them, ingest finds out."""
    return {
        job.id: training_rows(job_folder(data_directory, job.id))
        for job in jobs_of_task(session, task)
        if job.id is not None and job.status == JobStatus.SUCCEEDED
    }


def drawn_replay(replay: Sequence[Row], training: int, share: float, but: Container[str]) -> tuple[Row, ...]:
    """So many rows that they are `share` of training, evenly over slices, by their hash; none of `but`."""
    if share <= 0 or share >= 1:
        return ()
    by_slice: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(replay, key=_draw):
        if row.digest not in but:
            by_slice[row.slices].append(row)
    in_turn = chain.from_iterable(zip_longest(*(by_slice[name] for name in sorted(by_slice))))
    most = round(training * share / (1 - share))
    return tuple(row for row in in_turn if row is not None)[:most]


def _draw(row: Row) -> bytes:
    return hashlib.blake2b(f"replay|{row.digest}".encode(), digest_size=8).digest()
