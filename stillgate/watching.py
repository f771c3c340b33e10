"""`stillgate status`: what serves now, is the student safe, who must act."""

import json
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live

from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, out
from stillgate.show import show_status

WATCH_SECONDS = 2.0


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for scripts.")]


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """What serves now, is the student safe, who must act. Exit 0 if healthy, 1 if degraded or paused."""
    client = client_for(config, key)
    document = client.get("/status")
    if watch and output is Output.TABLE:
        document = _watch(client, document)
    else:
        print_as(document, output, show_status(document))
    if document["health"] != "healthy":
        raise typer.Exit(Exit.FAILED)


def _watch(client: AdminClient, document: dict[str, Any]) -> dict[str, Any]:
    """Redraw until interrupted; the last document decides the exit code."""
    try:
        with Live(show_status(document), console=out, auto_refresh=False, screen=out.is_terminal) as live:
            while True:
                time.sleep(WATCH_SECONDS)
                document = client.get("/status")
                live.update(show_status(document), refresh=True)
    except KeyboardInterrupt:
        return document


def print_as(document: Mapping[str, Any], output: Output, table: RenderableType) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        out.print(table)
