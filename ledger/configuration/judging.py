"""Settings by which students are made and judged: candidates, trigger, gate, live verdict, fallback."""

from typing import Literal

from pydantic import Field, model_validator

from ledger.configuration.fields import OpenShare, Section, Share
from ledger.harms import HARMS, Harm


class CandidateSection(Section):
    """A rung of the ladder. Rungs are listed from small to large.

    linear: TF-IDF over tokens, the baseline; static: a bag of token vectors; frozen: a whole encoder as it is, and a
    trained head; transformer: some or all of an encoder's layers, trained; custom: a module of the user's own.
    """

    kind: Literal["linear", "static", "frozen", "transformer", "custom"]
    encoder: str = Field(min_length=1)  # a folder with weights and tokenizer.json, or a hub name
    layers: tuple[
        int, ...
    ] = ()  # transformer: which of the encoder's layers to start from; none: first and last
    factory: str | None = Field(
        None, pattern=r"^[\w.]+:\w+$"
    )  # custom: module:function that makes the student
    max_tokens: int = Field(64, ge=8, le=8192)
    epochs: int = Field(6, ge=1, le=100)
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    batch_rows: int = Field(32, ge=2, le=4096)
    budget_seconds: float = Field(600, gt=0)  # training stops here with its best state so far
    int8: bool = (
        True  # once it has passed, its INT8 files are made and judged too; they never stand in its way
    )

    @model_validator(mode="after")
    def _factory_of_custom(self) -> "CandidateSection":
        if (self.kind == "custom") != (self.factory is not None):
            raise ValueError('kind = "custom" needs factory = "module:function", and no other kind has one')
        return self


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
    looks: int | None = Field(None, ge=1, le=20)  # at one locked gate; null: as many as candidates
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
