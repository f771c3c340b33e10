"""Settings that name people: who may permit distillation, and who answers for a task."""

from datetime import UTC, date, datetime, time, timedelta

from pydantic import Field

from ledger.configuration.fields import Section


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
