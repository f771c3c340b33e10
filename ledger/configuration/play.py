"""What a student is for, with the numbers that make it a success; and who signed what the gate asks for."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from ledger.configuration.fields import OpenShare, Section, Share


class CostPlay(Section):
    """Cheaper answers: quality stays above a floor, and savings pay the work back in time."""

    kind: Literal["cost"]
    min_fidelity: OpenShare  # proven on the locked rows, overall
    build_cost: float = Field(ge=0)  # of making this student, in the currency of teacher.call_cost
    serving_cost_per_day: float = Field(ge=0)
    payback_days: float = Field(gt=0)


class LatencyPlay(Section):
    """Faster answers, on each of the top patterns of traffic."""

    kind: Literal["latency"]
    min_fidelity: OpenShare
    p95_seconds: float = Field(gt=0)


class StabilityPlay(Section):
    """A model of one's own that could replace the provider."""

    kind: Literal["stability"]
    min_fidelity: OpenShare
    min_served: OpenShare  # of requests, where the certificate holds


class SpecializationPlay(Section):
    """Better than the teacher on verified labels of the domain."""

    kind: Literal["specialization"]
    min_gain: Share = 0.0  # in accuracy; what is proven has to lie above


PlaySection = Annotated[
    CostPlay | LatencyPlay | StabilityPlay | SpecializationPlay, Field(discriminator="kind")
]


class SignatureSection(Section):
    """The sponsor's signature under the gate: for the terms as they are, or for whatever the file asks for."""

    policy: Literal["standing", "terms"]  # standing: any terms, also of automatic jobs; terms: these alone
    signed_by: str = Field(min_length=1)  # has to be governance.sponsor
    signed_on: date
    driver: str | None = Field(None, min_length=1)  # of automatic jobs; null: governance.driver
    terms: str | None = Field(None, pattern=r"^[0-9a-f]{12,64}$")  # first digits of the digest that is signed
