"""stillgate.toml: every setting, its unit, its default, and what is said when it is wrong."""

import math
import re
import socket
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ledger.class_texts import class_texts
from ledger.harms import HARMS, Harm
from ledger.languages import LANGUAGES
from ledger.logs import LogFormat
from ledger.patterns import MAX_PATTERN_CHARACTERS, pattern_problem
from ledger.pointers import parse_pointer
from ledger.redaction import Kind
from ledger.slice_values import is_time_zone
from ledger.slices import OVERALL, RuleKind, SliceRule

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", socket.gethostname()})
MAX_RULES = 50  # of a task; each is asked about every exchange
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})


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


def _webhook_url(text: str) -> str:
    if not re.match(r"^https?://[^/@\s?#]+(/[^\s#]*)?$", text):
        raise ValueError("it is not http://host/path or https://host/path (no credentials, no fragment)")
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or "?" in text or "#" in text:
        raise ValueError(f"{text!r} is not a URL path: it starts with / and has no query")
    return text


def _leads_to(url: str, listen: str) -> bool:
    """Whether the url names this listen address. A name that resolves to it is found out by Via."""
    parts, (host, _, port) = urlsplit(url), listen.rpartition(":")
    if str(parts.port or {"http": 80, "https": 443}[parts.scheme]) != port:
        return False
    here, there = host.strip("[]"), parts.hostname or ""
    return here == there or (there in _LOOPBACK and here in _LOOPBACK | _EVERYWHERE)


def _pointer(text: str) -> str:
    parse_pointer(text)
    return text


def _edges(edges: tuple[int, ...]) -> tuple[int, ...]:
    if not edges or list(edges) != sorted(set(edges)) or edges[0] < 1:
        raise ValueError(f"{list(edges)} must be ascending edges above 0, e.g. [50, 150]")
    return edges


FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")]
Network = IPv4Network | IPv6Network  # an address is a network of one
Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
WebhookUrl = Annotated[str, AfterValidator(_webhook_url)]
UrlPath = Annotated[str, AfterValidator(_path)]
JsonPointer = Annotated[str, AfterValidator(_pointer)]
Edges = Annotated[tuple[int, ...], AfterValidator(_edges)]


class Section(BaseModel):
    """A part of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeploymentSection(Section):
    name: Name
    data_directory: Path = Path(".stillgate")  # relative to the file
    log_format: LogFormat = "text"


class TracingSection(Section):
    """OpenTelemetry; needs the extra `otel`."""

    endpoint: str = Field(
        pattern=r"^https?://[^\s]+$"
    )  # OTLP over HTTP, such as http://collector:4318/v1/traces
    share: Share = 0.01  # of requests that come without a sampling decision of their caller


class GatewaySection(Section):
    name: Name = "g0"  # begins every exchange id; one for each gateway process
    listen: Address = "127.0.0.1:8080"
    operations_listen: Address = "127.0.0.1:9464"  # /livez, /readyz, /metrics
    tls_certificate: Path | None = None  # PEM, with its chain; relative to the file. None: plain HTTP
    tls_key: Path | None = None  # PEM, without password
    trusted_proxies: tuple[Network, ...] = ()  # whose Forwarded and X-Forwarded-* are kept and added to
    max_connections: int = Field(1000, ge=1, le=1_000_000)  # above it: 503 and close
    max_in_flight: int = Field(256, ge=1, le=100_000)  # above it: 503 with Retry-After
    max_request_line_bytes: int = Field(8 * 2**10, ge=64, le=2**20)  # above it: 414
    max_head_bytes: int = Field(32 * 2**10, ge=256, le=2**20)  # of all header fields; above it: 431
    max_head_fields: int = Field(100, ge=8, le=10_000)  # above it: 431
    max_body_bytes: int = Field(10 * 2**20, ge=1024)  # above it: 413
    max_chunk_extension_bytes: int = Field(4 * 2**10, ge=0, le=2**20)  # in one body; above it: 400
    first_byte_seconds: float = Field(10, ge=0.25, le=3600)  # of a connection, with its TLS handshake
    head_seconds: float = Field(5, ge=0.25, le=3600)  # from its first byte to its end; above it: 408
    body_grace_seconds: float = Field(5, ge=0.25, le=3600)  # after it the body has to keep up ...
    min_body_bytes_per_second: int = Field(2**10, ge=1)  # ... this rate, else 408
    keep_alive_seconds: float = Field(
        65, ge=0.25, le=3600
    )  # above what pools of callers keep connections for
    send_seconds: float = Field(
        60, ge=0.25, le=3600
    )  # without taking a byte of its response a caller is cut off
    record_body_bytes: int = Field(2**20, ge=1024)  # larger bodies pass, but are recorded without a pair
    record_queue_count: int = Field(10_000, ge=1)
    record_queue_bytes: int = Field(64 * 2**20, ge=2**16)
    durability: Literal["strict", "durable", "best_effort"] = "durable"  # of an exchange: docs/record.md
    ballast_bytes: int = Field(64 * 2**20, ge=0)  # given up when the disk is full; 0: none
    shadow_queue_count: int = Field(2_000, ge=1)  # inputs waiting for the student
    shadow_queue_bytes: int = Field(16 * 2**20, ge=2**16)
    drain_seconds: float = Field(10, ge=0, le=600)
    tracing: TracingSection | None = None

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "GatewaySection":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(
                "tls_certificate and tls_key belong together; give both, or neither for plain HTTP"
            )
        return self


class RetentionSection(Section):
    """How long exchanges are kept in each gateway's file; carried out by that gateway, a slice at a time."""

    days: float | None = Field(None, gt=0)  # older ones go once the monitor has folded them; null: none does
    max_bytes: int = Field(8 * 2**30, ge=2**20)  # of one exchange file; above it the oldest go, folded or not


