"""`stillgate check`: what the types of the configuration cannot see: disk, ports, teacher, encoders, terms."""

import fcntl
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gateway.control.delivery import SecretUnusable, secret_of
from gateway.dialects import dialect_of
from gateway.dialects.dialect import Asked
from gateway.upstream import UpstreamUnusable
from gateway.upstream.settings import settings_of
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection, WebhookSection
from ledger.probe_set import ProbesUnusable, declared_probes
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, out
from stillgate.supervisor import taken
from student.providers import ProviderMissing, providers_of

TEACHER_SECONDS = 2.0
PLACEHOLDER = "change me"  # of the template


_PATHS = {
    "open-inference": (
        re.compile(r"^/v2/models/[^/]+(/versions/[^/]+)?/infer$"),
        "/v2/models/NAME/infer and /v2/models/NAME/versions/VERSION/infer",
    ),
    "openai-chat": (re.compile(r"/chat/completions$"), ".../chat/completions"),
}


class Weight(StrEnum):
    """Whether it stops `stillgate up`."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or will be."""

    weight: Weight
    sentence: str


def check(config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG) -> None:
    """Say precisely what is wrong with the configuration; exit 0 if it can be run, 2 if not."""
    configuration = configuration_of(config)
    findings = list(findings_of(configuration))
    for finding in findings:
        style = "red" if finding.weight is Weight.ERROR else "yellow"
        out.print(f"{finding.weight}: {finding.sentence}", style=style, markup=False)
    if any(finding.weight is Weight.ERROR for finding in findings):
        raise typer.Exit(Exit.USAGE)
    warnings = f", {len(findings)} warning{'s' * (len(findings) > 1)}" if findings else ""
    out.print(f"{config} can be run{warnings}", markup=False)


def findings_of(configuration: Configuration) -> Iterator[Finding]:
    yield from _directory(configuration.deployment.data_directory)
    if not is_up(configuration.deployment.data_directory):  # then the ports are ours
        for address in taken(listens(configuration)):
            yield Finding(
                Weight.ERROR, f"{address} is in use by another process, or is no address of this machine"
            )
    if not configuration.control.listen.startswith(("127.", "localhost:", "[::1]:")):
        yield Finding(
            Weight.WARNING,
            f"control.listen = {configuration.control.listen} is reachable from outside and speaks plain HTTP:"
            " put it on 127.0.0.1 or behind TLS",
        )
    yield from _providers(configuration)
    if configuration.gateway.durability == "best_effort":
        yield Finding(
            Weight.WARNING,
            'gateway.durability = "best_effort": a power cut loses exchanges that were written; "durable" loses'
            " at most the last 20 ms",
        )
    for webhook in configuration.webhook:
        yield from _webhook(webhook)
    for task in configuration.task:
        yield from _teacher(task)
        yield from _dialect(task)
        yield from _storing(task)
        yield from _training(task)
        yield from _extra_calls(task)
        yield from _probes(task)
        yield from _persons(task)


def _webhook(webhook: WebhookSection) -> Iterator[Finding]:
    try:
        secret = secret_of(webhook)
    except SecretUnusable as error:
        yield Finding(Weight.WARNING, f"webhook {webhook.name}: {error}; until then its events wait")
        return
    if secret is None:
        text = "has no secret: its receiver cannot tell our events from anybody's; give secret_file"
        yield Finding(Weight.WARNING, f"webhook {webhook.name} {text}")


def listens(configuration: Configuration) -> list[str]:
    """Every address that `stillgate up` listens on."""
    return [
        configuration.gateway.listen,
        configuration.gateway.operations_listen,
        configuration.control.listen,
        configuration.monitor.listen,
    ]


def lock_path(data_directory: Path) -> Path:
    return data_directory / "run" / "up.lock"


def is_up(data_directory: Path) -> bool:
    """Whether a `stillgate up` holds the data directory."""
    try:
        with lock_path(data_directory).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def supervisor_of(data_directory: Path) -> int | None:
    """The process number that `stillgate up` left in its lock file."""
    try:
        return int(lock_path(data_directory).read_text())
    except (OSError, ValueError):
        return None


def _directory(directory: Path) -> Iterator[Finding]:
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        yield Finding(Weight.ERROR, f"deployment.data_directory = {directory}: {nearest} is not a directory")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(Weight.ERROR, f"deployment.data_directory = {directory}: {nearest} cannot be written")


def _providers(configuration: Configuration) -> Iterator[Finding]:
    """As the student process will find them: in this environment."""
    try:
        providers_of(configuration.student.providers)
    except ProviderMissing as error:
        yield Finding(Weight.ERROR, str(error))


def _teacher(task: TaskSection) -> Iterator[Finding]:
    try:
        settings_of(task.teacher)
    except UpstreamUnusable as error:
        yield Finding(Weight.ERROR, f"task {task.name}: {error}")
    url = urlsplit(task.teacher.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with closing(socket.create_connection((url.hostname or "", port), timeout=TEACHER_SECONDS)):
            return
    except OSError as error:
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: the teacher at {task.teacher.url} cannot be reached ({error});"
            " callers will get 502 until it can",
        )


