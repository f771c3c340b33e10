"""Rows of earlier jobs that are learned from again."""

from collections import Counter
from pathlib import Path

from distill.curation.replay import drawn_replay, earlier_training_rows
from ledger.configuration import TaskSection
from ledger.control_file import open_control_file, transaction
from ledger.job_folders import job_folder, write_rows
from ledger.tables import JobRow
from tests.distill.curation.words import build_text_row


def test_only_jobs_that_gave_a_student_are_replayed(tmp_path: Path) -> None:
    """Their training rows, not those that they stopped or calibrated by."""
    engine = open_control_file(tmp_path)
    with transaction(engine) as session:
        for status in ("succeeded", "failed"):
            job = JobRow(task="desk", cause="by_hand", opened_by="ann", opened_at_us=1, status=status)
            session.add(job)
            session.flush()
            assert job.id is not None
            folder = job_folder(tmp_path, job.id)
            folder.mkdir(parents=True)
            write_rows(folder, {"train": {f"{status} a"}, "dev": {f"{status} b"}})
        found = earlier_training_rows(session, tmp_path, "desk")
        assert earlier_training_rows(session, tmp_path, "other") == {}
    engine.dispose()
    assert list(found.values()) == [["succeeded a"]]


def test_replay_is_even_over_slices_and_has_its_share(task: TaskSection) -> None:
    """A rare slice is not drowned; what a gate ever held is left out; the same rows are drawn each time."""
    rows = [build_text_row(task, number) for number in range(500)]
    rows += [build_text_row(task, 500 + number, area="rare") for number in range(40)]
    but = {rows[500].digest}
    drawn = drawn_replay(rows, 400, 0.2, but)
    assert Counter(row.slices[1] for row in drawn) == {"area=x": 61, "area=rare": 39}
    assert not but & {row.digest for row in drawn}
    assert drawn == drawn_replay(list(reversed(rows)), 400, 0.2, but)
    assert drawn_replay(rows, 400, 0.0, ()) == ()
