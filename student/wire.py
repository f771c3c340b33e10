"""How a gateway and the student process of its node talk: frames of JSON over a unix stream socket.

A frame is a 4-byte big-endian length and a document. Requests are answered in any order, matched by id.
"""

import hashlib
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from ledger.observation import Observation, ObservationError, observe
from ledger.spots import NOWHERE, is_spot

MAX_FRAME_BYTES = 32 * 2**20
MAX_SOCKET_PATH_BYTES = 100  # Linux's sun_path holds 108, others less
_LENGTH = struct.Struct(">I")


class WireError(Exception):
    """The other side sent what is no frame of this protocol; the connection cannot be used any further."""


class Refusal(StrEnum):
    """Why a student gave no observations for a request."""

    QUEUE_FULL = "queue_full"  # too many inputs wait already
    DEADLINE = "deadline"  # not answered in time
    NOT_LOADED = "not_loaded"  # the artifact is unknown, not yet loaded, or could not be loaded
    TOO_LARGE = "too_large"  # the request exceeds a frame, or the queue as a whole
    LOOP = "loop"  # said of a remote student: its url leads back to the gateway
    FAILED = "failed"  # the model raised, or the request could not be read
    SHUTTING_DOWN = "shutting_down"
    STUDENT_DOWN = "student_down"  # said by the client: no connection, or lost while waiting


Response = tuple[Observation, ...] | Refusal  # one observation per text, or why there are none


@dataclass(frozen=True, slots=True)
class StudentRequest:
    """Texts for one artifact."""

    id: int
    artifact: str
    texts: tuple[str, ...]
    deadline_ms: int  # from arrival; after it nobody waits for the answer
    urgent: bool = False  # a caller waits: goes before every request that is not


@dataclass(frozen=True, slots=True)
class StudentReply:
    """What became of the request with this id."""

    id: int
    response: Response


def socket_path(data_directory: Path) -> Path:
    """Where the student process of this data directory listens.

    A path too long for a unix socket moves to a folder in the temporary directory, which is made for its
    owner alone. Raises PermissionError if somebody else owns that folder.
    """
    path = data_directory / "student.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(data_directory.resolve())).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"stillgate-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone (mode 0700); remove it")
    return folder / "student.sock"


def request_frame(request: StudentRequest) -> bytes | Refusal:
    """The bytes of one request; refused as too large above a frame, as failed when a text is not Unicode."""
    try:
        body = orjson.dumps(request)
    except TypeError:  # a lone surrogate
        return Refusal.FAILED
    return _LENGTH.pack(len(body)) + body if len(body) <= MAX_FRAME_BYTES else Refusal.TOO_LARGE


def reply_frame(reply: StudentReply) -> bytes:
    """The bytes of one reply."""
    document: dict[str, Any] = {"id": reply.id}
    if isinstance(reply.response, Refusal):
        document["refused"] = reply.response
    else:
        document["observations"] = [o.probabilities or o.error for o in reply.response]
        if any(o.spot != NOWHERE for o in reply.response):
            document["spots"] = [o.spot for o in reply.response]
    body = orjson.dumps(document)
    if len(body) > MAX_FRAME_BYTES:
        return reply_frame(StudentReply(reply.id, Refusal.TOO_LARGE))
    return _LENGTH.pack(len(body)) + body


def read_request(body: bytes) -> StudentRequest:
    """The request in a frame. Raises WireError."""
    try:
        document = orjson.loads(body)
        id, artifact, deadline_ms = document["id"], document["artifact"], document["deadline_ms"]
        texts, urgent = tuple(document["texts"]), document["urgent"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise WireError(f"{body[:80]!r} is no request: {error!r}") from error
    if not (isinstance(id, int) and isinstance(artifact, str) and isinstance(deadline_ms, int)):
        raise WireError(f"{body[:80]!r} is no request: id, artifact or deadline_ms is of the wrong type")
    if not isinstance(urgent, bool):
        raise WireError(f"{body[:80]!r} is no request: urgent is neither true nor false")
    if not all(isinstance(text, str) for text in texts):
        raise WireError(f"{body[:80]!r} is no request: its texts are not all strings")
    return StudentRequest(id, artifact, texts, deadline_ms, urgent)


def read_reply(body: bytes) -> StudentReply:
    """The reply in a frame. Raises WireError."""
    try:
        document = orjson.loads(body)
        refused = document.get("refused")
        if refused is not None:
            return StudentReply(document["id"], Refusal(refused))
        said = tuple(map(_read_observation, document["observations"]))
        return StudentReply(document["id"], _with_spots(said, document.get("spots", ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"{body[:80]!r} is no reply: {error!r}") from error


def _with_spots(said: tuple[Observation, ...], spots: Sequence[Any]) -> tuple[Observation, ...]:
    """A process of an earlier release tells none; what is no spot is left out."""
    if len(spots) != len(said):
        return said
    return tuple(
        [one._replace(spot=spot) if is_spot(spot) else one for one, spot in zip(said, spots, strict=True)]
    )


def _read_observation(entry: Any) -> Observation:
    """An observation that is fit to compare, whatever the other side wrote."""
    if isinstance(entry, str):
        return Observation(None, ObservationError(entry))
    if None in entry:  # JSON writes NaN as null
        return Observation(None, ObservationError.NOT_FINITE)
    return observe(entry, len(entry))


class Frames:
    """Cuts a byte stream back into the frames that were written to it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Every frame that is complete now, without its length. Raises WireError on an impossible length."""
        buffer = self._buffer
        buffer += chunk
        frames, start = [], 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME_BYTES:
                raise WireError(f"a frame of {length} bytes is longer than {MAX_FRAME_BYTES}")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
        return frames
