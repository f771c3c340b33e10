"""How one job looks in a terminal, and how two of them differ: from the folders that their stages left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distill.journal import read_journal
from distill.stages import Finished, finished_stages
from ledger.clock import iso
from ledger.tables import JobRow
from stillgate.show import Document, word


def job_document(job: JobRow, folder: Path) -> dict[str, Any]:
    """Everything that is known of a job: its row, its finished stages, what it said."""
    return {
        "job": job.model_dump(),
        "stages": [_stage_document(stage, folder) for stage in finished_stages(folder)],
        "journal": list(read_journal(folder)),
    }


def _stage_document(stage: Finished, folder: Path) -> dict[str, Any]:
    inside = stage.folder.relative_to(folder).parent
    return {
        "stage": str(stage.stage),
        "candidate": None if str(inside) == "." else str(inside),
        "key": stage.key,
        "inputs": dict(stage.inputs),
        "gave": dict(stage.gave),
        "seconds": stage.seconds,
        "digest": stage.digest,
    }


def show_job(document: Document) -> RenderableType:
    job = document["job"]
    opened = f"opened {iso(job['opened_at_us'])} by {job['opened_by']} ({job['cause']})"
    return Group(
        Text.assemble(
            (f"job {job['id']}", "bold"), f"  task {job['task']}  ", word(job["status"]), f"  {opened}"
        ),
        *(Text(f"  {reason}", style="red" if job["status"] == "failed" else "") for reason in job["reasons"]),
        *([Text(f"  registered {job['artifact']}", style="green")] if job["artifact"] else []),
        _stages(document["stages"]),
    )


def _stages(stages: list[Document]) -> RenderableType:
    if not stages:
        return Text("  no stage is done yet")
    table = Table(box=None, pad_edge=False)
    for column, justify in (("stage", "left"), ("candidate", "left"), ("seconds", "right"), ("gave", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for stage in stages:
        seconds = f"{stage['seconds']:.1f}"
        table.add_row(stage["stage"], stage["candidate"] or "", seconds, "\n".join(_said(stage["gave"])))
    return table


def _said(gave: Mapping[str, Any]) -> Iterator[str]:
    """What a stage gave, a line for each thing; maps of counts on one line."""
    for name, value in gave.items():
        shown = name.replace("_", " ")
        if isinstance(value, Mapping):
            counts = ", ".join(
                f"{str(key).replace('_', ' ')} {_short(count)}" for key, count in value.items()
            )
            yield f"{shown}: {counts or 'nothing'}"
        elif isinstance(value, list):
            yield f"{shown}: {'; '.join(map(_short, value)) or 'nothing'}"
        else:
            yield f"{shown} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 and text.isalnum() else text


def jobs_compared(before: Document, after: Document) -> dict[str, Any]:
    """Every value of inputs and outcomes that differs, by stage, as path -> (before, after)."""
    sides = [{_place(stage): stage for stage in document["stages"]} for document in (before, after)]
    places = list(dict.fromkeys(place for side in sides for place in side))
    return {
        "jobs": [before["job"]["id"], after["job"]["id"]],
        "outcome": [[document["job"]["status"], document["job"]["artifact"]] for document in (before, after)],
        "stages": {place: _differences(sides[0].get(place), sides[1].get(place)) for place in places},
    }


def _place(stage: Document) -> str:
    return f"{stage['candidate']} {stage['stage']}" if stage["candidate"] else str(stage["stage"])


def _differences(before: Document | None, after: Document | None) -> dict[str, list[Any]]:
    flat = [dict(_flat(stage, ("inputs", "gave"))) if stage else {} for stage in (before, after)]
    names = sorted(flat[0].keys() | flat[1].keys())
    return {
        name: [flat[0].get(name), flat[1].get(name)]
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    }


def _flat(stage: Document, parts: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for part in parts:
        yield from _leaves(part, stage[part])


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner)
    else:
        yield path, value


def show_comparison(compared: Document) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "what", f"job {compared['jobs'][0]}", f"job {compared['jobs'][1]}"):
        table.add_column(column, overflow="fold")
    for place, differences in compared["stages"].items():
        for number, (name, (before, after)) in enumerate(differences.items()):
            table.add_row(place if number == 0 else "", name, _short(before), _short(after))
    same = [place for place, differences in compared["stages"].items() if not differences]
    outcomes = " and ".join(f"{status} {artifact or ''}".strip() for status, artifact in compared["outcome"])
    return Group(Text(f"outcomes: {outcomes}"), table, Text(f"the same: {', '.join(same) or 'nothing'}"))