class ControlSection(Section):
    listen: Address = "127.0.0.1:8081"


class EventKind(StrEnum):
    """What a webhook may be told of."""

    ALARM = "alarm"  # a detector fired
    STAGE = "stage"  # a student changed its rollout stage
    CERTIFICATE = "certificate"  # a certificate was voided
    JOB = "job"  # a distillation job failed


class WebhookSection(Section):
    """A receiver of events, which the control process hands to it as CloudEvents."""

    name: Name
    url: WebhookUrl
    kinds: tuple[EventKind, ...] = Field(tuple(EventKind), min_length=1)
    secret_file: Path | None = None  # relative to the configuration file; signs each event
    secret_environment: str | None = Field(None, min_length=1)  # variable that holds it
    ca_file: Path | None = None  # https: certificates to trust instead of the system's; relative to the file
    timeout_seconds: float = Field(10, gt=0, le=60)  # to connect, and for the answer
    max_waiting: int = Field(1000, ge=1, le=100_000)  # events; above it the oldest are dropped
    give_up_seconds: float = Field(86_400, gt=0)  # an event that was not taken by then is dropped

    @model_validator(mode="after")
    def _one_source(self) -> "WebhookSection":
        if self.secret_file is not None and self.secret_environment is not None:
            raise ValueError(f"webhook {self.name!r}: give secret_file or secret_environment, not both")
        return self


class MonitorSection(Section):
    listen: Address = "127.0.0.1:9465"  # /metrics
    tick_seconds: float = Field(10, gt=0, le=3600)
    window_seconds: int = Field(60, ge=1, le=86_400)  # grain at which sums are kept
    stale_seconds: float = Field(60, gt=0)  # without a tick for so long, the teacher serves everything


class StudentSection(Section):
    threads: int = Field(1, ge=1, le=256)
    providers: tuple[Literal["cpu", "cuda", "tensorrt"], ...] = ("cpu",)
    max_batch_tokens: int = Field(512, ge=64)  # padded tokens of one batch; on a GPU, more pays
    queue_inputs: int = Field(4096, ge=1)  # waiting inputs; above it requests are refused as queue_full
    shadow_deadline_seconds: float = Field(5, gt=0)
    inline_deadline_seconds: float = Field(0.25, gt=0)  # after it the teacher answers
    run_seconds: float = Field(10, gt=0)  # of one batch; after it the run is ended and its inputs have failed
    memory_limit_bytes: int = Field(4 * 2**30, ge=256 * 2**20)


