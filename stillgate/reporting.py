"""`stillgate report`: a page and a JSON document about one task, from the files of a deployment, running or not."""

import os
import sqlite3
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlalchemy.exc import SQLAlchemyError

from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import control_path
from ledger.schema import SchemaTooNew
from monitor.drawing.words import sentence
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out, talk
from stillgate.report.building import UnknownStudent, build_report
from stillgate.report.document import Report
from stillgate.report.page import page_of
from stillgate.report.period import Period, period_of
from stillgate.report.snapshot import control_snapshot

PAGE = Path("report.html")
STDOUT = Path("-")


def report(
    task: Annotated[
        str | None, typer.Argument(help="Name of the task; not needed where there is one.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="How far back: 90m, 12h, 7d, 4w.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="ISO 8601 with its offset.")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="ISO 8601 with its offset; now if not given.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Which one; the one that serves or answers if not given.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--out", help="Where the page goes; report.html if not given.")
    ] = None,
    document: Annotated[
        Path | None, typer.Option("--json", help="Where the same goes as JSON; - prints it.")
    ] = None,
    texts: Annotated[
        bool, typer.Option("--texts/--no-texts", help="Show texts, where the task stores them.")
    ] = True,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
) -> None:
    """Write what is known of a student over a stretch of time, for people (HTML) and programs (JSON)."""
    configuration = configuration_of(config)
    section = _task(configuration, task)
    made_at_us = now_us()
    try:
        period = period_of(since, start, end, configuration.monitor.window_seconds, made_at_us)
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    made = _built(configuration, section, student, period, texts, made_at_us)
    if document is not None:
        _write(document, orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    if page is not None or document is None:
        _write(page or PAGE, page_of(made).encode("utf-8", "backslashreplace"))
    talk.print(f"{made.state.health}: {sentence(made.state.why)} {sentence(made.state.basis)}", markup=False)


def _task(configuration: Configuration, name: str | None) -> TaskSection:
    names = [task.name for task in configuration.task]
    if name is None and len(names) == 1:
        return configuration.task[0]
    found = None if name is None else configuration.task_named(name)
    if found is None:
        asked = "say which task" if name is None else f"there is no task {name!r}"
        fail(f"{asked}; the configuration has {', '.join(names)}", Exit.USAGE)
    return found


def _built(
    configuration: Configuration,
    task: TaskSection,
    student: str | None,
    period: Period,
    with_texts: bool,
    made_at_us: int,
) -> Report:
    directory = configuration.deployment.data_directory
    if not control_path(directory).is_file():
        fail(f"{directory} has no control file; `stillgate up` makes one", Exit.FAILED)
    try:
        with control_snapshot(directory) as session:
            return build_report(session, configuration, task, student, period, with_texts, made_at_us)
    except UnknownStudent as error:
        fail(str(error), Exit.USAGE)
    except (SQLAlchemyError, sqlite3.Error, SchemaTooNew, OSError, ValueError) as error:
        fail(f"what lies in {directory} cannot be read: {error}", Exit.FAILED)


def _write(path: Path, content: bytes) -> None:
    """Whole or as before. The path is what a script reads on standard output."""
    if path == STDOUT:
        typer.echo(content)
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        fail(f"{path} cannot be written: {error.strerror}; choose another place", Exit.FAILED)
    out.print(str(path), markup=False)
