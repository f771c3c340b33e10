"""stillgate.toml: every setting, its unit, its default, and what is said when it is wrong."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ledger.redaction import Kind
from ledger.slices import OVERALL, SliceRule

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


class ConfigurationError(Exception):
    """stillgate.toml cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path, self.problems = path, problems
        super().__init__("\n".join([f"{path} cannot be used:", *(f"  {problem}" for problem in problems)]))


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port, for example 127.0.0.1:8080")
    return text


def _url(text: str) -> str:
    if not re.match(r"^https?://[^/@\s?#]+$", text.rstrip("/")):
        raise ValueError(
            f"{text!r} is not http://host:port or https://host:port (no path, query or credentials)"
        )
    return text.rstrip("/")


def _path(text: str) -> str:
    if not text.startswith("/") or "?" in text or "#" in text:
        raise ValueError(f"{text!r} is not a URL path: it starts with / and has no query")
    return text


Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
UrlPath = Annotated[str, AfterValidator(_path)]


class Section(BaseModel):
    """A part of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeploymentSection(Section):
    name: Name
    data_directory: Path = Path(".stillgate")  # relative to the file


class GatewaySection(Section):
    name: Name = "g0"  # begins every exchange id; one for each gateway process
    listen: Address = "127.0.0.1:8080"
    operations_listen: Address = "127.0.0.1:9464"  # /livez, /readyz, /metrics
    max_in_flight: int = Field(256, ge=1, le=100_000)  # above it: 503 with Retry-After
    max_body_bytes: int = Field(10 * 2**20, ge=1024)  # above it: 413
    record_body_bytes: int = Field(2**20, ge=1024)  # larger bodies pass, but are recorded without a pair
    record_queue_count: int = Field(10_000, ge=1)
    record_queue_bytes: int = Field(64 * 2**20, ge=2**16)
    durability: Literal["strict", "durable", "best_effort"] = "durable"  # of an exchange: docs/record.md
    ballast_bytes: int = Field(64 * 2**20, ge=0)  # given up when the disk is full; 0: none
    shadow_queue_count: int = Field(2_000, ge=1)  # inputs waiting for the student
    shadow_queue_bytes: int = Field(16 * 2**20, ge=2**16)
    drain_seconds: float = Field(10, ge=0, le=600)


class RetentionSection(Section):
    """How long exchanges are kept in each gateway's file; carried out by that gateway, a slice at a time."""

    days: float | None = Field(None, gt=0)  # older ones go once the monitor has folded them; null: none does
    max_bytes: int = Field(8 * 2**30, ge=2**20)  # of one exchange file; above it the oldest go, folded or not


class ControlSection(Section):
    listen: Address = "127.0.0.1:8081"


class MonitorSection(Section):
    listen: Address = "127.0.0.1:9465"  # /metrics
    tick_seconds: float = Field(10, gt=0, le=3600)
    window_seconds: int = Field(60, ge=1, le=86_400)  # grain at which sums are kept
    stale_seconds: float = Field(60, gt=0)  # without a tick for so long, the teacher serves everything


class StudentSection(Section):
    threads: int = Field(1, ge=1, le=256)
    providers: tuple[Literal["cpu", "cuda", "tensorrt"], ...] = ("cpu",)
    max_batch_tokens: int = Field(4096, ge=64)  # padded tokens of one batch
    queue_inputs: int = Field(4096, ge=1)  # waiting inputs; above it requests are refused as queue_full
    shadow_deadline_seconds: float = Field(5, gt=0)
    inline_deadline_seconds: float = Field(0.25, gt=0)  # after it the teacher answers
    memory_limit_bytes: int = Field(4 * 2**30, ge=256 * 2**20)


class TeacherSection(Section):
    url: Url
    version: str = Field(min_length=1, max_length=100)  # the pinned version
    version_header: str | None = None  # response header that tells the version; its change ends the epoch
    connect_seconds: float = Field(2, gt=0)
    first_byte_seconds: float = Field(30, gt=0)
    idle_seconds: float = Field(30, gt=0)  # between two chunks


class CaptureSection(Section):
    inputs: Literal["text", "nothing"]  # a choice that the file must state
    redact: tuple[Kind, ...] | None = None  # default: every kind where texts are stored; () is none

    @property
    def redacted(self) -> frozenset[Kind]:
        """What is taken out of texts before they are stored and before a student reads them."""
        every = tuple(Kind) if self.inputs == "text" else ()
        return frozenset(every if self.redact is None else self.redact)


class SliceSection(Section):
    name: Name
    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,80}$")
    words: tuple[int, ...] | None = None  # ascending edges
    teacher_class: bool = False
    critical: bool = False
    bar: OpenShare | None = None  # the gate's
    alarm_below: OpenShare | None = None  # the trigger's, where the gate saw too few rows; default: the bar

    @model_validator(mode="after")
    def _one_rule(self) -> "SliceSection":
        if (self.header is not None) + (self.words is not None) + self.teacher_class != 1:
            raise ValueError(f"slice {self.name!r} needs exactly one of header, words, teacher_class = true")
        if self.words is not None and (
            not self.words or list(self.words) != sorted(set(self.words)) or self.words[0] < 1
        ):
            raise ValueError(f"words = {list(self.words)} must be ascending edges above 0, e.g. [50, 150]")
        if self.name == OVERALL:
            raise ValueError(f"the name {OVERALL!r} is taken by the slice of everything")
        if self.critical and self.bar is None:
            raise ValueError(f"slice {self.name!r} is critical and has no bar; give one, e.g. bar = 0.9")
        if self.alarm_below is not None and self.alarm_below < (self.bar or 0):
            raise ValueError(
                f"slice {self.name!r}: alarm_below = {self.alarm_below} is less than bar = {self.bar};"
                " a slice would be unacceptable before it alarms"
            )
        return self

    def rule(self) -> SliceRule:
        kind: Literal["header", "words", "teacher_class"] = (
            "header" if self.header is not None else "words" if self.words is not None else "teacher_class"
        )
        return SliceRule(
            name=self.name,
            kind=kind,
            header=(self.header or "").lower(),
            word_edges=self.words or (),
            critical=self.critical,
            bar=self.bar,
            alarm_below=self.alarm_below,
        )