class CredentialSection(Section):
    """A header field that the teacher gets from us in place of the caller's; its value stands in no file of ours."""

    header: FieldName
    file: Path | None = None  # that holds the value; relative to the configuration file
    environment: str | None = Field(None, min_length=1)  # variable that holds it
    prefix: str = Field("", pattern=r"^[ -~]*$")  # put before it, such as "Bearer "

    @model_validator(mode="after")
    def _one_source(self) -> "CredentialSection":
        if (self.file is None) == (self.environment is None):
            raise ValueError(f"the credential {self.header!r} needs exactly one of file and environment")
        return self


class TeacherSection(Section):
    url: Url
    version: str = Field(min_length=1, max_length=100)  # the pinned version
    version_header: str | None = None  # response header that tells the version; its change ends the epoch
    call_cost: float | None = Field(
        None, gt=0, allow_inf_nan=False
    )  # of asking it about one input, in your currency; null: unknown
    credential: tuple[CredentialSection, ...] = ()
    withhold: tuple[FieldName, ...] = ()  # fields of callers that the teacher never gets, such as cookie
    connect_seconds: float = Field(2, gt=0)
    first_byte_seconds: float = Field(30, gt=0)
    idle_seconds: float = Field(30, gt=0)  # between two chunks
    total_seconds: float | None = Field(None, gt=0)  # of the whole response; unlimited by default
    max_connections: int = Field(256, ge=1, le=100_000)
    pool_wait_seconds: float = Field(0.25, gt=0)  # for a free connection, then 503
    max_head_bytes: int = Field(256 * 1024, ge=1024)  # of a response; above it: 502
    max_head_fields: int = Field(1000, ge=1)
    breaker_failures: int = Field(5, ge=1)  # connections that fail in a row; then none is tried for a while
    breaker_seconds: float = Field(1, gt=0)  # between two attempts while they fail
    ca_file: Path | None = None  # https: certificates to trust instead of the system's; relative to the file
    client_certificate_file: Path | None = None  # https: ours, if the teacher asks for one; PEM
    client_key_file: Path | None = None  # of the certificate, where that file does not hold it

    @model_validator(mode="after")
    def _tls_needs_https(self) -> "TeacherSection":
        files = (self.ca_file, self.client_certificate_file, self.client_key_file)
        if any(files) and not self.url.startswith("https:"):
            raise ValueError(
                f"url = {self.url!r} is not https, so ca_file and client_certificate_file have no meaning;"
                " remove them or change the url"
            )
        if self.client_key_file and not self.client_certificate_file:
            raise ValueError("client_key_file needs client_certificate_file")
        return self


class CaptureSection(Section):
    inputs: Literal["text", "nothing"]  # a choice that the file must state
    subject_header: FieldName | None = None  # says whose request it is; kept as a pseudonym, to erase by
    redact: tuple[Kind, ...] | None = None  # default: every kind where texts are stored; () is none

    @property
    def redacted(self) -> frozenset[Kind]:
        """What is taken out of texts before they are stored and before a student reads them."""
        every = tuple(Kind) if self.inputs == "text" else ()
        return frozenset(every if self.redact is None else self.redact)


