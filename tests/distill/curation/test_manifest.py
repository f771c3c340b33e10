"""What is said of the data of a student, and that it cannot be changed unseen."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import orjson
import pytest

from distill.curation.coverage import audit
from distill.curation.curating import curated
from distill.curation.embedded import lexical
from distill.curation.licence import licence_problem
from distill.curation.manifest import (
    MANIFEST_FILE,
    Curation,
    ManifestRefused,
    StageCounts,
    digest_of,
    verify_manifest,
    write_manifest,
)
from distill.curation.rows import Ingested
from ledger.configuration import TaskSection
from tests.distill.curation.words import build_text_row

Parts = dict[str, set[str]]


@pytest.fixture
def curation(task: TaskSection) -> Curation:
    """A small job's."""
    rows = tuple(build_text_row(task, number, number % 2) for number in range(120))
    found = curated(rows[:80], rows, task, lexical(rows))
    ids = [row.digest for row in rows]
    return Curation(
        ingested=Ingested(rows, {"incomplete": 3}),
        stages=(StageCounts("ingest", 123, 120, {"incomplete": 3}),),
        parts={"train": ids[:80], "dev": ids[80:100], "gate": ids[100:]},
        train=found.rows,
        weights=found.weights,
        coverage=audit(rows, found.cells, found.rows),
    )


@pytest.fixture
def parts(curation: Curation) -> Parts:
    return {part: set(ids) for part, ids in curation.parts.items()}


def test_it_tells_the_data_without_its_texts(tmp_path: Path, task: TaskSection, curation: Curation) -> None:
    """Counts by reason, hashes, window, weights, licence."""
    digest = write_manifest(tmp_path, task, curation)
    content = (tmp_path / MANIFEST_FILE).read_text()
    told = orjson.loads(content)
    assert digest == digest_of(tmp_path / MANIFEST_FILE)
    assert told["stages"] == [
        {"stage": "ingest", "rows_in": 123, "rows_out": 120, "left_out": {"incomplete": 3}}
    ]
    assert told["rows"]["train"]["count"] == 80
    assert told["weights"]["effective"] > 0
    assert told["licence"]["decided_by"] == "o"
    assert all(row.text not in content and row.digest not in content for row in curation.train)


def test_what_was_written_is_verified(
    tmp_path: Path, task: TaskSection, curation: Curation, parts: Parts
) -> None:
    """By its digest, its lists and the licence; the same rows give the same digest."""
    digest = write_manifest(tmp_path, task, curation)
    assert verify_manifest(tmp_path, digest, parts, task)["task"] == "desk"
    assert write_manifest(tmp_path, task, curation) == digest


def test_a_changed_manifest_is_refused(
    tmp_path: Path, task: TaskSection, curation: Curation, parts: Parts
) -> None:
    """A single digit is enough."""
    digest = write_manifest(tmp_path, task, curation)
    path = tmp_path / MANIFEST_FILE
    path.write_text(path.read_text().replace('"count": 80', '"count": 81'))
    with pytest.raises(ManifestRefused, match=f"not {digest[:12]}"):
        verify_manifest(tmp_path, digest, parts, task)
    path.unlink()
    with pytest.raises(ManifestRefused, match="is missing"):
        verify_manifest(tmp_path, digest, parts, task)


def test_rows_put_in_or_exchanged_are_refused(
    tmp_path: Path, task: TaskSection, curation: Curation, parts: Parts
) -> None:
    """The reason names the list and both counts."""
    digest = write_manifest(tmp_path, task, curation)
    with pytest.raises(ManifestRefused, match="list of train rows is another one: 81 rows, 80 when"):
        verify_manifest(tmp_path, digest, {**parts, "train": parts["train"] | {"new"}}, task)
    exchanged = parts["gate"] - {min(parts["gate"])} | {"new"}
    with pytest.raises(ManifestRefused, match="list of gate rows is another one: 20 rows, 20 when"):
        verify_manifest(tmp_path, digest, {**parts, "gate": exchanged}, task)
    with pytest.raises(ManifestRefused, match="list of dev rows is missing"):
        verify_manifest(tmp_path, digest, {key: ids for key, ids in parts.items() if key != "dev"}, task)


def test_erased_rows_are_no_tampering(
    tmp_path: Path, task: TaskSection, curation: Curation, parts: Parts
) -> None:
    """As many as the control file says; one more is."""
    digest = write_manifest(tmp_path, task, curation)
    fewer = {**parts, "train": parts["train"] - {min(parts["train"])}}
    verify_manifest(tmp_path, digest, fewer, task, erased=1)
    fewest = {**fewer, "dev": parts["dev"] - {min(parts["dev"])}}
    with pytest.raises(ManifestRefused, match="2 rows are missing from the lists, and 1 were erased"):
        verify_manifest(tmp_path, digest, fewest, task, erased=1)


def test_counts_have_to_add_up(tmp_path: Path, task: TaskSection, curation: Curation) -> None:
    """A row that vanished without a reason stops the run."""
    odd = replace(curation, stages=(StageCounts("split", 120, 100, {"near_gate": 19}),))
    with pytest.raises(ManifestRefused, match="split: 120 rows went in, 100 came out and 19 have a reason"):
        write_manifest(tmp_path, task, odd)
    assert not (tmp_path / MANIFEST_FILE).exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"distillation_allowed": False}, "says distillation_allowed = false"),
        ({"decided_by": "  "}, "decided_by is blank"),
        ({"decided_on": "2026-02-30"}, "is no day of the calendar"),
        ({"decided_on": "2999-01-01"}, "lies in the future"),
    ],
)
def test_without_permission_nothing_is_distilled(
    tmp_path: Path, task: TaskSection, curation: Curation, changes: dict[str, object], reason: str
) -> None:
    """By a named person, on a day that has been."""
    assert task.licence is not None
    without = task.model_copy(update={"licence": task.licence.model_copy(update=changes)})
    assert reason in (licence_problem(without, date(2026, 11, 1)) or "")
    with pytest.raises(ManifestRefused, match=reason):
        write_manifest(tmp_path, without, curation)
    assert licence_problem(task, date(2026, 11, 1)) is None
    assert "is missing" in (licence_problem(task.model_copy(update={"licence": None})) or "")


def test_another_licence_record_is_refused(
    tmp_path: Path, task: TaskSection, curation: Curation, parts: Parts
) -> None:
    """One that somebody else decided since."""
    digest = write_manifest(tmp_path, task, curation)
    assert task.licence is not None
    other = task.model_copy(update={"licence": task.licence.model_copy(update={"decided_by": "eve"})})
    with pytest.raises(ManifestRefused, match="decided by o"):
        verify_manifest(tmp_path, digest, parts, other)
