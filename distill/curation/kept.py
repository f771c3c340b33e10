"""Rows between two stages of a job: by exchange, with numbers, and without texts, which the record alone holds.

A row is found again by its exchange; what an erasure took out of the record since is not given back. Neither texts
nor digests of texts nor pseudonyms are written, so an erasure need not come here.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from distill.curation.rows import Row, Source
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import exchange_at, exchange_path, reading
from ledger.job_folders import write_whole
from ledger.observation import Observation

_OF_THE_RECORD = ("exchange_id", "input_index", "at_us", "slices", "inclusion", "repeats", "words")
_PLAIN = (*_OF_THE_RECORD, "emphasis", "live", "truth", "voted")


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows by part, in the order in which they were written, and how many of them the record no longer holds."""

    parts: Mapping[str, tuple[Row, ...]]
    gone: int


def write_kept(path: Path, parts: Mapping[str, Sequence[Row]]) -> None:
    """Complete or absent."""
    groups: dict[str, int] = {}
    document = {part: [_entry(row, groups) for row in rows] for part, rows in parts.items()}
    write_whole(path, document)


def read_kept(path: Path, data_directory: Path, imported: Sequence[Row] = ()) -> Kept:
    """With the texts of the record, or of `imported` rows. Raises OSError, sqlite3.Error."""
    document: dict[str, list[dict[str, Any]]] = orjson.loads(path.read_bytes())
    places = [(entry["exchange_id"], entry["input_index"]) for rows in document.values() for entry in rows]
    texts = _texts(data_directory, places)
    texts |= {(row.exchange_id, row.input_index): (row.text, row.digest) for row in imported}
    parts = {part: _rows(entries, texts) for part, entries in document.items()}
    return Kept(parts, len(places) - sum(map(len, parts.values())))


def _entry(row: Row, groups: dict[str, int]) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        "group": groups.setdefault(row.group_id, len(groups)),
        "source": str(row.source),
        "teacher": [row.teacher.probabilities, row.teacher.hard, row.teacher.other],
    }


Texts = dict[tuple[str, int], tuple[str, str]]  # (exchange, input) -> text, digest


def _rows(entries: Sequence[Mapping[str, Any]], texts: Texts) -> tuple[Row, ...]:
    found = []
    for entry in entries:
        known = texts.get((entry["exchange_id"], entry["input_index"]))
        if known is not None:
            found.append(_row(entry, *known))
    return tuple(found)


def _row(entry: Mapping[str, Any], text: str, digest: str) -> Row:
    probabilities, hard, other = entry["teacher"]
    row = Row(
        digest=digest,
        text=text,
        teacher=Observation(tuple(probabilities), hard=hard, other=other),
        group=f"group {entry['group']}",
        source=Source(entry["source"]),
        **{name: entry[name] for name in _PLAIN},
    )
    return replace(row, slices=tuple(row.slices))


def _texts(data_directory: Path, places: Sequence[tuple[str, int]]) -> Texts:
    by_gateway: dict[str, set[int]] = defaultdict(set)
    for exchange_id, _ in places:
        parsed = parse_exchange_id(exchange_id)
        if parsed is not None:
            by_gateway[parsed[0]].add(parsed[1])
    found: Texts = {}
    for gateway, sequences in by_gateway.items():
        path = exchange_path(data_directory, gateway)
        if path.exists():
            with reading(path) as connection:
                found |= _texts_in(connection, sequences)
    return {place: found[place] for place in places if place in found}


def _texts_in(connection: sqlite3.Connection, sequences: set[int]) -> Texts:
    found: Texts = {}
    for sequence in sorted(sequences):
        exchange = exchange_at(connection, sequence)
        for index, text in enumerate(exchange.inputs if exchange else ()):
            if exchange is not None and text.strip():
                found[(exchange.exchange_id, index)] = (text, exchange.input_digests[index])
    return found