class SliceSection(Section):
    """One rule; which key says how it divides traffic is its kind."""

    name: Name
    header: FieldName | None = None
    pointer: Annotated[JsonPointer, Field(min_length=2, max_length=200)] | None = None  # into request bodies
    words: Edges | None = None
    characters: Edges | None = None
    language: Annotated[tuple[str, ...], Field(min_length=1, max_length=40)] | None = None  # ISO 639 codes
    teacher_class: bool = False
    hours: tuple[Annotated[int, Field(ge=0, le=23)], ...] | None = None  # at which bands of the day begin
    time_zone: str | None = None  # of hours, an IANA name such as Europe/Berlin
    pattern: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS)] | None = None  # RE2
    of: tuple[str, str] | None = None  # the names of two other rules
    critical: bool = False
    bar: OpenShare | None = None  # the gate's
    max_values: int = Field(
        200, ge=1, le=10_000
    )  # of what callers send: further values count in `NAME=other`
    alarm_below: OpenShare | None = None  # the trigger's, where the gate saw too few rows; default: the bar

    @model_validator(mode="after")
    def _one_rule(self) -> "SliceSection":
        self._check_kind()
        self._check_packages()
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

    @property
    def _kinds(self) -> list[RuleKind]:
        return [kind for kind in get_args(RuleKind) if getattr(self, kind) not in (None, False)]

    def _check_kind(self) -> None:
        if len(self._kinds) != 1:
            raise ValueError(
                f"slice {self.name!r} needs exactly one of {', '.join(get_args(RuleKind))}; it has"
                f" {' and '.join(self._kinds) or 'none'}"
            )
        if (self.hours is None) != (self.time_zone is None):
            raise ValueError(
                f"slice {self.name!r}: hours and time_zone belong together,"
                ' e.g. hours = [6, 18] and time_zone = "Europe/Berlin"'
            )
        if self.hours is not None and (len(self.hours) < 2 or list(self.hours) != sorted(set(self.hours))):
            raise ValueError(f"hours = {list(self.hours)} must be two or more ascending hours, e.g. [6, 18]")
        if self.time_zone is not None and not is_time_zone(self.time_zone):
            raise ValueError(
                f"time_zone = {self.time_zone!r} is no time zone that this machine knows; give an IANA name such"
                " as Europe/Berlin (the package tzdata has them where the system has none)"
            )

    def _check_packages(self) -> None:
        """Language and pattern need packages of the extra `slices`."""
        package = {"language": "py3langid", "pattern": "re2"}.get(self._kinds[0])
        if package is not None and find_spec(package) is None:
            raise ValueError(
                f"slice {self.name!r} needs packages that are not installed: pip install 'stillgate[slices]',"
                " or remove it"
            )
        unknown = sorted(set(self.language or ()) - LANGUAGES)
        if unknown:
            raise ValueError(
                f"language = {unknown}: no ISO 639 code that is told apart; those are {' '.join(sorted(LANGUAGES))}"
            )
        problem = pattern_problem(self.pattern) if self.pattern is not None else None
        if problem is not None:
            raise ValueError(
                f"pattern = {self.pattern!r} is no regular expression of RE2: {problem}; it knows no look-around"
                " and no back references"
            )

    def rule(self, others: Sequence["SliceSection"] = ()) -> SliceRule:
        """`others` has those that `of` names."""
        return SliceRule(
            name=self.name,
            kind=self._kinds[0],
            header=(self.header or "").lower(),
            word_edges=self.words or (),
            critical=self.critical,
            bar=self.bar,
            max_values=self.max_values,
            alarm_below=self.alarm_below,
            pointer=self.pointer or "",
            character_edges=self.characters or (),
            languages=self.language or (),
            hours=self.hours or (),
            time_zone=self.time_zone or "UTC",
            pattern=self.pattern or "",
            parts=tuple(other.rule() for name in self.of or () for other in others if other.name == name),
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
    harms: tuple[Harm, ...] = Field(HARMS, min_length=1)  # what is watched
    tolerance: Share = 0.02  # harm below this margin above the baseline does not alarm
    reference_pairs: int = Field(200, ge=10)  # fewer: the null comes from the bar, else from the parent slice
    cooldown_seconds: float = Field(3600, ge=0)
    launch: bool = True  # an alarm, the schedule or another teacher version opens a distillation job
    every_days: float | None = Field(None, gt=0)  # a job so long after the last one, alarm or not; null: none


class GateSection(Section):
    bar: OpenShare = 0.8  # of the overall slice
    alpha: OpenShare = 0.05  # one-sided, for each slice
    rows: int = Field(600, ge=30)  # held-out pairs, overall
    slice_rows: int = Field(200, ge=10)  # a critical slice that misses its bar with fewer fails nobody
    train_rows: int = Field(1000, ge=50)  # least that a job starts with
    collect_seconds: float = Field(3600, ge=0)  # how long a job waits for the rows that its gate needs


class VerdictSection(Section):
    """What live pairs have to show, beside the bars of fidelity, for a student to go up; null: not judged."""

    max_regret: OpenShare | None = None  # share of labelled pairs where the teacher alone is right
    max_calibration_error: OpenShare | None = None  # against the teacher
    max_latency_seconds: float | None = Field(None, gt=0)  # of the student's slowest hundredth
    min_saved: OpenShare | None = None  # of the teacher's cost, where the certificate holds


class FallbackSection(Section):
    max_disagreement: OpenShare = 0.1  # with the teacher, among the answers that the student serves
    delta: OpenShare = 0.05  # probability that the certificate is wrong, over all slices
    audit_share: OpenShare = 0.05  # of requests of the student's arm that the teacher answers too
    certificate_days: float | None = Field(30, gt=0)  # since it was issued or renewed; null: it never ages
    student_cost: Share = 0.0  # of one answer of the student, in answers of the teacher


class ExtraCallsSection(Section):
    """Calls to the teacher that no caller asked for: audits, probes, second askings."""

    per_day: int = Field(
        10_000, ge=0, le=10_000_000
    )  # of all gateways together, by UTC; above it none is made
    second_share: Share = (
        0.0  # of requests that the teacher is asked twice: how often it disagrees with itself
    )


class ProbeSection(Section):
    """Frozen requests that the teacher gets again and again, to see whether it has changed."""

    file: Path | None = (
        None  # bodies of requests, one JSON document a line; relative to the file. None: drawn
    )
    requests: int = Field(50, ge=1, le=500)  # to draw from early traffic
    every_hours: float = Field(6, gt=0, le=720)  # one pass through all of them, spread evenly
    tolerance: Share = 0.05  # changed answers below this margin above the teacher's own noise are no change
    false_changes_per_year: float = Field(0.1, gt=0)  # expected at most so many
    fingerprint_header: FieldName | None = None  # response header; openai-chat: default system_fingerprint
    on_fingerprint: Literal["record", "void"] = "record"  # a fingerprint never seen: certificates stay, or go

    @property
    def passes_per_day(self) -> float:
        return 24 / self.every_hours


class ShadowSection(Section):
    share: Share = 1.0  # of recorded exchanges that students answer off the path, drawn by a keyed hash


class RemoteStudentSection(Section):
    """A student elsewhere, behind Open Inference Protocol v2. It has no certificate, so it is never served."""

    url: Url
    model: str = Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")
    version: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,40}$")
    input_name: str = Field("text", min_length=1)  # of the BYTES tensor that takes the texts

    @property
    def artifact(self) -> str:
        """What its answers are recorded under: no digest vouches for it, hence no name of an artifact."""
        return f"remote:{self.model}" + (f"/{self.version}" if self.version else "")


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
    review_by: date | None = None  # people look at bars, slices and licence again by the end of this day, UTC

    @property
    def review_due_us(self) -> int | None:
        """The first moment at which the review is overdue; None where none is planned."""
        if self.review_by is None:
            return None
        end_of_day = datetime.combine(self.review_by + timedelta(days=1), time(), UTC)
        return int(end_of_day.timestamp()) * 1_000_000


