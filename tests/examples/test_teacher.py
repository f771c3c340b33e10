"""The demo's teacher, built from a small encoder and served over HTTP."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn

from examples.helpdesk.corpus import Post
from examples.helpdesk.serve_teacher import MAX_BODY_BYTES, Teacher, application, load_teacher
from examples.helpdesk.teacher import TeacherCard, build_teacher
from tests.distill.encoders import write_encoder, write_text

DESKS = ("comp", "rec", "talk")


def write_labelled(number: int) -> tuple[str, int]:
    """Every third text is small talk."""
    return ("the a of " * (1 + number % 5), 2) if number % 3 == 0 else write_text(number)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TeacherCard]:
    folder = tmp_path_factory.mktemp("teacher")
    texts = [write_labelled(number) for number in range(210)]
    posts = [Post("area", DESKS[label], text, str(place)) for place, (text, label) in enumerate(texts)]
    card = build_teacher(posts, write_encoder(folder / "encoder"), folder / "teacher", seed=0)
    return folder / "teacher", card


@pytest.fixture(scope="module")
def teacher(built: tuple[Path, TeacherCard]) -> Teacher:
    return load_teacher(built[0])


@pytest.fixture(scope="module")
def client(teacher: Teacher) -> Iterator[httpx.Client]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(teacher), log_level="error", lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    # the listener already queues connections, so the first request waits for the server by itself
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=20) as connected:
        yield connected
    server.should_exit = True
    thread.join(20)
    listener.close()


def test_it_learns_the_desks(built: tuple[Path, TeacherCard], teacher: Teacher) -> None:
    """Even random sentence vectors tell computers from sports, and the probabilities are distributions."""
    texts = [write_labelled(number) for number in range(1000, 1060)]
    probabilities = teacher.classify([text for text, _ in texts])
    assert (probabilities.argmax(axis=1) == [label for _, label in texts]).mean() > 0.7
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert built[1].held_out_accuracy > 0.7


def test_its_card_says_what_was_built(built: tuple[Path, TeacherCard]) -> None:
    """The version is made of the weights; the card beside them is the one returned."""
    folder, card = built
    assert sorted(path.name for path in folder.iterdir()) == ["labels.json", "model.onnx", "tokenizer.json"]
    assert json.loads((folder / "labels.json").read_text()) == asdict(card) | {"labels": list(DESKS)}
    assert (len(card.version), card.posts) == (12, 210)


def test_one_string_is_answered_by_one_ranked_list(client: httpx.Client, teacher: Teacher) -> None:
    """The most probable label first; the version travels as a header."""
    answer = client.post("/predict", json={"inputs": "disk driver"})
    scores = [entry["score"] for entry in answer.json()]
    assert answer.headers["x-teacher-version"] == teacher.version
    assert {entry["label"] for entry in answer.json()} == set(DESKS)
    assert scores == sorted(scores, reverse=True)
    assert sorted(scores) == pytest.approx(sorted(teacher.classify(["disk driver"])[0].tolist()))


def test_a_list_is_answered_by_a_list_of_lists(client: httpx.Client) -> None:
    """In the order of the texts, each answered as it would be alone."""
    alone = [client.post("/", json={"inputs": text}).json() for text in ("disk", "goal match player")]
    assert client.post("/", json={"inputs": ["disk", "goal match player"]}).json() == alone
    assert len(client.post("/", json={"inputs": ["disk"]}).json()) == 1


def test_open_inference_answers_a_tensor(client: httpx.Client, teacher: Teacher) -> None:
    """Probabilities [n, classes] in the order of the metadata's labels, and the caller's id."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["disk", "goal"]}
    answer = client.post("/v2/models/helpdesk/infer", json={"id": "7", "inputs": [tensor]}).json()
    output = answer["outputs"][0]
    assert (answer["id"], output["name"], output["datatype"]) == ("7", "probabilities", "FP32")
    assert output["shape"] == [2, 3]
    assert output["data"] == pytest.approx(teacher.classify(["disk", "goal"]).ravel().tolist())
    assert client.get("/v2/models/helpdesk").json()["parameters"]["labels"] == list(DESKS)
    assert client.get("/v2/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/predict", b"", 400),
        ("/predict", b"{", 400),
        ("/predict", b'{"inputs": "\xff"}', 400),
        ("/predict", b"[]", 422),
        ("/predict", b'{"inputs": 3}', 422),
        ("/predict", b'{"inputs": ["a", null]}', 422),
        ("/predict", b'{"inputs": ""}', 422),
        ("/predict", b'{"inputs": []}', 422),
        ("/predict", b'{"inputs": "\\ud800"}', 422),
        ("/predict", json.dumps({"inputs": ["a"] * 65}).encode(), 413),
        ("/predict", b"x" * (MAX_BODY_BYTES + 1), 413),
        ("/elsewhere", b"{}", 404),
        ("/v2/models/helpdesk/infer", b'{"inputs": []}', 400),
        ("/v2/models/helpdesk/infer", b'{"inputs": [{"name": "text", "data": ["a"]}]}', 400),
    ],
)
def test_a_malformed_request_gets_a_sentence(
    client: httpx.Client, path: str, body: bytes, status: int
) -> None:
    """Status 4xx and a JSON error; the server goes on."""
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_other_methods_are_refused(client: httpx.Client) -> None:
    """PUT is not POST."""
    assert client.put("/predict", json={"inputs": "disk"}).status_code == 405
