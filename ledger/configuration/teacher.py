"""Settings of a task's teacher, of what it gets, and of what is kept of its exchanges."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ledger.configuration.fields import FieldName, Section, Url
from ledger.redaction import Kind


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
