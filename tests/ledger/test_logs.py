"""The log's two forms, as a process writes them."""

import json
import subprocess
import sys

import pytest

CODE = """
import logging
from ledger.logs import log_to_stderr
log_to_stderr("gateway")
log_to_stderr("gateway", {form!r})
log = logging.getLogger("somewhere")
log.warning("The teacher at %s is back. action=teacher_back", "http://t")
log.info("action=started Listening.")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("no action here")
"""


def lines_of(form: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(form=form)], capture_output=True, text=True, check=True
    )
    return ran.stderr.splitlines()


def test_json_lines_name_the_action() -> None:
    """One document a line, wherever in the message the action stood; a traceback stays within its line."""
    first, second, third = (json.loads(line) for line in lines_of("json"))
    assert (first["level"], first["process"], first["logger"]) == ("warning", "gateway", "somewhere")
    assert (first["action"], first["message"]) == ("teacher_back", "The teacher at http://t is back.")
    assert (second["action"], second["message"]) == ("started", "Listening.")
    assert third["action"] is None
    assert third["error"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("form", ["text", "json"])
def test_setting_up_twice_says_nothing_twice(form: str) -> None:
    """The second call replaces the first."""
    assert sum("Listening" in line for line in lines_of(form)) == 1
