"""Examples that a person brings, line by line."""

from pathlib import Path

import orjson
import pytest

from distill.curation.importing import MOST_CHARACTERS, Line, read_examples
from distill.curation.rows import Source
from ledger.configuration import TaskSection

GOOD = {"text": "a card is stuck", "label": "b", "provenance": "ann, from the manual of 2025"}


def read(folder: Path, task: TaskSection, *lines: object) -> list[Line]:
    path = folder / "examples.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines))
    return list(read_examples(path, task, 5).lines)


@pytest.mark.parametrize(
    ("line", "became"),
    [
        (GOOD, Line.ACCEPTED),
        (b"  ", Line.BLANK),
        (b"{", Line.NOT_JSON),
        (b'{"text": "\xff"}', Line.NOT_JSON),
        ([1], Line.NOT_JSON),
        (GOOD | {"labels": "b"}, Line.UNKNOWN_KEY),
        (GOOD | {"text": " \n"}, Line.NO_TEXT),
        (GOOD | {"text": 5}, Line.NO_TEXT),
        (GOOD | {"text": "x" * (MOST_CHARACTERS + 1)}, Line.TOO_LONG),
        (GOOD | {"provenance": ""}, Line.NO_PROVENANCE),
        ({"text": "x", "label": "a"}, Line.NO_PROVENANCE),
        ({"text": "x", "provenance": "p"}, Line.NO_ANSWER),
        (GOOD | {"probabilities": {"a": 1.0}}, Line.NO_ANSWER),
        (GOOD | {"label": "zebra"}, Line.UNKNOWN_CLASS),
        ({"text": "x", "provenance": "p", "probabilities": {"z": 1}}, Line.UNKNOWN_CLASS),
        ({"text": "x", "provenance": "p", "probabilities": {"a": 0.5}}, Line.NO_DISTRIBUTION),
        ({"text": "x", "provenance": "p", "probabilities": {"a": "1"}}, Line.NO_DISTRIBUTION),
        (GOOD | {"attributes": {"x-area": 3}}, Line.BAD_ATTRIBUTES),
    ],
)
def test_each_line_has_its_end(tmp_path: Path, task: TaskSection, line: object, became: Line) -> None:
    """Accepted, or what is wrong with it."""
    assert read(tmp_path, task, line) == [became]


def test_the_good_lines_of_a_bad_file_are_taken(tmp_path: Path, task: TaskSection) -> None:
    """With their slices, redacted as traffic is, and where they come from."""
    soft = {
        "text": "write to ann@example.com",
        "probabilities": {"a": 0.9, "b": 0.1},
        "provenance": "ann",
        "attributes": {"X-Area": "mars"},
    }
    (tmp_path / "f.jsonl").write_bytes(b"\n".join([b"[", orjson.dumps(GOOD), b"", orjson.dumps(soft)]))
    imported = read_examples(tmp_path / "f.jsonl", task, 5)
    first, second = imported.rows
    assert (first.teacher.top, first.truth, first.source, first.at_us) == (1, 1, Source.IMPORTED, 5)
    assert (second.text, second.truth, second.exchange_id) == ("write to [email]", None, "import/f.jsonl:4")
    assert second.slices == ("all", "area=mars", "desk=a")
    assert imported.counts == {"not_json": 1, "accepted": 2, "blank": 1}
    assert imported.provenance == {"ann, from the manual of 2025": 1, "ann": 1}


def test_a_text_is_taken_once(tmp_path: Path, task: TaskSection) -> None:
    """One that says otherwise later is named, not believed."""
    again, otherwise = GOOD | {"text": "a  card is stuck"}, GOOD | {"label": "a"}
    assert read(tmp_path, task, GOOD, again, otherwise) == [Line.ACCEPTED, Line.REPEATED, Line.CONTRADICTS]