class OpenInferenceSection(Section):
    """Needed only where names tell the tensors apart."""

    input: str | None = None  # the BYTES tensor with the texts; default: the only input
    output: str | None = None  # the probabilities; default: the float tensor that has one for each class


class OpenAISection(Section):
    """Chat completions used as a classifier."""

    models: tuple[str, ...] = Field(min_length=1)  # names that requests carry; others are another teacher
    labels: dict[str, str] = {}  # text of the assistant -> class; default: each class names itself
    messages: Literal["last_user", "all"] = "last_user"  # which messages are the text
    instructions: str | None = None  # system and developer messages have to say this; default: anything
    request_logprobs: bool = False  # ask the teacher for them, and take them out of what the caller gets
    top_logprobs: int = Field(5, ge=1, le=20)  # how many are asked for
    unasked_logprobs: Literal["null", "absent"] = "null"  # how the teacher writes logprobs nobody asked for


class JsonSection(Section):
    """Any JSON, by JSON Pointer (RFC 6901)."""

    text: JsonPointer  # in the request
    ignored: tuple[JsonPointer, ...] = ()  # in the request: what changes nothing in the answer, an identifier
    probabilities: JsonPointer | None = None  # in the reply: a list in the order of classes, or by class name
    label: JsonPointer | None = None  # in the reply: the class name
    confidence: JsonPointer | None = None  # in the reply, beside a label: its probability
    constant: tuple[JsonPointer, ...] = ()  # in the reply: the same for all callers, so a student may say it
    fresh: tuple[JsonPointer, ...] = ()  # in the reply: identifiers, invented anew by a student

    @model_validator(mode="after")
    def _one_way(self) -> "JsonSection":
        if (self.probabilities is None) == (self.label is None):
            raise ValueError("json needs exactly one of probabilities, label; give a pointer for one of them")
        if self.confidence is not None and self.label is None:
            raise ValueError("confidence is read beside a label; give label, or remove confidence")
        return self


