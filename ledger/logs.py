"""What every process says on standard error: lines for people, or one JSON document a line for machines.

A message names what happened as `action=word`; in JSON that word is a field of its own.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson

LogFormat = Literal["text", "json"]

_TEXT = "%(asctime)s {process} %(levelname)s %(message)s"
_ACTION = re.compile(r"\s*\baction=(\w+)\s*")


class JsonLines(logging.Formatter):
    """at (RFC 3339, UTC), level, process, logger, action, message, and error where there was one."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        action = _ACTION.search(message)
        document = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "action": action.group(1) if action else None,
            "message": _ACTION.sub(" ", message).strip() if action else message,
        }
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return orjson.dumps(document).decode()


def log_to_stderr(process: str, form: LogFormat = "text", level: int = logging.INFO) -> None:
    """Set up this process's log; called again once the configuration has said in which form."""
    lines = JsonLines(process) if form == "json" else logging.Formatter(_TEXT.format(process=process))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler], level=level, force=True)
