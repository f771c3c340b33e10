"""Options that many commands share, and the configuration behind --config."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from ledger.configuration import Configuration, ConfigurationError, load
from stillgate.exits import Exit

PIPE_WIDTH = 200  # a pipe has none; tables get room, so that nothing is cut for a program that reads them

# data: what a script would read
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
talk = Console(stderr=True, soft_wrap=True, highlight=False)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
KeyOption = Annotated[str, typer.Option("--key", envvar="STILLGATE_KEY", help="Key of the admin API.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept with the change.")]
DEFAULT_CONFIG = Path("stillgate.toml")


def configuration_of(path: Path) -> Configuration:
    """Load it, or end the command with every problem and exit code 2."""
    try:
        return load(path)
    except ConfigurationError as error:
        fail(str(error), Exit.USAGE)


def fail(message: str, code: Exit) -> NoReturn:
    talk.print(message, style="red", markup=False)
    raise typer.Exit(code)
