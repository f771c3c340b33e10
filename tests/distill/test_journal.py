"""The journal of a job: whole lines, whatever process was killed while it wrote."""

from pathlib import Path

from distill.journal import JOURNAL_FILE, Journal, read_journal


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    """In order, with their details."""
    journal = Journal(tmp_path)
    journal.write("stage_began", stage="train")
    journal.write("stage_ended", stage="train", rows=3)

    lines = list(read_journal(tmp_path))
    assert [(line["what"], line["stage"]) for line in lines] == [
        ("stage_began", "train"),
        ("stage_ended", "train"),
    ]
    assert lines[1]["rows"] == 3
    assert lines[0]["at_us"] <= lines[1]["at_us"]


def test_half_a_line_of_a_killed_process_costs_nothing_else(tmp_path: Path) -> None:
    """It is left out, and the next process begins a line of its own."""
    Journal(tmp_path).write("first")
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(b'{"what": "hal')

    Journal(tmp_path).write("second")

    assert [line["what"] for line in read_journal(tmp_path)] == ["first", "second"]


def test_no_journal_is_no_line(tmp_path: Path) -> None:
    """Jobs of earlier releases have none."""
    assert list(read_journal(tmp_path)) == []
