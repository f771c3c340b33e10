"""What the admin API says when it does not do what was asked: one word, one status, one sentence."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fastapi import Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

RETRY_AFTER_SECONDS = 1  # other writers' transactions are short


class Code(StrEnum):
    """The machine-readable half of a refusal."""

    NO_KEY = "no_key"  # no key, or one that is unknown or revoked
    ROLE = "role"  # the key's role may not do this
    SECOND_PERSON = "second_person"  # this step needs somebody else
    UNKNOWN = "unknown"  # what the path or the body names does not exist
    METHOD = "method"  # the path exists, with another method
    CONFLICT = "conflict"  # somebody was faster, or the stage does not allow this step
    VERDICT = "verdict"  # the live pairs, the gate or the certificate do not allow this step
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    BUSY = "busy"  # a database is locked by another writer
    STORE = "store"  # a database cannot be read or written
    FAILED = "failed"  # a defect; the log has the details, the caller none


STATUS: Mapping[Code, int] = {
    Code.NO_KEY: 401,
    Code.ROLE: 403,
    Code.SECOND_PERSON: 403,
    Code.UNKNOWN: 404,
    Code.METHOD: 405,
    Code.CONFLICT: 409,
    Code.VERDICT: 409,
    Code.TOO_LARGE: 413,
    Code.INVALID: 422,
    Code.BUSY: 503,
    Code.STORE: 503,
    Code.FAILED: 500,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not done; expected, so a value."""

    code: Code
    error: str
    reasons: tuple[str, ...] = ()


def refusal_response(refused: Refused) -> Response:
    document: dict[str, object] = {"error": refused.error, "code": str(refused.code)}
    if refused.reasons:
        document["reasons"] = list(refused.reasons)
    headers = {"Cache-Control": "no-store"}
    if refused.code in (Code.BUSY, Code.STORE):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if refused.code is Code.NO_KEY:
        headers["WWW-Authenticate"] = 'Bearer realm="stillgate"'
    return JSONResponse(document, STATUS[refused.code], headers)


def store_refusal(error: SQLAlchemyError | sqlite3.Error) -> Refused:
    """A database did not do its part: locked for too long, or not usable at all."""
    cause = error.orig if isinstance(error, OperationalError) else error
    locked = isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause)
    if locked or isinstance(error, PoolTimeout):
        return Refused(Code.BUSY, "the store is locked by another writer; nothing was changed, try again")
    return Refused(
        Code.STORE,
        "the store cannot be read or written; nothing was changed. Look at the disk's free space and"
        " the rights of the data directory; the log of the control process has the details",
    )
