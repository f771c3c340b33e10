"""One attempt to hand an event to a receiver: its signature, what the answer means, and how long to wait after it.

Signed as standard-webhooks 1.0.0 says (github.com/standard-webhooks/standard-webhooks): receivers have libraries.
"""

import base64
import hmac
import os
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
import orjson

from ledger.configuration import WebhookSection

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SECRET_PREFIX = "whsec_"
FIRST_PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 300.0
_REFUSALS = frozenset({400, 413, 415, 422})  # of this event: the same bytes would be refused again


class Outcome(StrEnum):
    """What became of an attempt."""

    DELIVERED = "delivered"  # any 2xx
    REFUSED = "refused"  # the receiver does not want this event
    FAILED = "failed"  # anything else: it is tried again


@dataclass(frozen=True, slots=True)
class Attempt:
    outcome: Outcome
    reason: str = ""  # in words, for the log; never the url, which may hold a token
    retry_after_seconds: float = 0.0  # as the receiver asks


class SecretUnusable(Exception):
    """The secret of a webhook cannot be read."""


def attempt(section: WebhookSection, event: Mapping[str, Any]) -> Attempt:
    """POST the event on a connection of its own; the body of the answer is not read.

    No redirects and no proxies: events go to the url and nowhere else. Certificates and secret are read anew.
    """
    try:
        body = orjson.dumps(event)
        headers = {"content-type": CONTENT_TYPE, **_signed(section, event["id"], body)}
        with (
            httpx.Client(verify=_trust(section), timeout=section.timeout_seconds, trust_env=False) as client,
            client.stream("POST", section.url, content=body, headers=headers) as response,
        ):
            return judge(response.status_code, response.headers.get("retry-after", ""))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Attempt(Outcome.FAILED, f"{type(error).__name__}: {error}")
    except OSError as error:
        return Attempt(Outcome.FAILED, f"ca_file = {section.ca_file} cannot be used: {error}")
    except SecretUnusable as error:
        return Attempt(Outcome.FAILED, str(error))


def _trust(section: WebhookSection) -> ssl.SSLContext | bool:
    if section.url.startswith("https:"):
        return ssl.create_default_context(cafile=section.ca_file)
    return False


def judge(status: int, retry_after: str) -> Attempt:
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED)
    if status in _REFUSALS:
        return Attempt(Outcome.REFUSED, f"status {status}")
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return Attempt(Outcome.FAILED, f"status {status}", min(seconds, 3600.0))


def pause_seconds(failures: int, retry_after_seconds: float) -> float:
    """After so many failures in a row: doubling, jittered by half so that receivers are not met by all at once."""
    longest = min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return max(retry_after_seconds, longest * random.uniform(0.5, 1))


def signature(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def secret_of(section: WebhookSection) -> bytes | None:
    """Read anew for every attempt, so that a changed secret needs no restart. Raises SecretUnusable."""
    if section.secret_file is not None:
        try:
            text, where = section.secret_file.read_text(encoding="utf-8").strip(), str(section.secret_file)
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnusable(f"secret_file cannot be read: {error}") from error
    elif section.secret_environment is not None:
        where = f"the environment variable {section.secret_environment}"
        text = os.environ.get(section.secret_environment, "")
    else:
        return None
    try:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise SecretUnusable(
            f"the secret in {where} is not {SECRET_PREFIX} and base64;"
            f' make one with `echo "{SECRET_PREFIX}$(openssl rand -base64 32)"`'
        ) from None


def _signed(section: WebhookSection, event_id: str, body: bytes) -> dict[str, str]:
    secret = secret_of(section)
    if secret is None:
        return {}
    now = int(time.time())
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, event_id, now, body),
    }
