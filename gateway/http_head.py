"""The head of a request, held to the grammar of RFC 9112 before anything acts on it.

What is read here is a whitelist: one regular expression for the request line and one for a field line. Whatever
two parsers could read in two ways (bare CR or LF, folded lines, a space before the colon, two lengths, a length
beside chunks, several Host fields) is no head at all and is refused with its reason.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from gateway.asgi import Fields
from gateway.guard import CLOSE, Refused

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-\"$-~]+) HTTP/([0-9])\.([0-9])\r\n")
_FIELD = re.compile(rb"^(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n", re.MULTILINE)
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")  # every registered method; they are case-sensitive
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_UNFINISHED = re.compile(rb"[\x20-\x7e]*\r?")  # what a request line may look like before its end has arrived
_BARE_CR = re.compile(rb"\r(?!\n|\Z)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_SPACE_BEFORE_COLON = re.compile(rb"^" + _TOKEN + rb"[ \t]+:", re.MULTILINE)
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})

NO_BODY, CHUNKED = 0, -1


class HttpHead(NamedTuple):
    """One valid head. A tuple, because it is made once a request and a frozen dataclass costs three times more."""

    method: str
    target: bytes  # what the teacher is asked for: path and query as they came, or *
    authority: bytes  # from an absolute target, else from Host; empty in HTTP/1.0 without Host
    modern: bool  # HTTP/1.1, not 1.0
    fields: Fields  # names in lower case, in order
    length: int  # of the body, or CHUNKED
    keep_alive: bool
    expects: bool  # an interim response before the body


@dataclass(frozen=True, slots=True)
class HeadLimits:
    line_bytes: int
    fields_bytes: int  # all field lines together, line ends included
    fields: int


def read_head(content: bytes, limits: HeadLimits) -> HttpHead | Refused:
    """Read a head: request line and field lines with their line ends, without the empty line after them."""
    line = _LINE.match(content)
    if line is None or line.end() - 2 > limits.line_bytes:
        return _line_refusal(content, limits)
    method, target, major, minor = line.groups()
    if major != b"1" or minor > b"1":
        return _refused(505, "version", "HTTP/1.0 and HTTP/1.1 are spoken here, nothing else.")
    if not _METHOD.fullmatch(method):
        return _refused(501, "method", "Methods are written in capitals and have at most 32 letters.")
    if len(content) - line.end() > limits.fields_bytes:
        return _fields_too_large(limits)
    fields = [(name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(content, line.end())]
    if len(fields) != content.count(b"\n", line.end()):
        return _field_refusal(content)
    if len(fields) > limits.fields:
        return _fields_too_large(limits)
    return _framed(method, target, minor == b"1", fields)


def unfinished_refusal(content: bytes, seen: int, limits: HeadLimits) -> Refused | None:
    """Judge the beginning of a head, of which the first `seen` bytes have been judged already."""
    new = content[max(seen - 1, 0) :]
    line_end = content.find(b"\r\n", 0, limits.line_bytes + 2)
    if line_end < 0:
        if len(content) > limits.line_bytes + 1:
            return _line_too_long(limits)
        if _BARE_LF.search(new) or not _UNFINISHED.fullmatch(new):
            return _line_refusal(content, limits)
        return None
    if len(content) - line_end > limits.fields_bytes + 4:
        return _fields_too_large(limits)
    if seen < line_end + 2 and _LINE.match(content) is None:
        return _line_refusal(content, limits)
    if _BARE_LF.search(new, 1) or _BARE_CR.search(new) or b"\x00" in new:
        return _field_refusal(content)
    return None


def _framed(method: bytes, target: bytes, modern: bool, fields: Fields) -> HttpHead | Refused:
    """Where the request goes and where it ends (RFC 9112 sections 3.2, 3.3 and 6.3)."""
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    expects = False
    for name, value in fields:
        if name in _FRAMING:
            if name == b"host":
                hosts.append(value)
            elif name == b"content-length":
                lengths.append(value)
            elif name == b"connection":
                options.append(value)
            elif name == b"expect":
                expects = modern
            else:
                codings.append(value)
    length = _length(lengths) if not codings else _coded(codings, lengths, modern)
    if isinstance(length, Refused):
        return length
    host = _host(hosts, modern)
    if isinstance(host, Refused):
        return host
    if not target.startswith(b"/"):
        resolved = _resolved(method, target, host)
        if isinstance(resolved, Refused):
            return resolved
        target, host = resolved
    keep_alive = modern and (not options or not _says_close(options))
    return HttpHead(method.decode(), target, host, modern, fields, length, keep_alive, expects)


def _length(lengths: list[bytes]) -> int | Refused:
    if not lengths:
        return NO_BODY
    if len(lengths) > 1:
        return _refused(
            400, "length_twice", "There are several Content-Length fields (RFC 9112 section 6.3)."
        )
    if not _LENGTH.fullmatch(lengths[0]):
        return _refused(400, "length_invalid", "Content-Length is not a number (RFC 9112 section 6.3).")
    return int(lengths[0])


def _coded(codings: list[bytes], lengths: list[bytes], modern: bool) -> int | Refused:
    if lengths:
        return _refused(
            400,
            "length_and_chunks",
            "Content-Length stands beside Transfer-Encoding: where does the body end?",
        )
    if not modern:
        return _refused(400, "coding_in_1_0", "HTTP/1.0 knows no Transfer-Encoding (RFC 9112 section 6.1).")
    named = [coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")]
    if named == [b"chunked"]:
        return CHUNKED
    if named.count(b"chunked") > 1 or b"" in named:
        return _refused(400, "coding_invalid", "Transfer-Encoding is empty or names chunked twice.")
    return _refused(501, "coding_unknown", "chunked is the only transfer coding that is understood here.")


def _host(hosts: list[bytes], modern: bool) -> bytes | Refused:
    if len(hosts) > 1:
        return _refused(400, "host_twice", "The request has several Host fields (RFC 9112 section 3.2).")
    if not hosts:
        if modern:
            return _refused(400, "host_missing", "The request has no Host field (RFC 9112 section 3.2).")
        return b""
    if not _AUTHORITY.fullmatch(hosts[0]):
        return _refused(400, "host_invalid", "Host is not a host and a port (RFC 9110 section 7.2).")
    return hosts[0]


def _resolved(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes] | Refused:
    """Target and authority of a request whose target is not in origin-form (RFC 9112 section 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return target, host
    if method == b"CONNECT" and _AUTHORITY.fullmatch(target):
        return target, target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or method == b"CONNECT" or not _AUTHORITY.fullmatch(absolute[1]):
        return _refused(
            400, "target_invalid", "The request target is none of the forms of RFC 9112 section 3.2."
        )
    authority, path = absolute.groups()
    if not path and method == b"OPTIONS":
        return b"*", authority
    return (path if path.startswith(b"/") else b"/" + path), authority


def _says_close(options: list[bytes]) -> bool:
    return any(option.strip(b" \t").lower() == b"close" for value in options for option in value.split(b","))


# --- what is said when it is no head --------------------------------------------------------------------


def _refused(status: int, code: str, sentence: str) -> Refused:
    return Refused(status, code, sentence, CLOSE)


def _line_too_long(limits: HeadLimits) -> Refused:
    return _refused(
        414,
        "line_too_long",
        f"The request line exceeds gateway.max_request_line_bytes = {limits.line_bytes}.",
    )


def _fields_too_large(limits: HeadLimits) -> Refused:
    return _refused(
        431,
        "head_too_large",
        f"The header fields exceed gateway.max_head_bytes = {limits.fields_bytes}"
        f" or gateway.max_head_fields = {limits.fields}.",
    )


def _line_refusal(content: bytes, limits: HeadLimits) -> Refused:
    line_end = content.find(b"\n")
    if line_end < 0 or line_end - 1 > limits.line_bytes:
        return _line_too_long(limits) if len(content) > limits.line_bytes else _NO_REQUEST_LINE
    return _NO_REQUEST_LINE


def _field_refusal(content: bytes) -> Refused:
    """The first thing that is wrong with the field lines."""
    if b"\x00" in content:
        return _refused(400, "nul", "The head holds a NUL byte (RFC 9110 section 5.5).")
    if _BARE_CR.search(content) or _BARE_LF.search(content):
        return _refused(400, "bare_line_end", "The head holds a CR or an LF alone (RFC 9112 section 2.2).")
    if b"\n " in content or b"\n\t" in content:
        return _refused(400, "folded_line", "A field line begins with a space (RFC 9112 section 5.2).")
    if _SPACE_BEFORE_COLON.search(content):
        return _refused(400, "space_before_colon", "A space precedes a colon (RFC 9112 section 5.1).")
    return _refused(
        400, "field_invalid", "A field line is not a name, a colon and a value (RFC 9112 section 5)."
    )


_NO_REQUEST_LINE = _refused(
    400, "request_line", "The request line is not a method, a target and HTTP/1.1 (RFC 9112 section 3)."
)
