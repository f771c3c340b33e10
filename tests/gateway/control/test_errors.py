"""Whatever goes wrong, the caller gets a sentence and a word, and never a traceback."""

from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from gateway.control.bodies import MAX_BODY_BYTES
from ledger.configuration import load
from ledger.control_file import open_control_file, transaction
from ledger.stages import Stage
from ledger.tables import SumsRow
from tests.gateway.control.desk import TASK, Desk, add_student, people_with_keys, serving, write_configuration


def _impatient(engine: Engine) -> None:
    """So that a test of a locked file does not take as long as a writer would wait."""

    @event.listens_for(engine, "connect")
    def _set(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    engine.dispose()


def test_a_locked_control_file_is_busy_and_can_be_retried(desk: Desk, student: str) -> None:
    """503 with Retry-After while another writer holds it; the same request works afterwards."""
    other = open_control_file(desk.data_directory)
    _impatient(desk.engine)
    with transaction(other) as session:
        session.execute(text("SELECT 1"))
        busy = desk.propose(expected_revision=1)
    assert (busy.status_code, busy.json()["code"]) == (503, "busy")
    assert int(busy.headers["retry-after"]) >= 1
    assert desk.propose(expected_revision=1).status_code == 201
    other.dispose()


def test_reading_goes_on_while_a_writer_holds_the_file(desk: Desk) -> None:
    """The status page does not wait for anybody's write transaction."""
    with transaction(desk.engine) as session:
        session.execute(text("SELECT 1"))
        assert desk.ask("vera", "GET", "/api/v1/status").status_code == 200


def test_a_control_file_that_lost_a_table_is_a_store_error(desk: Desk) -> None:
    """Damage is told as such, without SQL in the answer."""
    with desk.engine.begin() as connection:
        connection.execute(text("DROP TABLE label"))
        connection.execute(text("DROP TABLE job"))
    broken = desk.ask("olga", "POST", f"/api/v1/tasks/{TASK}/jobs", {"reason": "x"})
    assert (broken.status_code, broken.json()["code"]) == (503, "store")
    assert "SELECT" not in broken.text


def test_a_defect_shows_no_traceback(desk: Desk, student: str) -> None:
    """Sums of a format that nobody knows: a sentence for the caller, the rest for the log."""
    with transaction(desk.engine) as session:
        session.merge(
            SumsRow(task=TASK, artifact=student, slice="all", window_start_us=-1, sums={"format": 999})
        )
    broken = desk.ask("vera", "GET", "/api/v1/status")
    assert (broken.status_code, broken.json()["code"]) == (500, "failed")
    assert "Traceback" not in broken.text
    assert "999" not in broken.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "unknown"),
        ("GET", "/nothing", 404, "unknown"),
        ("PUT", "/api/v1/labels", 405, "method"),
        ("POST", "/api/v1/status", 405, "method"),
        ("GET", "/api/v1/status/", 404, "unknown"),
        ("GET", f"/api/v1/tasks/{TASK}/students/s-nix", 404, "unknown"),
        ("GET", "/api/v1/tasks/nix/slices", 404, "unknown"),
    ],
)
def test_what_is_not_there_is_said_in_the_same_form(
    desk: Desk, method: str, path: str, status: int, code: str
) -> None:
    """error and code, as everywhere."""
    response = desk.ask("vera", method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[1]", b"null", b""])
def test_a_body_that_is_no_document_is_invalid(desk: Desk, body: bytes) -> None:
    """422, however broken it is."""
    host, port = desk.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    headers = {"Authorization": f"Bearer {desk.keys['olga']}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/labels", body, headers)
    response = connection.getresponse()
    assert (response.status, b'"invalid"' in response.read()) == (422, True)
    connection.close()


def test_a_body_above_the_limit_is_cut_off_although_no_length_was_declared(desk: Desk) -> None:
    """Counted as it arrives, in chunks."""
    host, port = desk.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    chunks = iter([b" " * 65_536] * (MAX_BODY_BYTES // 65_536 + 1))
    connection.request(
        "POST",
        "/api/v1/labels",
        chunks,
        {"Authorization": f"Bearer {desk.keys['olga']}"},
        encode_chunked=True,
    )
    response = connection.getresponse()
    assert (response.status, b"too_large" in response.read()) == (413, True)
    connection.close()


def test_a_task_without_licence_opens_no_job(tmp_path: Path) -> None:
    """Nobody has said that the teacher's terms permit it."""
    path = write_configuration(tmp_path)
    content = path.read_text()
    licence = content[content.index("[task.licence]") : content.index("[task.governance]")]
    path.write_text(content.replace(licence, ""))
    configuration = load(path)
    engine = open_control_file(configuration.deployment.data_directory)
    keys = people_with_keys(engine)
    add_student(engine, configuration.deployment.data_directory, stage=Stage.SHADOW)
    with serving(configuration, engine) as url:
        desk = Desk(path, configuration, engine, keys, url)
        refused = desk.ask("olga", "POST", f"/api/v1/tasks/{TASK}/jobs", {"reason": "x"})
        assert (refused.status_code, "licence" in refused.json()["error"]) == (409, True)
        acts = desk.ask("vera", "GET", "/api/v1/status").json()["acts"]
        assert acts[0]["who"] == "the owner"
    engine.dispose()
