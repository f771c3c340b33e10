"""Commands that change something: promotions, aborts, keys."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ledger.keys import Role
from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, KeyOption, ReasonOption, fail, out, talk

TaskArgument = Annotated[str, typer.Argument(help="Name of the task.")]
ConfigPath = Annotated[Path, ConfigOption]


class Target(StrEnum):
    """Stages that a promotion may ask for."""

    CANARY = "canary"
    FULL = "full"


def promote(
    task: TaskArgument,
    to: Annotated[Target, typer.Option("--to", help="The next stage.")],
    reason: ReasonOption,
    share: Annotated[
        float | None, typer.Option(help="Share of requests in canary; 0.1 if not given.")
    ] = None,
    artifact: Annotated[
        str | None, typer.Option(help="Which student; the next in line if not given.")
    ] = None,
    expected_revision: Annotated[
        int | None, typer.Option(help="Stage revision that was looked at; the present one if not given.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Propose to move a student up; another person has to approve it."""
    client = client_for(config, key)
    revision = _revision(client, task) if expected_revision is None else expected_revision
    body: dict[str, Any] = {"stage": str(to), "expected_revision": revision, "reason": reason}
    body |= {name: value for name, value in (("share", share), ("artifact", artifact)) if value is not None}
    proposal = client.post(f"/tasks/{quote(task, safe='')}/promotions", body)
    out.print(f"proposal {proposal['id']}")
    talk.print(
        f"{proposal['artifact']} to {proposal['stage']} with share {proposal['share']:g} waits for another"
        f' person: stillgate approve {proposal["id"]} --reason "..."',
        markup=False,
    )


def approve(
    reason: ReasonOption,
    proposal: Annotated[
        int | None, typer.Argument(help="Its number; the only open one if not given.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Approve another person's proposal: the stage changes at once."""
    _decide(client_for(config, key), proposal, "approve", reason)


def reject(
    reason: ReasonOption,
    proposal: Annotated[
        int | None, typer.Argument(help="Its number; the only open one if not given.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Close a proposal without a change."""
    _decide(client_for(config, key), proposal, "reject", reason)


def _decide(client: AdminClient, proposal: int | None, verb: str, reason: str) -> None:
    number = _only_proposal(client) if proposal is None else proposal
    decided = client.post(f"/promotions/{number}/{verb}", {"reason": reason})
    share = f" with share {decided['share']:g}" if decided["decision"] == "approved" else ""
    out.print(f"{decided['artifact']} to {decided['stage']}{share}: {decided['decision']}", markup=False)


def _only_proposal(client: AdminClient) -> int:
    waiting = [task["proposal"]["id"] for task in client.get("/status")["tasks"] if task["proposal"]]
    if not waiting:
        fail("no proposal waits for a decision", Exit.CONFLICT)
    if len(waiting) > 1:
        fail(f"proposals {', '.join(map(str, waiting))} wait; say which one", Exit.USAGE)
    return int(waiting[0])


def abort(
    task: TaskArgument, reason: ReasonOption, config: ConfigPath = DEFAULT_CONFIG, key: KeyOption = ""
) -> None:
    """Take the student out at once: the teacher serves everything. One person is enough."""
    _descend(client_for(config, key), task, "abort", reason)


def undo(
    task: TaskArgument, reason: ReasonOption, config: ConfigPath = DEFAULT_CONFIG, key: KeyOption = ""
) -> None:
    """Go back to the stage before the last change, downwards only. One person is enough."""
    _descend(client_for(config, key), task, "undo", reason)


def _descend(client: AdminClient, task: str, verb: str, reason: str) -> None:
    change = client.post(f"/tasks/{quote(task, safe='')}/{verb}", {"reason": reason})
    out.print(f"{change['artifact']} {change['stage']} share {change['share']:g}", markup=False)


def _revision(client: AdminClient, task: str) -> int:
    tasks = {entry["task"]: entry for entry in client.get("/status")["tasks"]}
    if task not in tasks:
        fail(f"there is no task {task!r}; the configuration has {', '.join(tasks)}", Exit.USAGE)
    return int(tasks[task]["revision"])


def key_create(
    person: Annotated[str, typer.Argument(help="Whose key; the name that changes are recorded under.")],
    role: Annotated[Role, typer.Option("--role", help="What the key may do.")],
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Make a key and print it: the only time that it is seen."""
    answer = client_for(config, key).post("/keys", {"person": person, "role": str(role)})
    typer.echo(answer["key"])
    talk.print(f"This is the only time that {person}'s key is shown.", markup=False)


def key_revoke(
    person: Annotated[str, typer.Argument(help="Whose keys.")],
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Revoke every key of a person."""
    answer = client_for(config, key).delete(f"/keys/{quote(person, safe='')}")
    out.print(f"revoked {answer['revoked']}")
