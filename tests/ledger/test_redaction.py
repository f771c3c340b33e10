"""Redaction: what is found, what is left alone, and how much of the labelled set."""

import pytest

from ledger.redaction import Kind, entropy_bits, is_iban, passes_luhn, redactor
from tests.ledger.labelled_texts import labelled_texts

EVERY = frozenset(Kind)

# kind -> least recall, least precision on the labelled set; docs/record.md prints what was measured
LEAST = {
    Kind.EMAIL: (0.75, 0.99),
    Kind.CARD: (0.75, 0.99),
    Kind.IBAN: (0.75, 0.99),
    Kind.PHONE: (0.70, 0.95),
    Kind.KEY: (0.85, 0.95),
}


def recall_and_precision(kind: Kind) -> tuple[float, float]:
    """Share of the planted values of a kind that are gone whole, and of its marks that stand where one was."""
    redact = redactor(EVERY)
    planted = found = marks = right = 0
    for labelled in labelled_texts():
        text = redact(labelled.text)
        count = text.count(f"[{kind}]")
        marks += count
        if labelled.kind is kind:
            planted += 1
            right += min(count, 1)
            found += labelled.value.split()[-1] not in text and count > 0
    return found / planted, right / marks


@pytest.mark.parametrize("kind", Kind)
def test_recall_and_precision(kind: Kind) -> None:
    """Each kind reaches what is published of it."""
    recall, precision = recall_and_precision(kind)
    assert (recall >= LEAST[kind][0], precision >= LEAST[kind][1]) == (True, True), (recall, precision)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to bob.smith+x@example.co.uk now", "write to [email] now"),
        ("card 4111 1111 1111 1111, please", "card [card], please"),
        ("DE89 3704 0044 0532 0130 00 BITTE", "[iban] BITTE"),
        ("gb82west12345698765432.", "[iban]."),
        ("call +49 (0)30 123456-78 or (555) 234-5678", "call [phone] or [phone]"),
        ("use sk-abcdefghijklmnop1234", "use [key]"),
        ("my password: hunter2000x", "my password: [key]"),
        ("card 4111 1111 1111 1112 fails its check", "card 4111 1111 1111 1112 fails its check"),
        ("123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("it came 3 days late on 2026-01-02", "it came 3 days late on 2026-01-02"),
        ("", ""),
    ],
)
def test_texts(text: str, redacted: str) -> None:
    """One of each kind, and what only looks like one."""
    assert redactor(EVERY)(text) == redacted


def test_kinds_are_chosen() -> None:
    """Only what is named is replaced; of no kinds, nothing is."""
    text = "a@example.com 4111111111111111"
    assert redactor(frozenset({Kind.EMAIL}))(text) == "[email] 4111111111111111"
    assert redactor(frozenset())(text) == text


def test_redacting_twice_changes_nothing() -> None:
    """What redaction writes is not redacted again: replays see the same text."""
    redact = redactor(EVERY)
    for labelled in labelled_texts():
        once = redact(labelled.text)
        assert redact(once) == once


def test_check_sums() -> None:
    """The published examples of both standards."""
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398714")
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST12345698765433")
    assert not is_iban("XX82WEST12345698765432")


def test_entropy() -> None:
    """One sign tells nothing, two equally frequent ones a bit."""
    assert (entropy_bits("aaaa"), entropy_bits("abab")) == (0, 1)
