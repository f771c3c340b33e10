"""True labels as they come in: late, early, twice, and wrong."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import Session, col, select

from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.tables import LabelRow
from tests.gateway.control.desk import TASK, Desk
from tests.ledger.builders import build_exchange


@pytest.fixture(autouse=True)
def exchanges(desk: Desk) -> Iterator[None]:
    """Exchange 1 of the task with two inputs, exchange 2 of no task; 3 and on are not written yet."""
    file = ExchangeFile(exchange_path(desk.data_directory, "g0"))
    file.append(
        [
            build_exchange(1, task=TASK, inputs=("a", "b"), input_words=(1, 1)),
            build_exchange(2, task=""),
        ],
        [],
    )
    yield
    file.close()


def _send(desk: Desk, *labels: Any) -> dict[str, Any]:
    response = desk.ask("olga", "POST", "/api/v1/labels", {"labels": list(labels)})
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def _kept(desk: Desk) -> list[tuple[str, int, str, str]]:
    with transaction(desk.engine) as session:
        rows = session.exec(select(LabelRow)).all()
    return [(row.exchange_id, row.input_index, row.label, row.source) for row in rows]


def test_a_label_is_kept_with_who_sent_it(desk: Desk) -> None:
    """The source is the sender unless they name another."""
    labels = [
        {"exchange_id": "g0-1", "label": "Sports"},
        {"exchange_id": "g0-1", "label": "Business", "input_index": 1, "source": "audit team"},
    ]
    assert _send(desk, *labels) == {
        "accepted": 2,
        "corrected": 0,
        "duplicate": 0,
        "waiting": 0,
        "refused": [],
    }
    assert _kept(desk) == [("g0-1", 0, "Sports", "olga"), ("g0-1", 1, "Business", "audit team")]


def test_a_label_may_come_before_its_exchange_and_twice(desk: Desk) -> None:
    """The exchange is written milliseconds later, and a repetition is no error and no row."""
    label = {"exchange_id": "g0-77", "label": "Sports"}
    counts = {"accepted": 1, "corrected": 0, "duplicate": 1, "waiting": 1, "refused": []}
    assert _send(desk, label, label) == counts
    assert _send(desk, label) == counts | {"accepted": 0, "waiting": 0}
    assert len(_kept(desk)) == 1


def test_a_correction_is_kept_beside_what_it_corrects(desk: Desk) -> None:
    """The last one by arrival holds, also where it is the first again."""
    labels = [
        {"exchange_id": "g0-1", "label": label} for label in ("Sports", "Business", "Business", "Sports")
    ]
    counts = _send(desk, *labels)

    assert (counts["accepted"], counts["corrected"], counts["duplicate"]) == (1, 2, 1)
    assert [label for _, _, label, _ in _kept(desk)] == ["Sports", "Business", "Sports"]


def test_a_label_may_say_how_it_was_chosen(desk: Desk) -> None:
    """Another probability is a correction; who says none leaves it as it was said last."""
    label = {"exchange_id": "g0-1", "label": "Sports"}
    said = [label | {"probability": 0.05}, label, label | {"probability": 0.1}, label | {"label": "Business"}]
    counts = _send(desk, *said)

    assert (counts["accepted"], counts["corrected"], counts["duplicate"]) == (1, 2, 1)
    with Session(desk.engine) as session:
        rows = session.exec(select(LabelRow).order_by(col(LabelRow.number))).all()
    assert [(row.label, row.probability) for row in rows] == [
        ("Sports", 0.05),
        ("Sports", 0.1),
        ("Business", 0.1),
    ]


@pytest.mark.parametrize(
    ("label", "code", "reason"),
    [
        ({"exchange_id": "g0-1", "label": "Weather"}, "bad_class", "none of the classes"),
        ({"exchange_id": "g0-77", "label": "Weather"}, "bad_class", "class of no task"),
        ({"exchange_id": "g0-1", "label": "Sports", "input_index": 2}, "bad_input", "beyond the 2 inputs"),
        ({"exchange_id": "g0-2", "label": "Sports"}, "no_task", "belongs to no task"),
        ({"exchange_id": "g9-1", "label": "Sports"}, "unknown_exchange", "not one of this deployment"),
        ({"exchange_id": "nonsense", "label": "Sports"}, "unknown_exchange", "not one of this deployment"),
        (
            {"exchange_id": "../control-1", "label": "Sports"},
            "unknown_exchange",
            "not one of this deployment",
        ),
        (
            {"exchange_id": "/etc/passwd-1", "label": "Sports"},
            "unknown_exchange",
            "not one of this deployment",
        ),
        ({"exchange_id": "g0-1"}, "malformed", "label"),
        ({"exchange_id": "g0-1", "label": 7}, "malformed", "label"),
        ({"exchange_id": "g0-1", "label": "Sports", "probability": 0.0009}, "malformed", "probability"),
        ({"exchange_id": "g0-1", "label": "Sports", "probability": 1.1}, "malformed", "probability"),
        ({"exchange_id": "g0-1", "label": "Sports", "input_index": -1}, "malformed", "input_index"),
        ({"exchange_id": "g0-1", "label": "Sports", "lable": 1}, "malformed", "lable"),
    ],
)
def test_a_label_that_cannot_be_true_is_refused_alone(
    desk: Desk, label: dict[str, Any], code: str, reason: str
) -> None:
    """Its index and reason come back; the good one beside it is kept."""
    answer = _send(desk, {"exchange_id": "g0-1", "label": "Sports"}, label)
    assert answer["accepted"] == 1
    (refused,) = answer["refused"]
    assert (refused["index"], refused["code"]) == (1, code)
    assert reason in refused["reason"]
    assert len(_kept(desk)) == 1


@pytest.mark.parametrize("body", [{}, {"labels": {}}, {"labels": ["x"]}, {"labels": [], "more": 1}])
def test_a_body_of_another_shape_is_refused_whole(desk: Desk, body: dict[str, Any]) -> None:
    """422 with the place that is wrong."""
    assert desk.ask("olga", "POST", "/api/v1/labels", body).json()["code"] == "invalid"


def test_more_labels_than_a_request_may_hold_are_refused(desk: Desk) -> None:
    """Bounded in count."""
    labels = [{"exchange_id": "g0-1", "label": "Sports"}] * 10_001
    assert desk.ask("olga", "POST", "/api/v1/labels", {"labels": labels}).status_code == 422


def test_an_exchange_file_that_cannot_be_read_is_a_store_error(desk: Desk) -> None:
    """The labels can be sent again when it can; none is half taken."""
    exchange_path(desk.data_directory, "g1").write_bytes(b"this is no database, only text" * 100)
    labels = [{"exchange_id": name, "label": "Sports"} for name in ("g0-1", "g1-1")]
    response = desk.ask("olga", "POST", "/api/v1/labels", {"labels": labels})
    assert (response.status_code, response.json()["code"]) == (503, "store")
    assert _kept(desk) == []
