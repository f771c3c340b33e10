"""Settings of who is asked beside the caller's path: shadow, remote student, probes, further calls."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ledger.configuration.fields import FieldName, Section, Share, Url


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
