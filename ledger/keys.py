"""Keys of the admin API: each belongs to one named person, and only its digest is kept.

The prefix and the checksum let secret scanners recognise a leaked key without asking us.
"""

import hashlib
import secrets
import string
import zlib
from enum import StrEnum

from sqlmodel import Session, col, select

from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.tables import KeyRow

PREFIX = "stg"
_ALPHABET = string.digits + string.ascii_letters
_RANDOM_LENGTH = 30  # of 62 symbols: 178 bits, so a plain SHA-256 digest cannot be reversed


class Role(StrEnum):
    """What a key may do; see gateway.control.access for the routes."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # propose, abort, undo, start jobs, send labels
    VALIDATOR = "validator"  # approve, abort
    ADMIN = "admin"  # make and revoke keys, and all that an operator may; approves nothing


def create_key(session: Session, person: str, role: Role, created_by: str) -> str:
    """Make a key and return it: the only time that it is seen."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    key = f"{PREFIX}_{role}_{body}{_checksum(body)}"
    session.add(KeyRow(person=person, role=role, digest=_digest(key), created_at_us=now_us()))
    append_audit(session, created_by, "key_created", {"person": person, "role": str(role)})
    return key


def person_of(session: Session, key: str) -> KeyRow | None:
    """The row of a key that is known and not revoked."""
    if not key.startswith(f"{PREFIX}_") or key[-6:] != _checksum(key[-6 - _RANDOM_LENGTH : -6]):
        return None
    return session.exec(
        select(KeyRow).where(KeyRow.digest == _digest(key), col(KeyRow.revoked_at_us).is_(None))
    ).first()


def revoke_keys(session: Session, person: str, revoked_by: str) -> int:
    """Revoke every key of a person; return how many there were."""
    rows = session.exec(
        select(KeyRow).where(KeyRow.person == person, col(KeyRow.revoked_at_us).is_(None))
    ).all()
    for row in rows:
        row.revoked_at_us = now_us()
        session.add(row)
    append_audit(session, revoked_by, "keys_revoked", {"person": person, "count": len(rows)})
    return len(rows)


def has_keys(session: Session) -> bool:
    return session.exec(select(KeyRow.id).limit(1)).first() is not None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text
