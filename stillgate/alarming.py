"""The commands of alarms and of the trigger: what an alarm was, what moved with it, and what the trigger promises."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from sqlalchemy.exc import SQLAlchemyError

from ledger.configuration import Configuration, TaskSection
from ledger.control_file import control_path, open_control_file_read_only, transaction
from ledger.exchange_file import exchange_paths
from ledger.tables import AlarmRow
from monitor.explaining import raised_by, words_of_alarm
from monitor.outlook import Outlook, outlook, planned
from monitor.receipt import Replay, replay_alarm
from stillgate.admin_client import client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, configuration_of, fail, out
from stillgate.show_trigger import show_alarm, show_outlook, show_replay, show_words
from stillgate.watching import Output, OutputOption, print_as

AlarmArgument = Annotated[int, typer.Argument(help="Number of the alarm.")]


def alarm_show(
    alarm: AlarmArgument,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Show an alarm with its receipt, and what the receipt's own counts lead to."""
    document = client_for(config, key).get(f"/alarms/{alarm}")
    print_as(document, output, show_alarm(document, _replay(document["receipt"])))


def alarm_words(
    alarm: AlarmArgument,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
) -> None:
    """Say which words a slice's inputs use more or less often since the change, from the files of the record."""
    configuration = configuration_of(config)
    directory = configuration.deployment.data_directory
    if not control_path(directory).is_file():
        fail(f"there is no control file in {directory}", Exit.FAILED)
    engine = open_control_file_read_only(directory)
    try:
        with transaction(engine) as session:
            row = session.get(AlarmRow, alarm)
        if row is None:
            fail(f"there is no alarm {alarm}", Exit.USAGE)
        words = words_of_alarm(engine, configuration, exchange_paths(directory), raised_by(row))
    except SQLAlchemyError as error:
        fail(f"the control file in {directory} cannot be read: {error}", Exit.FAILED)
    print_as({"alarm": alarm, "words": [asdict(word) for word in words]}, output, show_words(row, words))


def alarm_replay(
    alarm: AlarmArgument,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Compute an alarm again from its receipt. Exit 0 if it is the same to the last bit, 1 if it differs."""
    replay = _replay(client_for(config, key).get(f"/alarms/{alarm}")["receipt"])
    if replay is None:
        other = "is in a format that this release does not read; replay it with the release that wrote it"
        fail(f"the receipt of alarm {alarm} {other}", Exit.FAILED)
    document = {"alarm": alarm, "same": replay.is_same, "found": replay.found, "replayed": replay.replayed}
    print_as(document, output, show_replay(alarm, replay))
    if not replay.is_same:
        raise typer.Exit(Exit.FAILED)


def _replay(receipt: Mapping[str, Any]) -> Replay | None:
    """None for a receipt of another format."""
    try:
        return replay_alarm(receipt)
    except (KeyError, TypeError, ValueError):
        return None


def trigger_explain(
    task: Annotated[str | None, typer.Argument(help="Name of the task; every task if not given.")] = None,
    output: OutputOption = Output.TABLE,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
) -> None:
    """Say what the false-alarm budget means: level, nulls, and how soon a decay of each slice is noticed."""
    configuration = configuration_of(config)
    found = _outlooks(configuration, _chosen(configuration, task))
    if output is Output.JSON:
        typer.echo(json.dumps([one.plain() for one in found], indent=2, ensure_ascii=False))
    else:
        out.print(Group(*(part for one in found for part in show_outlook(one))))


def _chosen(configuration: Configuration, name: str | None) -> list[TaskSection]:
    chosen = [task for task in configuration.task if name in (None, task.name)]
    if not chosen:
        names = ", ".join(task.name for task in configuration.task)
        fail(f"there is no task {name!r}; the configuration has {names}", Exit.USAGE)
    return chosen


def _outlooks(configuration: Configuration, tasks: list[TaskSection]) -> list[Outlook]:
    """From the control file, or of the budget alone before there is one."""
    directory, monitor = configuration.deployment.data_directory, configuration.monitor
    if not control_path(directory).is_file():
        return [planned(task, monitor) for task in tasks]
    try:
        with transaction(open_control_file_read_only(directory)) as session:
            return [outlook(session, task, monitor) for task in tasks]
    except SQLAlchemyError as error:
        fail(f"the control file in {directory} cannot be read: {error}", Exit.FAILED)
