"""Redaction on the way of an exchange: before it is stored and before a student reads it, never for the teacher."""

from pathlib import Path

from tests.gateway.running import gateway
from tests.gateway.teachers import TeacherApp

TEXT = "billing for anna@example.com, card 4111 1111 1111 1111"


def test_stored_text(teacher: TeacherApp, teacher_url: str, tmp_path: Path) -> None:
    """The teacher gets the caller's bytes; neither text nor address is anywhere in the record's files."""
    with gateway(tmp_path, teacher_url) as process:
        assert process.predict(TEXT, x_area="bob@example.com").status == 200
        process.settled()
        (exchange,) = process.exchanges()
    assert TEXT.encode() in teacher.seen[-1][4]
    assert exchange.inputs == ("billing for [email], card [card]",)
    assert exchange.attributes == {"x-area": "[email]"}
    stored = b"".join(path.read_bytes() for path in (tmp_path / "exchanges").iterdir())
    assert b"example.com" not in stored
    assert b"4111 1111" not in stored


def test_no_redaction_is_a_choice(teacher_url: str, tmp_path: Path) -> None:
    """redact = [] stores what was asked."""
    with gateway(tmp_path, teacher_url, capture='text"\nredact = []\n# "') as process:
        process.predict(TEXT)
        process.settled()
        (exchange,) = process.exchanges()
    assert exchange.inputs == (TEXT,)


def test_text_too_long_to_redact(teacher_url: str, tmp_path: Path) -> None:
    """A text above the limit passes and is recorded without itself."""
    with gateway(tmp_path, teacher_url) as process:
        assert process.predict("billing " * 10_000).status == 200
        process.settled()
        (exchange,) = process.exchanges()
    assert (exchange.unpaired, exchange.inputs) == ("request_too_large", ())
