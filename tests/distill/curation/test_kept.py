"""Rows between two stages, without their texts."""

from pathlib import Path

from distill.curation.ingest import ingest
from distill.curation.kept import read_kept, write_kept
from ledger.configuration import TaskSection
from ledger.exchange_file import ExchangeFile, exchange_path
from tests.ledger.builders import build_exchange


def write(folder: Path, count: int) -> None:
    file = ExchangeFile(exchange_path(folder, "g0"))
    file.append([build_exchange(number, subject="ann") for number in range(count)], [])
    file.close()


def test_rows_are_found_again(tmp_path: Path, task: TaskSection) -> None:
    """As they were, with the texts of the record; nothing that an erasure would look for was written."""
    write(tmp_path, 6)
    rows = ingest(tmp_path, task).rows
    path = tmp_path / "rows.json"
    write_kept(path, {"train": rows[:4], "dev": rows[4:]})
    kept = read_kept(path, tmp_path)
    found = (*kept.parts["train"], *kept.parts["dev"])
    assert [(row.text, row.digest, row.teacher, row.slices, row.weight) for row in found] == [
        (row.text, row.digest, row.teacher, row.slices, row.weight) for row in rows
    ]
    content = path.read_text()
    assert all(row.text not in content and row.digest not in content for row in rows)
    assert "ann" not in content


def test_what_the_record_no_longer_holds_is_gone(tmp_path: Path, task: TaskSection) -> None:
    """And counted; the others are given."""
    write(tmp_path, 6)
    path = tmp_path / "rows.json"
    write_kept(path, {"train": ingest(tmp_path, task).rows})
    file = ExchangeFile(exchange_path(tmp_path, "g0"))
    file.remove([2], "age")
    file.close()
    kept = read_kept(path, tmp_path)
    assert (len(kept.parts["train"]), kept.gone) == (5, 1)
