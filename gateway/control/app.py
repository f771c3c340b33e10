"""The admin API and the status page as one FastAPI application, wired here and nowhere else."""

import logging
import sqlite3

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from gateway.control import measured, preview, routes
from gateway.control.access import Guard
from gateway.control.accounts import AccountsReader
from gateway.control.bodies import BodyLimit
from gateway.control.context import Control
from gateway.control.errors import Code, Refused, refusal_response, store_refusal
from ledger.configuration import Configuration
from ledger.control_file import open_control_file_read_only

logger = logging.getLogger(__name__)

API = "/api/v1"
ROUTES = (
    ("GET", "/", routes.show_page),
    ("GET", "/livez", routes.show_life),
    ("GET", f"{API}/status", routes.show_status),
    ("GET", f"{API}/tasks/{{task}}/slices", measured.show_slices),
    ("GET", f"{API}/tasks/{{task}}/statistics", measured.show_statistics),
    ("GET", f"{API}/tasks/{{task}}/preview", preview.show_preview),
    ("GET", f"{API}/tasks/{{task}}/comparison", routes.show_comparison),
    ("GET", f"{API}/tasks/{{task}}/students/{{artifact}}", routes.show_student),
    ("GET", f"{API}/alarms/{{alarm_id}}", routes.show_alarm),
    ("GET", f"{API}/jobs/{{job_id}}", routes.show_job),
    ("POST", f"{API}/tasks/{{task}}/jobs", routes.open_distillation_job),
    ("POST", f"{API}/tasks/{{task}}/promotions", routes.propose_promotion),
    ("POST", f"{API}/promotions/{{proposal_id}}/approve", routes.approve_promotion),
    ("POST", f"{API}/promotions/{{proposal_id}}/reject", routes.reject_promotion),
    ("POST", f"{API}/tasks/{{task}}/abort", routes.abort_rollout),
    ("POST", f"{API}/tasks/{{task}}/undo", routes.undo_stage_change),
    ("POST", f"{API}/tasks/{{task}}/erasures", routes.ask_to_erase),
    ("GET", f"{API}/erasures/{{erasure_id}}", routes.show_erasure),
    ("POST", f"{API}/labels", routes.take_labels),
    ("POST", f"{API}/keys", routes.make_key),
    ("DELETE", f"{API}/keys/{{person}}", routes.end_keys),
)


def create_app(configuration: Configuration, engine: Engine) -> FastAPI:
    """The application over an open control file. Closing the engine is the caller's."""
    app = FastAPI(title="Stillgate", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for method, path, endpoint in ROUTES:
        app.add_api_route(path, endpoint, methods=[method])
    directory = configuration.deployment.data_directory
    reading = open_control_file_read_only(directory)
    app.state.control = Control(configuration, engine, reading, AccountsReader(directory))
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, routes=app.router.routes, engine=reading)  # outermost: before any body
    for kind in (SQLAlchemyError, sqlite3.Error):  # the control file, the exchange files
        app.add_exception_handler(kind, _store_failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_refusal)
    app.add_exception_handler(Exception, _failed)
    return app


async def _store_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError | sqlite3.Error)
    logger.warning(
        "%s %s met a database that failed: %s action=store", request.method, request.url.path, error
    )
    return refusal_response(store_refusal(error))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = tuple(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
    return refusal_response(Refused(Code.INVALID, f"the request is not valid: {problems[0]}", problems))


async def _http_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: Code.UNKNOWN, 405: Code.METHOD, 413: Code.TOO_LARGE}
    sentence = f"{request.method} {request.url.path}: {error.detail}"
    return refusal_response(Refused(codes.get(error.status_code, Code.INVALID), sentence))


async def _failed(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed: %r action=defect", request.method, request.url.path, error)
    return refusal_response(Refused(Code.FAILED, "this is a defect; the log of the control process has it"))
