"""Asking the teacher for token logprobs that the caller did not ask for, and taking them out of its reply.

Both change the bytes that need it and no other.
"""

from functools import partial

from gateway.dialects.dialect import Amendment, read_json
from gateway.dialects.spans import Span, exchanged, spans_of, without_members
from ledger.configuration import OpenAISection


def amend(section: OpenAISection, body: bytes) -> Amendment:
    """The request with logprobs asked for. `body` is a JSON object that does not ask for them."""
    wanted = {"logprobs": b"true", "top_logprobs": b"%d" % section.top_logprobs}
    spans = {span.path[0]: span for span in spans_of(body) if len(span.path) == 1}
    present = [(spans[key].start, spans[key].end, value) for key, value in wanted.items() if key in spans]
    absent = b"".join([b'"%s":%s,' % (key.encode(), v) for key, v in wanted.items() if key not in spans])
    opening = body.index(b"{") + 1
    return Amendment(
        exchanged(body, [(opening, opening, absent), *present]), partial(restored, section.unasked_logprobs)
    )


def restored(unasked: str, document: bytes) -> bytes:
    """A completion or chunk as it would have come without logprobs; anything else as it is."""
    if not isinstance(read_json(document), dict):
        return document
    found = [span for span in spans_of(document) if _is_logprobs(span)]
    if unasked == "absent":
        return without_members(document, found)
    return exchanged(document, [(span.start, span.end, b"null") for span in found])


def _is_logprobs(span: Span) -> bool:
    path = span.path
    return len(path) == 3 and path[0] == "choices" and isinstance(path[1], int) and path[2] == "logprobs"
