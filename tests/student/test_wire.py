"""Frames and documents of the student socket."""

import math
import os
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.observation import Observation, ObservationError
from ledger.spots import NOWHERE, SPOTS
from student.wire import (
    MAX_FRAME_BYTES,
    Frames,
    Refusal,
    StudentReply,
    StudentRequest,
    WireError,
    read_reply,
    read_request,
    reply_frame,
    request_frame,
    socket_path,
)

texts = st.lists(st.text(), max_size=5).map(tuple)
observations = st.lists(
    st.one_of(
        st.builds(
            lambda weights, spot: Observation(
                tuple([weight / sum(weights) for weight in weights]), None, False, 0.0, spot
            ),
            st.lists(st.floats(0.01, 1), min_size=1, max_size=4),
            st.integers(NOWHERE, SPOTS - 1),
        ),
        st.sampled_from(ObservationError).map(lambda error: Observation(None, error)),
    ),
    max_size=4,
).map(tuple)


@given(st.integers(0, 2**53), st.text(), texts, st.integers(1, 10**6), st.booleans())
def test_a_request_arrives_as_it_was_sent(
    id: int, artifact: str, sent: tuple[str, ...], ms: int, urgent: bool
) -> None:
    """Any Unicode text survives the socket."""
    frame = request_frame(StudentRequest(id, artifact, sent, ms, urgent))
    assert isinstance(frame, bytes)
    (body,) = Frames().feed(frame)
    assert read_request(body) == StudentRequest(id, artifact, sent, ms, urgent)


@given(st.integers(0, 2**53), st.one_of(observations, st.sampled_from(Refusal)))
def test_a_reply_arrives_as_it_was_sent(id: int, response: tuple[Observation, ...] | Refusal) -> None:
    """Probabilities keep every bit, errors and refusals keep their meaning."""
    (body,) = Frames().feed(reply_frame(StudentReply(id, response)))
    assert read_reply(body) == StudentReply(id, response)


def test_what_is_no_spot_arrives_as_none() -> None:
    """Another release may count otherwise; the answer stands."""
    for spots in ([SPOTS], [-2], [True], ["1"], [1, 2], []):
        body = orjson.dumps({"id": 1, "observations": [[0.5, 0.5]], "spots": spots})
        assert read_reply(body) == StudentReply(1, (Observation((0.5, 0.5)),)), spots


def test_what_is_no_distribution_arrives_as_an_error() -> None:
    """Whatever a student says, what is read from the wire is fit to compare or says why not."""
    said = tuple(Observation(p) for p in ((math.nan, 0.5), (0.5, 0.7), (-0.5, 1.5)))
    (body,) = Frames().feed(reply_frame(StudentReply(1, said)))
    assert read_reply(body).response == tuple(
        Observation(None, error)
        for error in (
            ObservationError.NOT_FINITE,
            ObservationError.NOT_NORMALISED,
            ObservationError.OUT_OF_RANGE,
        )
    )


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 20))
def test_frames_are_cut_the_same_whatever_the_chunks(bodies: list[bytes], chunk: int) -> None:
    """Where the stream is cut on its way changes nothing."""
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    frames = Frames()
    found = [
        frame
        for start in range(0, len(stream), chunk)
        for frame in frames.feed(stream[start : start + chunk])
    ]
    assert found == bodies


def test_an_impossible_length_is_an_error() -> None:
    """A stream of another protocol is noticed before memory is spent on it."""
    with pytest.raises(WireError, match="longer than"):
        Frames().feed(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"3",
        b'{"id": "1", "artifact": "s", "texts": [], "deadline_ms": 1, "urgent": false}',
        b'{"id": 1, "artifact": "s", "texts": [2], "deadline_ms": 1, "urgent": false}',
        b'{"id": 1, "artifact": "s", "texts": [], "deadline_ms": 1, "urgent": 1}',
        b'{"id": 1, "artifact": "s", "texts": null, "deadline_ms": 1, "urgent": false}',
    ],
)
def test_what_is_no_request_is_an_error(body: bytes) -> None:
    """Every malformed document raises the one expected exception."""
    with pytest.raises(WireError):
        read_request(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"3", b"{}", b'{"id": 1}', b'{"id": 1, "refused": "why"}', b'{"id": 1, "observations": ["no"]}'],
)
def test_what_is_no_reply_is_an_error(body: bytes) -> None:
    """A student of another release cannot put unknown words into the record."""
    with pytest.raises(WireError):
        read_reply(body)


def test_a_request_above_a_frame_is_refused() -> None:
    """The other side would close the connection."""
    assert request_frame(StudentRequest(1, "s", ("x" * MAX_FRAME_BYTES,), 1)) is Refusal.TOO_LARGE


def test_a_text_that_is_not_unicode_is_refused() -> None:
    """A lone surrogate cannot be written as UTF-8."""
    assert request_frame(StudentRequest(1, "s", ("\ud800",), 1)) is Refusal.FAILED


def test_a_long_data_directory_gets_a_short_private_socket_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path fits a socket, is the same for both sides, and its folder is its owner's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        long = tmp_path / ("d" * 120)
        path = socket_path(long)
        assert path == socket_path(long) != socket_path(tmp_path / ("e" * 120))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(path)) <= 107


def test_a_shared_folder_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write there could answer in the student's place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    long = tmp_path / ("d" * 120)
    socket_path(long).parent.chmod(0o755)
    with pytest.raises(PermissionError, match="0700"):
        socket_path(long)
