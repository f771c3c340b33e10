"""What the values of settings look like: addresses, shares, pointers, and what is said when one does not."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ledger.pointers import parse_pointer

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port, for example 127.0.0.1:8080")
    return text


def _url(text: str) -> str:
    if not re.match(r"^https?://[^/@\s?#]+$", text.rstrip("/")):
        raise ValueError(
            f"{text!r} is not http://host:port or https://host:port (no path, query or credentials)"
        )
    return text.rstrip("/")


def _webhook_url(text: str) -> str:
    if not re.match(r"^https?://[^/@\s?#]+(/[^\s#]*)?$", text):
        raise ValueError("it is not http://host/path or https://host/path (no credentials, no fragment)")
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or "?" in text or "#" in text:
        raise ValueError(f"{text!r} is not a URL path: it starts with / and has no query")
    return text


def _pointer(text: str) -> str:
    parse_pointer(text)
    return text


def _edges(edges: tuple[int, ...]) -> tuple[int, ...]:
    if not edges or list(edges) != sorted(set(edges)) or edges[0] < 1:
        raise ValueError(f"{list(edges)} must be ascending edges above 0, e.g. [50, 150]")
    return edges


FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")]
Network = IPv4Network | IPv6Network  # an address is a network of one
Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
WebhookUrl = Annotated[str, AfterValidator(_webhook_url)]
UrlPath = Annotated[str, AfterValidator(_path)]
JsonPointer = Annotated[str, AfterValidator(_pointer)]
Edges = Annotated[tuple[int, ...], AfterValidator(_edges)]


class Section(BaseModel):
    """A part of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
