"""Settings of the deployment and of its processes."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ledger.configuration.fields import Address, Name, Network, Section, Share, WebhookUrl
from ledger.logs import LogFormat


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
    max_model_bytes: int = Field(2**31 - 1, ge=2**20)  # of one file of an artifact; a larger one is refused
    load_seconds: float = Field(120, gt=0)  # of one artifact; after it the process ends and sets it aside
    signing_key: Path | None = None  # PEM, elliptic curve: new students are signed; relative to the file
    public_key: Path | None = None  # PEM: a student without its signature is neither registered nor loaded