class CandidateSection(Section):
    kind: Literal["static", "transformer"]
    encoder: str = Field(min_length=1)  # a folder with weights and tokenizer.json, or a hub name
    layers: tuple[int, ...] = ()  # transformer: which of the encoder's layers to start from
    max_tokens: int = Field(64, ge=8, le=8192)
    epochs: int = Field(6, ge=1, le=100)
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    batch_rows: int = Field(32, ge=2, le=4096)
    budget_seconds: float = Field(600, gt=0)  # training stops here with its best state so far


class TriggerSection(Section):
    false_alarms: float = Field(1.0, gt=0)  # expected at most so many ...
    period_days: float = Field(30.0, gt=0)  # ... in so many days, over every slice of the task
    tolerance: Share = 0.02  # harm below this margin above the baseline does not alarm
    reference_pairs: int = Field(200, ge=10)  # fewer: the null comes from the bar, else from the parent slice
    cooldown_seconds: float = Field(3600, ge=0)
    launch: bool = True  # an alarm opens a distillation job


class GateSection(Section):
    bar: OpenShare = 0.8  # of the overall slice
    alpha: OpenShare = 0.05  # one-sided, for each slice
    rows: int = Field(600, ge=30)  # held-out pairs, overall
    slice_rows: int = Field(200, ge=10)  # a critical slice with fewer is not provable
    train_rows: int = Field(1000, ge=50)  # least that a job starts with
    collect_seconds: float = Field(3600, ge=0)  # how long a job waits for the rows that its gate needs


class FallbackSection(Section):
    max_disagreement: OpenShare = 0.1  # with the teacher, among the answers that the student serves
    delta: OpenShare = 0.05  # probability that the certificate is wrong, over all slices
    audit_share: OpenShare = 0.05  # of requests of the student's arm that the teacher answers too


class LicenceSection(Section):
    """The teacher's terms, as a person read them."""

    distillation_allowed: bool
    decided_by: str = Field(min_length=1)
    decided_on: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    terms: str = Field(min_length=1)  # where the terms are, or what they say


class GovernanceSection(Section):
    owner: str = Field(min_length=1)
    sponsor: str = Field(min_length=1)
    driver: str = Field(min_length=1)  # named on automatic jobs; may not approve what they trained
    validator: str = Field(min_length=1)
    operator: str = Field(min_length=1)


class TaskSection(Section):
    name: Name
    classes: tuple[str, ...] = Field(min_length=2)
    dialect: Literal["huggingface", "open-inference"]
    paths: tuple[UrlPath, ...] = Field(min_length=1)
    model_name: str | None = None  # told in Open Inference replies of the student
    teacher: TeacherSection
    capture: CaptureSection
    slice: tuple[SliceSection, ...] = ()
    candidate: tuple[CandidateSection, ...] = ()
    trigger: TriggerSection = TriggerSection.model_construct()
    gate: GateSection = GateSection.model_construct()
    fallback: FallbackSection = FallbackSection.model_construct()
    licence: LicenceSection | None = None
    governance: GovernanceSection

    @model_validator(mode="after")
    def _consistent(self) -> "TaskSection":
        for what, names in (("classes", self.classes), ("slice names", [s.name for s in self.slice])):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        return self

    @property
    def rules(self) -> tuple[SliceRule, ...]:
        return tuple(section.rule() for section in self.slice)

    @property
    def recorded_headers(self) -> tuple[str, ...]:
        """Lower-case request headers that slice rules read: the only ones that are stored."""
        return tuple({rule.header: None for rule in self.rules if rule.header})


class Configuration(Section):
    deployment: DeploymentSection
    gateway: GatewaySection = GatewaySection.model_construct()
    retention: RetentionSection = RetentionSection.model_construct()
    control: ControlSection = ControlSection.model_construct()
    monitor: MonitorSection = MonitorSection.model_construct()
    student: StudentSection = StudentSection.model_construct()
    task: tuple[TaskSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        paths = [path for task in self.task for path in task.paths]
        names = [task.name for task in self.task]
        listens = [
            self.gateway.listen,
            self.gateway.operations_listen,
            self.control.listen,
            self.monitor.listen,
        ]
        for what, values in (("task names", names), ("task paths", paths), ("listen addresses", listens)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        return self

    def task_named(self, name: str) -> TaskSection | None:
        return next((task for task in self.task if task.name == name), None)


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
            update={"candidate": tuple(_with_absolute_encoder(one, folder) for one in task.candidate)}
        )
        for task in configuration.task
    )
    return configuration.model_copy(update={"deployment": deployment, "task": tasks})


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
