"""Who may do what, over the real server."""

from http.client import HTTPConnection

import pytest

from gateway.control.access import PUBLIC, ROLES
from gateway.control.app import create_app
from ledger.keys import Role
from tests.gateway.control.desk import PEOPLE, Desk, serving

PERSON_OF = {role: person for person, role in PEOPLE.items()}


def _path(template: str) -> str:
    """A request that every check after the role's would refuse without changing anything."""
    for part in ("{task}", "{artifact}", "{person}"):
        template = template.replace(part, "nobody")
    for part in ("{alarm_id}", "{job_id}", "{proposal_id}", "{erasure_id}"):
        template = template.replace(part, "1")
    return template


def test_every_route_has_an_entry_and_every_entry_a_route(desk: Desk) -> None:
    """The table of roles and the OpenAPI document name the same routes."""
    paths = create_app(desk.configuration, desk.engine).openapi()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == set(ROLES) | set(PUBLIC)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_do_what_the_table_says_and_nothing_else(desk: Desk, role: Role) -> None:
    """403 with the code `role` exactly where the table has no entry for the role."""
    refused = set()
    for method, template in ROLES:
        response = desk.ask(PERSON_OF[role], method, _path(template), {} if method == "POST" else None)
        if response.status_code == 403 and response.json()["code"] == "role":
            refused.add((method, template))
    assert refused == {route for route, roles in ROLES.items() if role not in roles}


def test_nothing_is_answered_without_a_key(desk: Desk) -> None:
    """401, before anything is looked up."""
    responses = [desk.ask("", method, _path(template)) for method, template in ROLES]
    assert {(r.status_code, r.json()["code"]) for r in responses} == {(401, "no_key")}


def test_only_validators_approve_and_administrators_do_not() -> None:
    """An administrator could make a key for anybody, so must not be able to approve."""
    assert ROLES["POST", "/api/v1/promotions/{proposal_id}/approve"] == {Role.VALIDATOR}


def test_a_route_without_an_entry_is_closed_to_everybody(desk: Desk) -> None:
    """Deny by default: a forgotten entry locks a route, it does not open it."""
    app = create_app(desk.configuration, desk.engine)
    app.add_api_route("/api/v1/forgotten", lambda: {"secret": 1}, methods=["GET"])
    with serving(desk.configuration, desk.engine, app=app) as url:
        forgotten = Desk(desk.path, desk.configuration, desk.engine, desk.keys, url)
        for person in PEOPLE:
            assert forgotten.ask(person, "GET", "/api/v1/forgotten").json()["code"] == "role"


def test_the_key_is_looked_at_before_the_body(desk: Desk) -> None:
    """A stranger learns nothing about bodies, and sends none: the answer comes before any of it."""
    host, port = desk.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.putrequest("POST", "/api/v1/labels")
    connection.putheader("content-length", "1000000")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize("key", ["stg_admin_x", "", "stg_viewer_" + "0" * 36, "Ünicode"])
def test_a_key_that_is_none_is_refused(desk: Desk, key: str) -> None:
    """Whatever is sent as a key, an unknown one is 401."""
    host, port = desk.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {key}".encode()})
    assert connection.getresponse().status == 401
    connection.close()


def test_a_revoked_key_ends_at_once(desk: Desk) -> None:
    """The next request with it is refused."""
    assert desk.ask("olga", "GET", "/api/v1/status").status_code == 200
    assert desk.ask("ada", "DELETE", "/api/v1/keys/olga").json() == {"person": "olga", "revoked": 1}
    assert desk.ask("olga", "GET", "/api/v1/status").status_code == 401


def test_a_new_key_works_with_its_role(desk: Desk) -> None:
    """The key is in the answer, and is good for what its role may do."""
    made = desk.ask("ada", "POST", "/api/v1/keys", {"person": "nora", "role": "viewer"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    nora = Desk(desk.path, desk.configuration, desk.engine, {"nora": made.json()["key"]}, desk.url)
    assert nora.ask("nora", "GET", "/api/v1/status").json()["person"] == {"name": "nora", "role": "viewer"}
    assert nora.ask("nora", "POST", "/api/v1/keys", {"person": "x", "role": "admin"}).status_code == 403


def test_the_last_admin_key_cannot_be_revoked(desk: Desk) -> None:
    """Without one, nobody could ever make a key again."""
    refused = desk.ask("ada", "DELETE", "/api/v1/keys/ada")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert desk.ask("ada", "DELETE", "/api/v1/keys/nobody").status_code == 404


@pytest.mark.parametrize("body", [{"person": "", "role": "viewer"}, {"person": "x", "role": "king"}])
def test_a_key_needs_a_person_and_a_known_role(desk: Desk, body: dict[str, str]) -> None:
    """Both are checked before a key is made."""
    assert desk.ask("ada", "POST", "/api/v1/keys", body).json()["code"] == "invalid"
