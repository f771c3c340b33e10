"""Where values stand, and exchanging them byte for byte."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.spans import object_end, spans_of, without_members
from ledger.pointers import resolve

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60)
@given(JSON, st.booleans())
def test_every_value_stands_in_its_span(document: object, pretty: bool) -> None:
    """The bytes of each span are the JSON of what the path leads to; the last span is the document."""
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if pretty else None)
    spans = list(spans_of(body))
    for span in spans:
        assert orjson.loads(body[span.start : span.end]) == resolve(document, list(map(str, span.path)))
    assert (spans[-1].path, spans[-1].start, spans[-1].end) == ((), 0, len(body))


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=4), st.booleans(), st.data())
def test_members_are_taken_out(document: dict[str, object], pretty: bool, data: st.DataObject) -> None:
    """Without one member the rest is the same document."""
    key = data.draw(st.sampled_from(sorted(document)))
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if pretty else None)
    (span,) = [span for span in spans_of(body) if span.path == (key,)]
    rest = {name: value for name, value in document.items() if name != key}
    assert orjson.loads(without_members(body, [span])) == orjson.loads(orjson.dumps(rest))


@pytest.mark.parametrize(
    ("content", "end"),
    [(b'{"a":"}"}\x00{', 9), (b"{}", 2), (b"{", 0), (b"", 0), (b'{"a":"', 0), (b"{" * 10**5, 0)],
)
def test_object_end(content: bytes, end: int) -> None:
    """Braces in texts do not count; what never ends has no end."""
    assert object_end(content, 64 * 1024) == end