def _dialect(task: TaskSection) -> Iterator[Finding]:
    expected = _PATHS.get(task.dialect)
    for path in task.paths:
        if expected is not None and expected[0].search(path) is None:
            yield Finding(
                Weight.WARNING,
                f'task {task.name}: dialect = "{task.dialect}" is spoken at {expected[1]}, and {path} is no such'
                " path; requests to it will hardly be understood",
            )
    if task.openai is not None and task.openai.request_logprobs:
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: request_logprobs = true asks the teacher for token logprobs that callers did not"
            " ask for and takes them out of the reply. Given up for these requests: the teacher's bytes are no"
            " longer passed on untouched, it is asked for uncompressed replies, their Content-Length is not told,"
            " and a document leaves only when it is whole (events of a stream leave as they come)",
        )
        if task.openai.top_logprobs < len(task.classes):
            yield Finding(
                Weight.WARNING,
                f"task {task.name}: top_logprobs = {task.openai.top_logprobs} lists fewer alternatives than the"
                f" {len(task.classes)} classes; what is not listed is recorded as `other`",
            )


def _storing(task: TaskSection) -> Iterator[Finding]:
    """What is switched off by storing less, and what stays in by redacting less."""
    if task.capture.inputs == "nothing":
        if task.licence is not None:
            yield Finding(
                Weight.WARNING,
                f"task {task.name} stores no inputs, so a job will find no rows: no student can be trained from"
                " the record, and none can answer past exchanges again",
            )
        return
    if not task.capture.redacted:
        yield Finding(
            Weight.WARNING,
            f"task {task.name} stores texts as they come (capture.redact = []): addresses, card numbers and keys"
            " in them too",
        )
    if task.capture.subject_header is None:
        yield Finding(
            Weight.WARNING,
            f"task {task.name} stores texts and has no capture.subject_header: nobody can say later whose they are,"
            " so `stillgate erase` reaches single exchanges by their ids alone",
        )


def _training(task: TaskSection) -> Iterator[Finding]:
    if task.licence is None:
        yield Finding(
            Weight.WARNING,
            f"task {task.name} has no licence section: everything is measured, and no job can run until a"
            " person has stated that the teacher's terms permit distillation",
        )
    elif not task.licence.distillation_allowed:
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: {task.licence.decided_by} decided that the teacher's terms do not permit"
            " distillation, so no job can run",
        )
    if task.fairness is None:
        yield Finding(
            Weight.WARNING,
            f"task {task.name} has no fairness section, so no job can run until protected slices are named there, or"
            " a person has stated why there are none",
        )
    if not task.candidate:
        yield Finding(Weight.WARNING, f"task {task.name} has no candidate section, so no job can run")
    for candidate in task.candidate:
        if not Path(candidate.encoder).is_dir():
            yield Finding(
                Weight.WARNING,
                f"task {task.name}: encoder {candidate.encoder!r} is no folder here; a job will look for a"
                " model of that name on the hub",
            )


def _extra_calls(task: TaskSection) -> Iterator[Finding]:
    if task.extra_calls.per_day == 0:
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: extra_calls.per_day = 0 refuses every audit, so nothing measures a student where it"
            " serves; give the number of calls that the teacher may be asked beside its callers' requests",
        )


def _probes(task: TaskSection) -> Iterator[Finding]:
    """A declared file is read as the gateway will, and its requests as the task's dialect reads callers'."""
    if task.probe is None or task.probe.file is None:
        return
    try:
        probes = declared_probes(task.probe.file, task.paths[0])
    except ProbesUnusable as error:
        yield Finding(Weight.ERROR, f"task {task.name}: {error}")
        return
    calls = math.ceil(len(probes) * task.probe.passes_per_day)
    if calls > task.extra_calls.per_day:
        yield Finding(
            Weight.ERROR,
            f"task {task.name}: {len(probes)} probes every {task.probe.every_hours:g} hours are {calls} calls a day,"
            f" and extra_calls.per_day = {task.extra_calls.per_day}; raise it, or probe less",
        )
    dialect = dialect_of(task)
    for probe in probes:
        asked = dialect.parse_request(probe.body.encode())
        if not isinstance(asked, Asked):
            yield Finding(
                Weight.ERROR,
                f"task {task.name}: {task.probe.file}, line {probe.number + 1} is no request of this task:"
                f' {asked}; write bodies as its callers send them in dialect "{task.dialect}"',
            )


def _persons(task: TaskSection) -> Iterator[Finding]:
    persons = task.governance
    unset = [name for name, value in persons.model_dump().items() if value == PLACEHOLDER]
    if unset:
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: governance.{', governance.'.join(unset)} still says {PLACEHOLDER!r}",
        )
    elif persons.validator in (persons.operator, task.driver):
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: governance.validator {persons.validator!r} is the operator or the driver too,"
            " who may not approve what they propose or have trained",
        )
    if persons.review_due_us is not None and persons.review_due_us <= now_us():
        yield Finding(
            Weight.WARNING,
            f"task {task.name}: governance.review_by = {persons.review_by} is over; review the task and set the"
            " next day for it",
        )
