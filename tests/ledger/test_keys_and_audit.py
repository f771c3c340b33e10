"""Keys of named people, and the log of what they did."""

import pytest
from sqlalchemy import Engine, text

from ledger.audit import append_audit, first_broken_audit_row
from ledger.control_file import transaction
from ledger.keys import Role, create_key, has_keys, person_of, revoke_keys


def test_a_key_opens_for_its_person_alone(engine: Engine) -> None:
    """The key itself is stored nowhere."""
    with transaction(engine) as session:
        assert not has_keys(session)
        key = create_key(session, "ann", Role.OPERATOR, "setup")
        row = person_of(session, key)

        assert row is not None
        assert (row.person, row.role) == ("ann", Role.OPERATOR)
        dump = str(session.connection().execute(text("SELECT * FROM api_key")).all())
        assert key not in dump


@pytest.mark.parametrize("spoil", [lambda k: k[:-1], lambda k: k + "0", lambda k: "x" + k, lambda k: ""])
def test_another_string_opens_nothing(engine: Engine, spoil: "object") -> None:
    """A key that is cut, extended or empty is unknown."""
    with transaction(engine) as session:
        key = create_key(session, "ann", Role.VIEWER, "setup")

        assert callable(spoil)
        assert person_of(session, spoil(key)) is None


def test_a_revoked_key_opens_nothing(engine: Engine) -> None:
    """All keys of a person end at once."""
    with transaction(engine) as session:
        keys = [create_key(session, "ann", Role.ADMIN, "setup") for _ in range(2)]

        assert revoke_keys(session, "ann", "bob") == 2
        assert [person_of(session, key) for key in keys] == [None, None]


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET actor = 'eve' WHERE number = 3",
        "UPDATE audit SET details = '{}' WHERE number = 3",
        "UPDATE audit SET at_us = at_us + 1 WHERE number = 3",
        "DELETE FROM audit WHERE number = 2",
    ],
)
def test_a_changed_audit_log_names_its_first_bad_row(engine: Engine, tamper: str) -> None:
    """Whatever is changed or removed inside, the chain breaks at that place."""
    with transaction(engine) as session:
        for number in range(5):
            append_audit(session, "ann", "did", {"number": number})
        assert first_broken_audit_row(session) is None

    with engine.begin() as connection:
        connection.execute(text(tamper))

    with transaction(engine) as session:
        assert first_broken_audit_row(session) == 3
