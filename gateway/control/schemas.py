"""Bodies that the admin API accepts; an unknown key in them is an error."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ledger.keys import Role

MAX_LABELS = 10_000  # of one request
DEFAULT_CANARY_SHARE = 0.1

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
PersonName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,79}$")]


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


class KeyBody(Body):
    person: PersonName
    role: Role