class TaskSection(Section):
    name: Name
    classes: tuple[str, ...] = Field(min_length=2)
    dialect: Literal["huggingface", "open-inference", "openai-chat", "json"]
    paths: tuple[UrlPath, ...] = Field(min_length=1)
    open_inference: OpenInferenceSection | None = None
    openai: OpenAISection | None = None
    json_places: JsonSection | None = Field(None, alias="json")
    teacher: TeacherSection
    capture: CaptureSection
    slice: tuple[SliceSection, ...] = Field((), max_length=MAX_RULES)
    candidate: tuple[CandidateSection, ...] = ()
    trigger: TriggerSection = TriggerSection.model_construct()
    gate: GateSection = GateSection.model_construct()
    verdict: VerdictSection = VerdictSection.model_construct()
    fallback: FallbackSection = FallbackSection.model_construct()
    shadow: ShadowSection = ShadowSection.model_construct()
    extra_calls: ExtraCallsSection = ExtraCallsSection.model_construct()
    probe: ProbeSection | None = None
    remote_student: RemoteStudentSection | None = None
    licence: LicenceSection | None = None
    governance: GovernanceSection

    @model_validator(mode="after")
    def _consistent(self) -> "TaskSection":
        for what, names in (("classes", self.classes), ("slice names", [s.name for s in self.slice])):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        self._check_subject()
        self._check_probe()
        self._check_dialect()
        self._check_slices()
        return self

    def _check_slices(self) -> None:
        parts = {section.name for section in self.slice if section.of is None}
        for section in self.slice:
            unknown = [name for name in section.of or () if name not in parts]
            if unknown or (section.of is not None and len(set(section.of)) < 2):
                raise ValueError(
                    f"slice {section.name!r}: of = {list(section.of or ())} must name two different slices of this"
                    f" task that are no combinations themselves: {', '.join(sorted(parts))}"
                )
            if section.rule(self.slice).reads_text and self.capture.inputs != "text":
                raise ValueError(
                    f'slice {section.name!r} reads texts, and capture.inputs = "{self.capture.inputs}" stores'
                    " none to measure it on; store them, or divide by words, a header or a pointer instead"
                )

    def _check_subject(self) -> None:
        subject = (self.capture.subject_header or "").lower()
        if subject in self.recorded_headers:
            raise ValueError(
                f"capture.subject_header = {self.capture.subject_header!r} is the header of a slice rule too, whose"
                " values are stored and measured as they come; name another header in one of them"
            )

    def _check_probe(self) -> None:
        if self.probe is None or self.probe.file is not None:
            return
        if self.capture.inputs != "text":
            raise ValueError(
                f"task {self.name!r}: probes are drawn from stored requests, and capture.inputs ="
                f' "{self.capture.inputs}" stores none; declare them with probe.file'
            )
        calls = math.ceil(self.probe.requests * self.probe.passes_per_day)
        if calls > self.extra_calls.per_day:
            raise ValueError(
                f"task {self.name!r}: {self.probe.requests} probes every {self.probe.every_hours:g} hours are {calls}"
                f" calls a day, and extra_calls.per_day = {self.extra_calls.per_day}; raise it, or probe less"
            )

    def _check_dialect(self) -> None:
        sections = (
            ("open_inference", self.open_inference, "open-inference", False),
            ("openai", self.openai, "openai-chat", True),
            ("json", self.json_places, "json", True),
        )
        for key, section, dialect, needed in sections:
            if section is None and needed and self.dialect == dialect:
                raise ValueError(f'dialect = "{dialect}" needs a [task.{key}] section; add it')
            if section is not None and self.dialect != dialect:
                raise ValueError(
                    f'[task.{key}] belongs to dialect = "{dialect}", this task has dialect ='
                    f' "{self.dialect}"; change the dialect or remove the section'
                )
        if self.openai is not None:
            class_texts(self.openai.labels, self.classes)

    @property
    def rules(self) -> tuple[SliceRule, ...]:
        return tuple(section.rule(self.slice) for section in self.slice)

    @property
    def recorded_headers(self) -> tuple[str, ...]:
        """Lower-case request headers that slice rules read: the only ones that are stored."""
        return tuple({rule.header: None for rule in self.rules if rule.header})

    @property
    def recorded_places(self) -> tuple[str, ...]:
        """Pointers into request bodies that slice rules read; what stands there is stored beside those headers."""
        return tuple({rule.pointer: None for rule in self.rules if rule.pointer})


