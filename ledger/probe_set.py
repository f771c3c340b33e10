"""A task's probes: frozen requests that its teacher gets again and again, in one file of the data directory.

The set is named by the digest of its requests as they were frozen. What an erasure takes out of it leaves a smaller
set of the same name, with a digest of what is left.
"""

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

MOST_PROBES = 500
MOST_BODY_BYTES = 16 * 2**10  # of one probe

log = logging.getLogger(__name__)


class ProbesUnusable(Exception):
    """A declared file of requests cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request, sent with POST."""

    number: int  # its place in the set as it was frozen
    target: str  # path, without a query
    content_type: str
    body: str
    exchange_id: str | None = None  # that it was drawn from
    subject: str | None = None  # whose that was, as ledger.subjects.pseudonym
    started_at_us: int = 0  # of that exchange


@dataclass(frozen=True, slots=True)
class ProbeSet:
    name: str
    frozen_at_us: int
    is_declared: bool  # by the operator; else drawn from traffic
    probes: tuple[Probe, ...]


def probes_path(data_directory: Path, task: str) -> Path:
    return data_directory / "probes" / f"{task}.json"


def declared_probes(path: Path, target: str) -> tuple[Probe, ...]:
    """One for each line of JSON, which is the body of a request to `target`. Raises ProbesUnusable."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ProbesUnusable(
            f"probe.file = {path} cannot be read: {error}; name a file of JSON lines"
        ) from None
    if not 0 < len(lines) <= MOST_PROBES:
        raise ProbesUnusable(
            f"probe.file = {path} has {len(lines)} requests; give 1 to {MOST_PROBES}, one on each line"
        )
    for number, line in enumerate(lines, start=1):
        _check_line(path, number, line)
    return tuple(Probe(number, target, "application/json", line) for number, line in enumerate(lines))


def name_of(probes: Sequence[Probe]) -> str:
    """Digest of the requests themselves, whoever they came from."""
    plain = [[probe.number, probe.target, probe.content_type, probe.body] for probe in probes]
    return hashlib.blake2b(orjson.dumps(plain), digest_size=16).hexdigest()


def freeze(
    data_directory: Path, task: str, probes: Sequence[Probe], is_declared: bool, now_us: int
) -> ProbeSet:
    """Keep these as the task's set, in place of an earlier one. Raises OSError."""
    frozen = ProbeSet(name_of(probes), now_us, is_declared, tuple(probes))
    _write(probes_path(data_directory, task), frozen)
    return frozen


def kept_set(data_directory: Path, task: str) -> ProbeSet | None:
    """The frozen set; None where there is none, or where it is not what was frozen. Raises OSError."""
    path = probes_path(data_directory, task)
    try:
        return _read(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:  # orjson's own error is a ValueError
        log.error("%s is damaged and is not used: %s. action=probes_damaged", path, error)
        return None


def forget_probes(
    data_directory: Path, task: str, subject: str | None, exchange_ids: Collection[str], before_us: int
) -> int:
    """Take out what was drawn from this subject's exchanges or from these; how many. Raises OSError."""
    kept = kept_set(data_directory, task)
    gone = {
        probe
        for probe in (kept.probes if kept is not None else ())
        if probe.exchange_id is not None
        and probe.started_at_us <= before_us
        and (probe.exchange_id in exchange_ids or (subject is not None and probe.subject == subject))
    }
    if kept is not None and gone:
        left = tuple(probe for probe in kept.probes if probe not in gone)
        _write(
            probes_path(data_directory, task), ProbeSet(kept.name, kept.frozen_at_us, kept.is_declared, left)
        )
    return len(gone)


def remove_set(data_directory: Path, task: str) -> None:
    """Leave nothing of it. Raises OSError."""
    path = probes_path(data_directory, task)
    _blank(path)
    path.unlink(missing_ok=True)


def _check_line(path: Path, number: int, line: str) -> None:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ProbesUnusable(
            f"{path}, line {number} is no JSON document: {error}; each line is the body of one request"
        ) from None
    if len(line.encode()) > MOST_BODY_BYTES:
        raise ProbesUnusable(
            f"{path}, line {number} has {len(line.encode())} bytes; a probe has at most {MOST_BODY_BYTES}"
        )


def _read(content: bytes) -> ProbeSet:
    document: dict[str, Any] = orjson.loads(content)
    probes = tuple(Probe(**plain) for plain in document["probes"])
    if name_of(probes) != document["digest"]:
        raise ValueError(f"its requests have another digest than {document['digest']}")
    return ProbeSet(document["name"], document["frozen_at_us"], document["is_declared"], probes)


def _write(path: Path, kept: ProbeSet) -> None:
    """Complete or as before, for its owner alone; of what stood there nothing is left on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {**asdict(kept), "digest": name_of(kept.probes)}
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.touch(mode=0o600)
    staging.write_bytes(orjson.dumps(plain))
    _blank(path)
    staging.rename(path)


def _blank(path: Path) -> None:
    """Overwrite where it stands, since a removed file's blocks keep what they held."""
    if path.exists():
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
