"""A changed configuration while everything runs: `stillgate reload`, and the supervisor's part in it."""

import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.configuration import Configuration, ConfigurationError, load
from ledger.reload import concerned, takes_restart
from stillgate.checks import is_up, supervisor_of
from stillgate.child import Child
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out

OUTCOME_FILE = "run/reload.json"
POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


def reload(
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")] = 15.0,
) -> None:
    """Let a running `stillgate up` take over the changed file; no connection is dropped. Exit 4 if it is refused."""
    directory = configuration_of(config).deployment.data_directory
    supervisor = supervisor_of(directory) if is_up(directory) else None
    if supervisor is None:
        fail(f"no `stillgate up` runs in {directory}", Exit.UNREACHABLE)
    before = _outcome(directory)
    os.kill(supervisor, signal.SIGUSR1)
    deadline = time.monotonic() + timeout
    while (outcome := _outcome(directory)) == before:
        if time.monotonic() >= deadline:
            fail(f"process {supervisor} has not answered within {timeout:g} s", Exit.TIMEOUT)
        time.sleep(POLL_SECONDS)
    assert outcome is not None
    if outcome["problem"]:
        fail(f"refused, the old configuration stays: {outcome['problem']}", Exit.VERDICT)
    out.print(f"reloaded: {', '.join(outcome['processes']) or 'nothing has changed'}", markup=False)


def _outcome(directory: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((directory / OUTCOME_FILE).read_text()))
    except (OSError, ValueError):
        return None


class Reloading:
    """Called by the supervisor between two looks at its children."""

    def __init__(self, path: Path, configuration: Configuration) -> None:
        self._path, self._configuration = path, configuration
        self._outcome_file = configuration.deployment.data_directory / OUTCOME_FILE

    def __call__(self, children: Sequence[Child]) -> None:
        """The gateway reads the file again by itself; what is off the callers' path starts anew."""
        try:
            new = load(self._path)
        except ConfigurationError as error:
            return self._refuse(children, str(error))
        fixed = takes_restart(self._configuration, new)
        if fixed:
            return self._refuse(children, f"{', '.join(fixed)} changed; restart `stillgate up` for that")
        names = concerned(self._configuration, new)
        _signal(children, {"gateway"}, signal.SIGHUP)  # always: it may show an earlier refusal
        _signal(children, names - {"gateway"}, signal.SIGTERM)
        self._configuration = new
        logger.info("%s read the configuration again action=reloaded", ", ".join(sorted(names)))
        return self._tell("", sorted(names))

    def _refuse(self, children: Sequence[Child], problem: str) -> None:
        _signal(children, {"gateway"}, signal.SIGHUP)  # it refuses likewise, and shows that in its metrics
        logger.error("the old configuration stays: %s action=reload_refused", problem)
        self._tell(problem, [])

    def _tell(self, problem: str, processes: Sequence[str]) -> None:
        unfinished = self._outcome_file.with_suffix(".new")
        unfinished.write_text(
            json.dumps({"at": time.time_ns(), "problem": problem, "processes": list(processes)})
        )
        unfinished.rename(self._outcome_file)  # complete or absent


def _signal(children: Sequence[Child], names: set[str], number: int) -> None:
    for child in children:
        if child.program.name in names:
            child.signal(number)