class Configuration(Section):
    deployment: DeploymentSection
    gateway: GatewaySection = GatewaySection.model_construct()
    retention: RetentionSection = RetentionSection.model_construct()
    control: ControlSection = ControlSection.model_construct()
    monitor: MonitorSection = MonitorSection.model_construct()
    student: StudentSection = StudentSection.model_construct()
    webhook: tuple[WebhookSection, ...] = ()
    task: tuple[TaskSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        paths = [path for task in self.task for path in task.paths]
        names = [task.name for task in self.task]
        webhooks = [webhook.name for webhook in self.webhook]
        listens = [
            self.gateway.listen,
            self.gateway.operations_listen,
            self.control.listen,
            self.monitor.listen,
        ]
        for what, values in (
            ("task names", names),
            ("task paths", paths),
            ("listen addresses", listens),
            ("webhook names", webhooks),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        for task in self.task:
            remote = task.remote_student
            if remote is not None and _leads_to(remote.url, self.gateway.listen):
                raise ValueError(
                    f"task {task.name!r}: remote_student.url = {remote.url} is gateway.listen itself: every"
                    " shadow request would cause another; name the server of the student"
                )
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
            update={
                "teacher": _with_absolute_files(task.teacher, folder),
                "probe": _with_absolute_probes(task.probe, folder),
                "candidate": tuple(_with_absolute_encoder(one, folder) for one in task.candidate),
            }
        )
        for task in configuration.task
    )
    section = configuration.gateway
    files = {name: getattr(section, name) for name in ("tls_certificate", "tls_key")}
    gateway = section.model_copy(update={name: folder / path for name, path in files.items() if path})
    webhooks = tuple(_with_absolute_secret(webhook, folder) for webhook in configuration.webhook)
    parts = {"deployment": deployment, "gateway": gateway, "task": tasks, "webhook": webhooks}
    return configuration.model_copy(update=parts)


def _with_absolute_probes(probe: ProbeSection | None, folder: Path) -> ProbeSection | None:
    if probe is None or probe.file is None:
        return probe
    return probe.model_copy(update={"file": (folder / probe.file).resolve()})


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
