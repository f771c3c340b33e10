"""Who may do what: a key makes a person with one role, and a route without an entry here is closed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control.errors import Code, Refused, refusal_response, store_refusal
from ledger.control_file import transaction
from ledger.keys import Role, person_of

logger = logging.getLogger(__name__)

EVERYBODY = frozenset(Role)
OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
VALIDATORS = frozenset({Role.VALIDATOR})  # an administrator could make a key, so approves nothing
GOING_DOWN = frozenset({Role.OPERATOR, Role.VALIDATOR, Role.ADMIN})  # one person is enough
ADMINISTRATORS = frozenset({Role.ADMIN})

PUBLIC = frozenset({("GET", "/"), ("GET", "/livez")})  # the page is an empty shell without a key

ROLES: Mapping[tuple[str, str], frozenset[Role]] = {
    ("GET", "/api/v1/status"): EVERYBODY,
    ("GET", "/api/v1/tasks/{task}/slices"): EVERYBODY,
    ("GET", "/api/v1/tasks/{task}/statistics"): EVERYBODY,
    ("GET", "/api/v1/tasks/{task}/preview"): EVERYBODY,
    ("GET", "/api/v1/tasks/{task}/comparison"): EVERYBODY,
    ("GET", "/api/v1/tasks/{task}/students/{artifact}"): EVERYBODY,
    ("GET", "/api/v1/alarms/{alarm_id}"): EVERYBODY,
    ("GET", "/api/v1/jobs/{job_id}"): EVERYBODY,
    ("POST", "/api/v1/tasks/{task}/jobs"): OPERATORS,
    ("POST", "/api/v1/tasks/{task}/promotions"): OPERATORS,
    ("POST", "/api/v1/promotions/{proposal_id}/approve"): VALIDATORS,
    ("POST", "/api/v1/promotions/{proposal_id}/reject"): GOING_DOWN,
    ("POST", "/api/v1/tasks/{task}/abort"): GOING_DOWN,
    ("POST", "/api/v1/tasks/{task}/undo"): GOING_DOWN,
    ("POST", "/api/v1/tasks/{task}/erasures"): OPERATORS,
    ("GET", "/api/v1/erasures/{erasure_id}"): EVERYBODY,
    ("POST", "/api/v1/labels"): OPERATORS,
    ("POST", "/api/v1/keys"): ADMINISTRATORS,
    ("DELETE", "/api/v1/keys/{person}"): ADMINISTRATORS,
}

NO_KEY = Refused(
    Code.NO_KEY,
    "this needs a key that is known and not revoked, sent as `Authorization: Bearer stg_...`;"
    " an administrator makes one with `stillgate key create`",
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str
    role: Role


class Guard:
    """Stands in front of the application: nobody without a key gets as far as its body being read."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], engine: Engine) -> None:
        self.app, self.routes, self.engine = app, routes, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_public(self.routes, scope):
            admitted = await run_in_threadpool(self.admit, scope)
            if isinstance(admitted, Refused):
                await refusal_response(admitted)(scope, receive, send)
                return
            scope["stillgate.person"] = admitted
        await self.app(scope, receive, send)

    def admit(self, scope: Scope) -> Person | Refused:
        try:
            person = identify(self.engine, key_of(scope))
        except SQLAlchemyError as error:
            logger.warning("A key could not be looked up: %s action=key_unknown", error)
            return store_refusal(error)
        if person is None:
            return NO_KEY
        return role_refusal(person, route_of(self.routes, scope)) or person


def is_public(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    return route_of(routes, scope) in PUBLIC


def route_of(routes: Sequence[BaseRoute], scope: Scope) -> tuple[str, str] | None:
    """Method and path template of the route that will answer; None when none will."""
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return scope["method"], getattr(route, "path", "")
    return None


def key_of(scope: Scope) -> str:
    """The bearer key of the request, or an empty text."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            return key.strip() if scheme.lower() == "bearer" else ""
    return ""


def identify(engine: Engine, key: str) -> Person | None:
    """The person behind a key that is known and not revoked."""
    if not key:
        return None
    with transaction(engine) as session:
        row = person_of(session, key)
        return Person(row.person, Role(row.role)) if row else None


def role_refusal(person: Person, route: tuple[str, str] | None) -> Refused | None:
    """None when the person may go on: to a route of the table, or to the answer that there is none."""
    if route is None:
        return None
    allowed = ROLES.get(route, frozenset())
    if person.role in allowed:
        return None
    roles = ", ".join(sorted(allowed)) or "nobody"
    return Refused(
        Code.ROLE,
        f"{route[0]} {route[1]} is for {roles}; the key of {person.name} has the role {person.role}",
    )
