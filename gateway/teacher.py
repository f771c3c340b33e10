"""The teacher's side of the gateway: one aiohttp session, nothing retried, nothing decoded, nothing followed.

Foreign errors end here: what is asked comes back as a response or as a Failure.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from gateway.guard import Refused
from ledger.configuration import TaskSection, TeacherSection
from ledger.exchange import Outcome

MAX_HEADER_BYTES = 256 * 1024  # of one line or field; real cookies and policies exceed aiohttp's 8 KiB
MAX_HEADERS = 1000
POOLED_SECONDS = 4.0  # below the five seconds after which many servers close an idle connection
_PIECE_BYTES = 64 * 1024
_SMALL_BODY_BYTES = 256 * 1024  # written at once; a larger one in pieces, with back-pressure


@dataclass(frozen=True, slots=True)
class Upstream:
    """One teacher, prepared for the path of a request."""

    origin: str
    timeout: aiohttp.ClientTimeout
    first_byte_seconds: float
    idle_seconds: float
    version: str
    version_header: bytes | None


@dataclass(frozen=True, slots=True)
class Failure:
    """The teacher gave no usable response head."""

    outcome: Outcome
    refused: Refused


def upstream_of(task: TaskSection) -> Upstream:
    teacher: TeacherSection = task.teacher
    return Upstream(
        teacher.url,
        aiohttp.ClientTimeout(sock_connect=teacher.connect_seconds, sock_read=teacher.first_byte_seconds),
        teacher.first_byte_seconds,
        teacher.idle_seconds,
        teacher.version,
        teacher.version_header.lower().encode() if teacher.version_header else None,
    )


def open_session() -> aiohttp.ClientSession:
    """To be called in the event loop; the caller closes it. In-flight requests are bounded by the gateway."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=POOLED_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
    )
    # aiohttp repeats idempotent requests once on a lost pooled connection; repeating is the caller's decision
    session._retry_connection = False
    return session


async def ask_teacher(
    session: aiohttp.ClientSession,
    upstream: Upstream,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> aiohttp.ClientResponse | Failure:
    """Send one request and wait for the head of its response."""
    large = len(body) > _SMALL_BODY_BYTES
    if large:
        headers = [*headers, ("content-length", str(len(body)))]
    try:
        response = await session.request(
            method,
            URL(upstream.origin + target, encoded=True),
            headers=headers,
            data=_pieces(body) if large else body or None,
            allow_redirects=False,
            timeout=upstream.timeout,
        )
    except TimeoutError:
        return _failure(
            Outcome.UPSTREAM_TIMEOUT, 504, "teacher_timeout", "The teacher did not answer in time."
        )
    except aiohttp.ClientConnectionError:
        return _failure(
            Outcome.UPSTREAM_UNREACHABLE, 502, "teacher_unreachable", "The teacher cannot be reached."
        )
    except (aiohttp.ClientError, ValueError):
        return UNREADABLE
    if response.status not in _STATUSES:
        response.close()
        return UNREADABLE
    if upstream.idle_seconds != upstream.first_byte_seconds and response.connection is not None:
        protocol = response.connection.protocol
        if protocol is not None:
            protocol.read_timeout = upstream.idle_seconds
    return response


async def next_chunk(response: aiohttp.ClientResponse) -> bytes | Outcome:
    """The bytes that have arrived, b"" at the end, or how the response broke off."""
    try:
        return await response.content.readany()
    except TimeoutError:
        return Outcome.UPSTREAM_TRUNCATED
    except (aiohttp.ClientError, OSError):
        return Outcome.UPSTREAM_TRUNCATED


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


def _failure(outcome: Outcome, status: int, code: str, sentence: str) -> Failure:
    return Failure(outcome, Refused(status, code, sentence))


# what uvicorn can write: three digits, final, and not a switch of protocols
_STATUSES = frozenset(range(200, 600)) | frozenset(int(status) for status in HTTPStatus if status >= 200)
UNREADABLE = _failure(
    Outcome.UPSTREAM_UNREACHABLE, 502, "teacher_unreadable", "The teacher's response is not valid HTTP."
)
