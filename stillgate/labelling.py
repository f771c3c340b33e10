"""`stillgate labels import`: true labels from a file, line by line, with what became of each counted by reason."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, fail, out, talk

LABELS_PER_REQUEST = 1_000
MAX_LINE_BYTES = 8_192  # a longer one is malformed
REQUEST_BYTES = 2**20  # of the lines of one request
NAMED = 20  # refused lines that are named; the others are counted
MALFORMED = "malformed"
TAKEN = (
    "accepted",
    "corrected",
    "duplicate",
)  # as the admin API counts them; `waiting` is among the first two

FIELDS = ("exchange_id", "label", "input_index", "source", "probability")


class Form(StrEnum):
    """How a line says a label."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(slots=True)
class Told:
    """What became of the lines so far."""

    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # reason -> lines

    def refuse(self, number: int, reason: str, sentence: str) -> None:
        self.refused[reason] += 1
        if self.refused.total() <= NAMED:
            talk.print(f"line {number}: {sentence}", markup=False)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    label: Mapping[str, Any] | str  # or why it is none
    size: int


def labels_import(
    file: Annotated[
        str, typer.Argument(help="CSV with a header line, or JSON lines; - reads standard input.")
    ],
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Default: CSV for a name that ends in .csv, else JSON lines."),
    ] = None,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Send true labels, days late and in any order. Exit 1 if any line was refused; the others are kept."""
    client = client_for(config, key)
    if form is None:
        form = Form.CSV if file.lower().endswith(".csv") else Form.JSONL
    told = Told()
    with _opened(file) as stream:
        try:
            for part in _parts(_lines(stream, form)):
                _send(client, part, told)
        except BadHeader as error:
            fail(f"{file}: {error}", Exit.USAGE)
    for name in (*TAKEN, "waiting"):
        out.print(f"{name} {told.taken[name]}")
    for reason, count in sorted(told.refused.items()):
        out.print(f"refused {reason} {count}")
    if told.refused:
        raise typer.Exit(Exit.FAILED)


class BadHeader(Exception):
    """The first line of a CSV file does not name the columns."""


def _opened(file: str) -> BinaryIO:
    try:
        return sys.stdin.buffer if file == "-" else Path(file).open("rb")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", Exit.USAGE)


def _send(client: AdminClient, part: Sequence[Line], told: Told) -> None:
    labels = [line for line in part if not isinstance(line.label, str)]
    for line in part:
        if isinstance(line.label, str):
            told.refuse(line.number, MALFORMED, line.label)
    if not labels:
        return
    answer = client.post("/labels", {"labels": [line.label for line in labels]})
    told.taken.update({name: answer[name] for name in (*TAKEN, "waiting")})
    for refusal in answer["refused"]:
        told.refuse(labels[refusal["index"]].number, refusal["code"], refusal["reason"])


def _parts(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """As many lines as one request may hold; no more of the file is ever in memory."""
    part: list[Line] = []
    size = 0
    for line in lines:
        part.append(line)
        size += line.size
        if len(part) == LABELS_PER_REQUEST or size >= REQUEST_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _lines(stream: BinaryIO, form: Form) -> Iterator[Line]:
    """Each line that is not empty. Raises BadHeader."""
    columns: Sequence[str] = ()
    for number, raw in enumerate(_bounded_lines(stream), start=1):
        text = _text(raw)
        if text is None or len(raw) > MAX_LINE_BYTES:
            yield Line(number, f"no UTF-8 text of at most {MAX_LINE_BYTES} bytes", 0)
        elif text.strip() and form is Form.CSV and not columns:
            columns = _header(text)
        elif text.strip():
            label = _from_csv(columns, text) if form is Form.CSV else _from_json(text)
            yield Line(number, label, len(raw))


def _bounded_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines, of which the longest are cut: nobody has to hold a file that is one line."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        rest = raw
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
        yield raw


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _from_json(text: str) -> Mapping[str, Any] | str:
    try:
        label = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return label if isinstance(label, dict) else "no JSON object such as {...}"


def _header(text: str) -> Sequence[str]:
    columns = [name.strip() for name in _cells(text) or ()]
    unknown = [name for name in columns if name not in FIELDS]
    if unknown or not {"exchange_id", "label"} <= set(columns) or len(set(columns)) < len(columns):
        raise BadHeader(
            f"its first line names the columns {', '.join(columns)}; they are exchange_id, label and, where"
            " needed, input_index, source and probability, each once"
        )
    return columns


def _from_csv(columns: Sequence[str], text: str) -> Mapping[str, Any] | str:
    """One label a line: a quoted field may hold commas, and no line end."""
    cells = _cells(text)
    if cells is None or len(cells) != len(columns):
        return f"not the {len(columns)} fields {', '.join(columns)} in CSV"
    label: dict[str, Any] = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
    index = label.get("input_index", "")
    return label | {"input_index": int(index)} if index.isascii() and index.isdigit() else label


def _cells(text: str) -> list[str] | None:
    try:
        return next(csv.reader([text.rstrip("\r\n")], strict=True))
    except (csv.Error, StopIteration):
        return None
