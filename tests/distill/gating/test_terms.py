"""Who signed what the gate asks for, and who may look at it."""

from datetime import date
from pathlib import Path

import pytest

from distill.gating.lock import lock_gate
from distill.gating.looks import LooksSpent, looks_taken, take_look
from distill.gating.terms import Unsigned, looks_of, signature_of, terms_digest
from ledger.configuration import SignatureSection, TaskSection
from tests.distill.gating.parrot import gate_of


def signed(task: TaskSection, **said: str) -> TaskSection:
    section = SignatureSection(signed_by="s", signed_on=date(2026, 11, 1), **said)  # type: ignore[arg-type]
    return task.model_copy(update={"signature": section})


def test_without_a_section_the_sponsor_has_a_standing_policy(task: TaskSection) -> None:
    """Taken from the people of the task, and it says so."""
    found = signature_of(task)

    assert (found["policy"], found["signed_by"], found["driver"]) == ("standing", "s", "d")
    assert found["source"] == "[task.governance]"


def test_a_standing_policy_names_its_driver_and_day(task: TaskSection) -> None:
    """It holds for any terms."""
    found = signature_of(signed(task, policy="standing", driver="robot"))

    assert (found["driver"], found["signed_on"]) == ("robot", "2026-11-01")


def test_a_signature_for_these_terms_alone(task: TaskSection) -> None:
    """The first digits of the digest suffice; another bar is another digest, and the message says which."""
    asked = signed(task, policy="terms", terms=terms_digest(task)[:12])
    lower = asked.model_copy(update={"gate": task.gate.model_copy(update={"bar": 0.5})})

    assert signature_of(asked)["policy"] == "terms"
    with pytest.raises(Unsigned, match=f'set terms = "{terms_digest(lower)[:12]}"'):
        signature_of(lower)
    with pytest.raises(Unsigned, match="names no terms"):
        signature_of(signed(task, policy="terms"))


def test_who_signed_is_no_part_of_the_terms(task: TaskSection) -> None:
    """Or nobody could ever sign them; the behaviour file's content is."""
    assert terms_digest(signed(task, policy="standing")) == terms_digest(task)


def test_an_unsigned_gate_is_not_locked(task: TaskSection, tmp_path: Path) -> None:
    """No lock, so no training."""
    with pytest.raises(Unsigned):
        lock_gate(tmp_path, signed(task, policy="terms", terms="0" * 12), gate_of(task, x=5))
    assert not (tmp_path / "gate.lock.json").exists()


def test_no_more_candidates_look_than_were_planned(task: TaskSection, tmp_path: Path) -> None:
    """The same one may look again, after a crash or with another artifact; a further one may not."""
    lock = lock_gate(tmp_path, task, gate_of(task, x=5))
    take_look(tmp_path, lock, "1-static", 2)
    take_look(tmp_path, lock, "1-static", 2)
    take_look(tmp_path, lock, "2-transformer", 2)

    assert [entry["candidate"] for entry in looks_taken(tmp_path)] == ["1-static", "2-transformer"]
    with pytest.raises(LooksSpent, match=r"3-large may not look .* taken by 1-static, 2-transformer"):
        take_look(tmp_path, lock, "3-large", 2)


def test_looks_are_as_many_as_candidates_unless_the_file_says(task: TaskSection) -> None:
    """The level of each is alpha over this number, whoever looks in the end."""
    three = task.model_copy(update={"gate": task.gate.model_copy(update={"looks": 3})})

    assert (looks_of(task), looks_of(three)) == (1, 3)
