"""`stillgate preview`: what a student would have served, before it serves."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from ledger.clock import now_us
from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, configuration_of, fail
from stillgate.report.period import period_of
from stillgate.show_preview import show_preview
from stillgate.watching import Output, OutputOption, print_as


def preview(
    task: Annotated[
        str | None, typer.Argument(help="Name of the task; not needed where there is one.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Which one; the newest that answers if not given.")
    ] = None,
    slice_name: Annotated[str, typer.Option("--slice", help="Whose thresholds are listed.")] = "all",
    since: Annotated[str, typer.Option(help="How far back: 90m, 12h, 7d, 4w.")] = "3d",
    share: Annotated[
        list[float] | None, typer.Option(help="A share of the traffic, such as 0.2; may be repeated.")
    ] = None,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """What a student would have served of the last days' traffic, at each threshold and share of it."""
    width = configuration_of(config).monitor.window_seconds
    try:
        since_us = period_of(since, None, None, width, now_us()).since_us
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    client = client_for(config, key)
    asked = [
        ("slice", slice_name),
        ("since_us", str(since_us)),
        *(("share", str(one)) for one in share or ()),
    ]
    if student is not None:
        asked.append(("artifact", student))
    name = quote(_task(client, task), safe="")
    document = client.get(f"/tasks/{name}/preview?{urlencode(asked)}")
    print_as(document, output, show_preview(document, since))


def _task(client: AdminClient, name: str | None) -> str:
    names = [task["task"] for task in client.get("/status")["tasks"]] if name is None else [name]
    if len(names) != 1:
        fail(f"say which task; the configuration has {', '.join(names)}", Exit.USAGE)
    return str(names[0])
