"""Bodies that the admin API accepts; an unknown key in them is an error."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ledger.exchange import parse_exchange_id
from ledger.keys import Role
from ledger.labels import LEAST_PROBABILITY

MAX_LABELS = 10_000  # of one request
MAX_EXCHANGES = 10_000  # of one erasure
DEFAULT_CANARY_SHARE = 0.1

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
PersonName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,79}$")]


def _exchange_id(text: str) -> str:
    if parse_exchange_id(text) is None:
        raise ValueError(
            f"{text[:100]!r} is no exchange id such as g0-17, the reply header x-stillgate-exchange"
        )
    return text


# HTTP strips white space too
SubjectValue = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_192)]
ExchangeId = Annotated[str, AfterValidator(_exchange_id)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReasonBody(Body):
    reason: Reason


class PromotionBody(Body):
    stage: Literal["canary", "full"]
    expected_revision: int = Field(ge=0)
    reason: Reason
    artifact: str | None = None  # without it: the student in canary, else the newest in shadow
    share: float | None = Field(None, gt=0, lt=1)  # of canary; full is always 1


class LabelsBody(Body):
    # each entry is checked by itself, so that one bad label does not refuse the others
    labels: list[dict[str, Any]] = Field(max_length=MAX_LABELS)


class LabelBody(Body):
    exchange_id: str = Field(min_length=1, max_length=100)
    label: str = Field(min_length=1, max_length=500)
    input_index: int = Field(0, ge=0, lt=100_000)
    source: str | None = Field(None, min_length=1, max_length=100)  # without it: the person who sends
    # with which the exchange was chosen for labelling; without it: as its last label said, else 1
    probability: float | None = Field(None, ge=LEAST_PROBABILITY, le=1)


class ErasureBody(Body):
    """Exactly one of the two."""

    subject: SubjectValue | None = None  # the header's value, as callers send it
    exchange_ids: tuple[ExchangeId, ...] = Field((), max_length=MAX_EXCHANGES)
    dry_run: bool = False  # count what would be erased now

    @model_validator(mode="after")
    def _one_of_two(self) -> "ErasureBody":
        if (self.subject is None) != bool(self.exchange_ids):
            raise ValueError("give exactly one of subject and exchange_ids")
        return self


class KeyBody(Body):
    person: PersonName
    role: Role
