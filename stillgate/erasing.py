"""`stillgate erase`: takes what a person sent out of the record and out of what was made of it."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, fail, out, talk
from stillgate.show import erased_rows

POLL_SECONDS = 0.5


def erase(
    task: Annotated[str, typer.Option("--task", help="Name of the task.")],
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Value of the task's capture.subject_header; - reads standard input."),
    ] = None,
    exchange: Annotated[
        list[str] | None, typer.Option("--exchange", help="Id of one exchange; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")] = 60.0,
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Erase a subject's exchanges. Exit 0 if some were, 1 if there are none, 3 at the timeout: it goes on then."""
    if (subject is None) == (not exchange):
        fail("say what to erase: exactly one of --subject VALUE and --exchange ID", Exit.USAGE)
    asked = {"exchange_ids": exchange} if subject is None else {"subject": _value(subject)}
    client, path = client_for(config, key), f"/tasks/{quote(task, safe='')}/erasures"
    if dry_run or not yes:
        counted = client.post(path, asked | {"dry_run": True})
        found = f"{_exchanges(counted['exchanges'])} of task {task}"
        if dry_run:
            out.print(f"{found} would be erased", markup=False)
            raise typer.Exit(Exit.OK if counted["exchanges"] else Exit.FAILED)
        talk.print(f"{found} will be erased, now and for good.", markup=False)
        typer.confirm("Go on?", abort=True, err=True)
    _tell(_follow(client, client.post(path, asked), time.monotonic() + timeout))


def _value(given: str) -> str:
    value = sys.stdin.readline() if given == "-" else given
    try:
        value.encode()
    except UnicodeEncodeError:
        fail("the value of --subject is no UTF-8 text; give it as text, whatever callers send", Exit.USAGE)
    return value


def _follow(client: AdminClient, erasure: dict[str, Any], deadline: float) -> dict[str, Any]:
    while erasure["done_at_us"] is None:
        if time.monotonic() >= deadline:
            waits = ", ".join(erasure["waits_for"])
            fail(
                f"erasure {erasure['id']} is not done yet (step {erasure['step']}"
                + (f", waits for gateway {waits}" if waits else "")
                + "); it goes on without us",
                Exit.TIMEOUT,
            )
        time.sleep(POLL_SECONDS)
        erasure = client.get(f"/erasures/{erasure['id']}")
    return erasure


def _tell(erasure: dict[str, Any]) -> None:
    """What was done on standard output; what is left to the operator on standard error."""
    if not erasure["exchanges"]:
        fail(f"erasure {erasure['id']}: the record holds nothing of it", Exit.FAILED)
    out.print(f"erasure {erasure['id']}: {_exchanges(erasure['exchanges'])} erased", markup=False)
    for job in erasure["jobs"]:
        made = f"job {job['job_id']}" + (f", student {job['artifact']}" if job["artifact"] else "")
        out.print(f"{made}: {erased_rows(job | {'at_us': erasure['opened_at_us']})}", markup=False)
    for path in erasure["not_reached"]:
        talk.print(f"{path} is a broken file that was set aside; delete it: it may hold them.", markup=False)
    talk.print(
        "Backups made before now still hold them; how long backups are kept is your rule.", markup=False
    )
    if erasure["jobs"]:
        talk.print("What students learned from them stays; train successors to be rid of it.", markup=False)


def _exchanges(count: int) -> str:
    return f"{count} exchange{'s' * (count != 1)}"
