"""`stillgate labels import`: files of true labels, line by line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from sqlmodel import Session, col, select

from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tables import LabelRow
from tests.gateway.control.desk import TASK, Desk
from tests.ledger.builders import build_exchange
from tests.stillgate.command import run_as


@pytest.fixture(autouse=True)
def exchanges(desk: Desk) -> Iterator[None]:
    file = ExchangeFile(exchange_path(desk.data_directory, "g0"))
    file.append([build_exchange(n, task=TASK) for n in range(3)], [])
    yield
    file.close()


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def brought_in(desk: Desk, *arguments: str, given: str = "") -> Result:
    return run_as(desk, "olga", "labels", "import", *arguments, given=given)


def counted(ended: Result) -> dict[str, int]:
    """Without the zeros."""
    pairs = (line.rpartition(" ") for line in ended.stdout.splitlines())
    return {name: int(count) for name, _, count in pairs if count != "0"}


JSONL = "\n\n".join(json.dumps({"exchange_id": f"g0-{n}", "label": "Sports"}) for n in range(3)) + "\n"
CSV = '\ufefflabel,exchange_id,input_index\r\nSports,g0-0,\r\n\r\n"Sports",g0-1,0\r\nSports,g0-2,0'


@pytest.mark.parametrize(("name", "content"), [("labels.jsonl", JSONL), ("labels.CSV", CSV)])
def test_labels_come_from_a_file(desk: Desk, tmp_path: Path, name: str, content: str) -> None:
    """Empty lines are nothing; sent again, every label is a duplicate."""
    path = written(tmp_path, name, content)
    first = brought_in(desk, path)

    assert (first.exit_code, first.stdout) == (0, "accepted 3\ncorrected 0\nduplicate 0\nwaiting 0\n")
    assert counted(brought_in(desk, path)) == {"duplicate": 3}


@pytest.mark.parametrize(("form", "content"), [("jsonl", JSONL), ("csv", CSV)])
def test_labels_come_from_standard_input(desk: Desk, form: str, content: str) -> None:
    """Whose form an option tells."""
    assert counted(brought_in(desk, "-", "--format", form, given=content)) == {"accepted": 3}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.jsonl", '{"exchange_id": "g0-0", "label": "Sports", "probability": 0.05}'),
        ("labels.csv", "exchange_id,label,probability\ng0-0,Sports,0.05\ng0-1,Sports,\ng0-2,Sports,often"),
    ],
)
def test_lines_may_say_how_they_were_chosen(desk: Desk, tmp_path: Path, name: str, content: str) -> None:
    """A column of its own, empty where nothing is said."""
    sent = brought_in(desk, written(tmp_path, name, content))

    assert counted(sent).get("refused malformed", 0) == content.count("often")
    with Session(desk.engine) as session:
        chosen = session.exec(select(LabelRow.probability).order_by(col(LabelRow.number))).all()
    assert list(chosen) == [0.05, 1.0][: len(chosen)]


def test_every_line_is_counted_by_what_became_of_it(desk: Desk, tmp_path: Path) -> None:
    """What is refused is named by its line, and the others are kept."""
    lines = [
        '{"exchange_id": "g0-0", "label": "Sports"}',
        '{"exchange_id": "g0-0", "label": "Business"}',
        '{"exchange_id": "g0-0", "label": "Business"}',
        '{"exchange_id": "g0-9", "label": "Sports"}',
        '{"exchange_id": "g9-1", "label": "Sports"}',
        '{"exchange_id": "g0-1", "label": "Weather"}',
        '{"exchange_id": "g0-1", "label": "Sports", "input_index": 4}',
        '{"exchange_id": "g0-1"}',
        "{",
        "[1]",
        json.dumps({"exchange_id": "g0-1", "label": "x" * 10_000}),
    ]
    sent = brought_in(desk, written(tmp_path, "labels.jsonl", "\n".join(lines).encode() + b"\n\xff\n"))

    assert sent.exit_code == 1
    assert counted(sent) == {
        "accepted": 2,
        "corrected": 1,
        "duplicate": 1,
        "waiting": 1,
        "refused unknown_exchange": 1,
        "refused bad_class": 1,
        "refused bad_input": 1,
        "refused malformed": 5,
    }
    for number, said in (
        (6, "label 'Weather'"),
        (9, "no JSON"),
        (10, "no JSON object"),
        (11, "8192"),
        (12, "UTF-8"),
    ):
        assert f"line {number}: " in sent.stderr
        assert said in sent.stderr


def test_csv_lines_that_are_none_are_counted(desk: Desk, tmp_path: Path) -> None:
    """Too many fields, too few, an open quote, an index that is no number."""
    lines = [
        "exchange_id,label,input_index",
        "g0-0,Sports,0,9",
        "g0-0,Sports",
        '"g0-0,Sports,0',
        "g0-0,Sports,one",
    ]
    sent = brought_in(desk, written(tmp_path, "labels.csv", "\n".join(lines)))

    assert counted(sent) == {"refused malformed": 4}
    assert [f"line {number}: " in sent.stderr for number in (1, 2, 3, 4, 5)] == [
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_large_file_goes_in_parts(desk: Desk, tmp_path: Path) -> None:
    """More lines than one request holds; of many refused lines the first are named."""
    lines = [json.dumps({"exchange_id": f"g0-{n}", "label": "Sports"}) for n in range(2_500)]
    bad = ['{"exchange_id": "g0-1", "label": "Weather"}'] * 30
    sent = brought_in(desk, written(tmp_path, "labels.jsonl", "\n".join(lines + bad)))

    assert counted(sent) == {"accepted": 2_500, "waiting": 2_497, "refused bad_class": 30}
    assert sent.stderr.count("line ") == 20


@pytest.mark.parametrize("header", ["exchange_id", "exchange_id,label,colour", "exchange_id,label,label"])
def test_a_csv_file_names_its_columns(desk: Desk, tmp_path: Path, header: str) -> None:
    """Otherwise nobody could know which field is the label."""
    sent = brought_in(desk, written(tmp_path, "labels.csv", f"{header}\ng0-0,Sports\n"))

    assert (sent.exit_code, "names the columns" in sent.stderr) == (2, True)


def test_a_label_file_that_is_not_there_is_a_usage_error(desk: Desk) -> None:
    """With its name."""
    sent = brought_in(desk, "nowhere.jsonl")
    assert (sent.exit_code, "nowhere.jsonl" in sent.stderr) == (2, True)
