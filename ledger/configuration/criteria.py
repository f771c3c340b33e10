"""What the gate judges beside fidelity: flips, calibration, accuracy, latency, fairness, robustness, behaviour."""

from datetime import date
from pathlib import Path

from pydantic import Field, model_validator

from ledger.configuration.fields import Name, OpenShare, Section, Share


class RobustnessSection(Section):
    """Least share of answers that stay the same when a text is changed in this way; null: told, not judged."""

    typos: OpenShare | None = None  # neighbouring letters swapped, in one word of four
    case: OpenShare | None = None  # in capitals
    lookalikes: OpenShare | None = None  # letters of other scripts that look the same
    whitespace: OpenShare | None = None  # filling around and between words
    negation: OpenShare | None = None  # a sentence beside the point that denies something
    injection: OpenShare | None = None  # an order to answer another class


class CriteriaSection(Section):
    """Bars of the locked rows beside the bars of fidelity; null: not judged, which is never a pass."""

    max_negative_flips: OpenShare | None = (
        None  # of the rows: the incumbent agrees with the teacher, the candidate not
    )
    max_calibration_error: OpenShare | None = None  # against the teacher, after temperature
    max_accuracy_loss: OpenShare | None = None  # of labelled rows, against the incumbent's accuracy
    max_latency_seconds: float | None = Field(
        None, gt=0
    )  # 95th percentile, each of the top patterns of traffic
    max_quantized_flips: OpenShare | None = (
        0.02  # of the rows, between a quantized artifact and what it was made from
    )
    robustness: RobustnessSection = RobustnessSection.model_construct()
    behaviour_file: Path | None = None  # JSONL of tests; relative to the configuration file
    min_behaviour: Share = 1.0  # least share of the tests of each tag that hold


class FairnessSection(Section):
    """Which groups must not be treated worse than the rest; or who says that there are none, and why."""

    protected: tuple[Name, ...] = ()  # slice rules whose values are the groups
    max_fidelity_gap: OpenShare = 0.1  # of a group below the rest
    max_accuracy_gap: OpenShare | None = None  # where verified labels exist; null: told, not judged
    max_calibration_gap: OpenShare | None = None
    none_because: str | None = Field(None, min_length=1)  # a reason, in a sentence
    declared_by: str | None = Field(None, min_length=1)
    declared_on: date | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "FairnessSection":
        statement = (self.none_because, self.declared_by, self.declared_on)
        if self.protected and self.none_because is not None:
            raise ValueError("protected names groups and none_because says that there are none; remove one")
        if not self.protected and None in statement:
            raise ValueError(
                "name the slice rules of protected groups in `protected`; or, if there are none, give"
                " none_because, declared_by and declared_on"
            )
        return self
