"""stillgate.toml becomes a configuration, or sentences about what is wrong with it."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ledger.configuration.asking import ProbeSection
from ledger.configuration.criteria import CriteriaSection
from ledger.configuration.judging import CandidateSection
from ledger.configuration.processes import WebhookSection
from ledger.configuration.teacher import TeacherSection
from ledger.configuration.whole import Configuration


class ConfigurationError(Exception):
    """stillgate.toml cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path, self.problems = path, problems
        super().__init__("\n".join([f"{path} cannot be used:", *(f"  {problem}" for problem in problems)]))


def load(path: Path) -> Configuration:
    """Read and check the file. Raises ConfigurationError that names every problem at once."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(path, ["there is no such file; `stillgate init` writes one"]) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(path, [f"it cannot be read as TOML: {error}"]) from error
    try:
        configuration = Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(path, _problems(error.errors())) from None
    return _with_absolute_paths(configuration, path.resolve().parent)


def _with_absolute_paths(configuration: Configuration, folder: Path) -> Configuration:
    """What the file names relative to itself, wherever a process is started."""
    directory = (folder / configuration.deployment.data_directory).resolve()
    deployment = configuration.deployment.model_copy(update={"data_directory": directory})
    tasks = tuple(
        task.model_copy(
            update={
                "teacher": _with_absolute_files(task.teacher, folder),
                "probe": _with_absolute_probes(task.probe, folder),
                "criteria": _with_absolute_behaviour(task.criteria, folder),
                "candidate": tuple(_with_absolute_encoder(one, folder) for one in task.candidate),
            }
        )
        for task in configuration.task
    )
    section = configuration.gateway
    files = {name: getattr(section, name) for name in ("tls_certificate", "tls_key")}
    gateway = section.model_copy(update={name: folder / path for name, path in files.items() if path})
    webhooks = tuple(_with_absolute_secret(webhook, folder) for webhook in configuration.webhook)
    keys = {name: getattr(configuration.student, name) for name in ("signing_key", "public_key")}
    absolute = {name: (folder / file).resolve() for name, file in keys.items() if file is not None}
    student = configuration.student.model_copy(update=absolute)
    parts = {
        "deployment": deployment,
        "gateway": gateway,
        "student": student,
        "task": tasks,
        "webhook": webhooks,
    }
    return configuration.model_copy(update=parts)


def _with_absolute_probes(probe: ProbeSection | None, folder: Path) -> ProbeSection | None:
    if probe is None or probe.file is None:
        return probe
    return probe.model_copy(update={"file": (folder / probe.file).resolve()})


def _with_absolute_behaviour(criteria: CriteriaSection, folder: Path) -> CriteriaSection:
    file = criteria.behaviour_file
    return (
        criteria
        if file is None
        else criteria.model_copy(update={"behaviour_file": (folder / file).resolve()})
    )


def _with_absolute_secret(webhook: WebhookSection, folder: Path) -> WebhookSection:
    files = {name: getattr(webhook, name) for name in ("secret_file", "ca_file")}
    absolute = {name: (folder / file).resolve() for name, file in files.items() if file is not None}
    return webhook.model_copy(update=absolute)


def _with_absolute_files(teacher: TeacherSection, folder: Path) -> TeacherSection:
    names = ("ca_file", "client_certificate_file", "client_key_file")
    files = {name: getattr(teacher, name) for name in names}
    absolute = {name: (folder / file).resolve() for name, file in files.items() if file is not None}
    credentials = tuple(
        one.model_copy(update={"file": (folder / one.file).resolve()}) if one.file else one
        for one in teacher.credential
    )
    return teacher.model_copy(update={**absolute, "credential": credentials})


def _with_absolute_encoder(candidate: CandidateSection, folder: Path) -> CandidateSection:
    """An encoder that is no folder beside the file is a hub name, or an absolute path already."""
    path = folder / candidate.encoder
    return candidate.model_copy(update={"encoder": str(path.resolve())}) if path.is_dir() else candidate


def _problems(details: list[Any]) -> list[str]:
    """Leave out what only follows from a problem further inside, such as a list without valid entries."""
    locations = [detail["loc"] for detail in details]
    return [
        _problem(detail)
        for detail in details
        if not any(
            len(loc) > len(detail["loc"]) and loc[: len(detail["loc"])] == detail["loc"] for loc in locations
        )
    ]


def _problem(detail: Any) -> str:
    """One sentence: where, what stands there, which rule it breaks, and the way out."""
    where = _where(detail["loc"])
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return f"{where}: this key is unknown; remove it or correct its spelling"
    if kind == "missing":
        return f"{where}: this key is missing and has no default; add it"
    if kind == "value_error":
        return f"{where}: {detail['ctx']['error']}" if where else str(detail["ctx"]["error"])
    return f"{where} = {_short(given)}: {detail['msg'][0].lower()}{detail['msg'][1:]}; correct the value"


def _where(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."
