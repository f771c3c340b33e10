"""Runs the command in this process, with its two streams apart."""

from click.testing import Result
from typer.testing import CliRunner

from stillgate.cli import app
from tests.gateway.control.desk import Desk


def run(*arguments: str, given: str = "", key: str = "") -> Result:
    """`given` is what standard input holds."""
    return CliRunner().invoke(app, list(arguments), input=given, env={"STILLGATE_KEY": key, "COLUMNS": "300"})


def run_as(desk: Desk, person: str, *arguments: str, given: str = "") -> Result:
    """As one of the desk's people, against its admin API."""
    return run(*arguments, "--config", str(desk.path), given=given, key=desk.keys[person])
