"""Every table, declared once: those of a gateway's exchange file, and those of the control file.

Lists and mappings are stored as JSON text, times as microseconds since the epoch (UTC).
"""

from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Column, Field, SQLModel

exchange_metadata = MetaData()
control_metadata = MetaData()


class ExchangeFileTable(SQLModel, registry=registry(metadata=exchange_metadata)):
    metadata: ClassVar[MetaData] = exchange_metadata


class ControlFileTable(SQLModel, registry=registry(metadata=control_metadata)):
    metadata: ClassVar[MetaData] = control_metadata


# --- one file for each gateway process, written by it alone ------------------------------------------


class ExchangeRow(ExchangeFileTable, table=True):
    """ledger.exchange.Exchange, column by column."""

    __tablename__ = "exchange"
    __table_args__ = (Index("exchange_of_subject", "subject", sqlite_where=text("subject IS NOT NULL")),)
    sequence: int = Field(primary_key=True)
    exchange_id: str
    task: str
    started_at_us: int
    duration_us: int
    outcome: str
    status: int
    served_by: str
    arm: str
    artifact: str | None
    stage_revision: int
    teacher_epoch: str
    inclusion: float
    measured: bool
    fallback: str | None
    unpaired: str | None
    attributes: str
    inputs: str
    input_words: str
    input_digests: str
    teacher: str
    subject: str | None = None


class AnswerRow(ExchangeFileTable, table=True):
    """ledger.exchange.Answer; `number` is the order of arrival, which the monitor's cursor follows."""

    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("exchange_sequence", "responder"),)
    number: int | None = Field(default=None, primary_key=True)
    exchange_sequence: int
    responder: str
    origin: str
    answered_at_us: int
    latency_us: int
    observations: str
    inclusion: float = Field(default=1.0, sa_column_kwargs={"server_default": "1.0"})
    spots: str = Field(default="[]", sa_column_kwargs={"server_default": "[]"})  # of its inputs, or none


class ProbeReplyRow(ExchangeFileTable, table=True):
    """ledger.probe_replies.ProbeReply; `number` is the order of arrival, which the monitor's cursor follows."""

    __tablename__ = "probe_reply"
    __table_args__ = (Index("probe_reply_of_set", "task", "probe_set"),)
    number: int | None = Field(default=None, primary_key=True)
    task: str
    probe_set: str
    probe: int
    pass_at_us: int
    asked_at_us: int
    latency_us: int
    version: str | None
    fingerprint: str | None
    failure: str | None
    observations: str


class SequenceBlock(ExchangeFileTable, table=True):
    """The sequence numbers of one run of the gateway; one still open at start belongs to a killed run."""

    __tablename__ = "sequence_block"
    first: int = Field(primary_key=True)
    opened_at_us: int
    closed_at_us: int | None = None
    started: int | None = None  # requests that took a number, known once closed


class Loss(ExchangeFileTable, table=True):
    """Started requests of one block that never became exchanges, by reason."""

    __tablename__ = "loss"
    __table_args__ = (UniqueConstraint("block_first", "reason"),)
    id: int | None = Field(default=None, primary_key=True)
    block_first: int
    reason: str
    count: int


class Removal(ExchangeFileTable, table=True):
    """Exchanges of one block that were written and later removed, by reason: they still count as recorded."""

    __tablename__ = "removal"
    block_first: int = Field(primary_key=True)
    reason: str = Field(primary_key=True)
    count: int


class ErasureReport(ExchangeFileTable, table=True):
    """How far the writer of this file has got with one erasure: ledger.erasures.Erasure, by its token."""

    __tablename__ = "erasure_report"
    token: str = Field(primary_key=True)
    exchanges: int = 0
    ended_at_us: int | None = None  # nothing of it is left in this file
    cleared_at_us: int | None = None  # nor in erased_exchange


class ErasedExchange(ExchangeFileTable, table=True):
    """What was in an erased exchange, until the folders of jobs have been looked through for it."""

    __tablename__ = "erased_exchange"
    number: int | None = Field(default=None, primary_key=True)
    token: str
    started_at_us: int
    input_digests: str


# --- the control file, short transactions of several processes ----------------------------------------


class StudentRow(ControlFileTable, table=True):
    """A registered artifact: what the registry folder of the same name holds, and where it came from."""

    __tablename__ = "student"
    artifact: str = Field(primary_key=True)
    task: str = Field(index=True)
    job_id: int
    parent: str | None  # the incumbent when it was trained
    registered_at_us: int
    manifest_digest: str
    kind: str
    gate_outcome: str
    quantized_from: str | None = None  # an artifact of the same job, whose weights these are in fewer bits


class StageRow(ControlFileTable, table=True):
    """One appended stage change; the stage of an artifact is the last one."""

    __tablename__ = "stage_change"
    __table_args__ = (UniqueConstraint("task", "revision"),)
    id: int | None = Field(default=None, primary_key=True)
    task: str
    revision: int
    artifact: str
    stage: str
    share: float
    at_us: int
    actor: str
    approved_by: str | None
    reason: str
    evidence: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class ProposalRow(ControlFileTable, table=True):
    """A promotion that one person asked for and another has to approve."""

    __tablename__ = "proposal"
    __table_args__ = (
        CheckConstraint(
            "decision IS NULL OR decision != 'approved' OR decided_by != proposed_by", name="two_persons"
        ),
        Index("one_open_proposal", "task", unique=True, sqlite_where=text("decision IS NULL")),
    )
    id: int | None = Field(default=None, primary_key=True)
    task: str
    artifact: str
    stage: str
    share: float
    expected_revision: int
    proposed_by: str
    proposed_at_us: int
    reason: str
    decision: str | None = None  # approved, rejected, superseded
    decided_by: str | None = None
    decided_at_us: int | None = None


class JobRow(ControlFileTable, table=True):
    """A distillation job; at most one of a task is open."""

    __tablename__ = "job"
    __table_args__ = (
        Index("one_open_job", "task", unique=True, sqlite_where=text("status IN ('waiting', 'running')")),
    )
    id: int | None = Field(default=None, primary_key=True)
    task: str
    cause: str  # ledger.jobs.JobCause
    alarm_id: int | None = None
    opened_by: str
    opened_at_us: int
    status: str = "waiting"
    phase: str = ""  # what the worker is doing, for people
    progress: float = 0.0  # 0 to 1 within the phase
    attempts: int = 0
    claimed_by: str | None = None
    heartbeat_us: int | None = None
    finished_at_us: int | None = None
    reasons: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    artifact: str | None = None
    conclusion: dict[str, Any] | None = (
        Field(  # distill.gating.outcome: ship, iterate or kill, with what it takes
            default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
        )
    )


class AlarmRow(ControlFileTable, table=True):
    """A detector fired once; the receipt holds all that is needed to compute it again."""

    __tablename__ = "alarm"
    id: int | None = Field(default=None, primary_key=True)
    task: str = Field(index=True)
    slice: str
    artifact: str
    at_us: int
    decision: str  # job_opened, or why none was
    job_id: int | None = None
    receipt: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    cause: dict[str, Any] | None = Field(  # monitor.cause: what moved; nothing of it replays
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    harm: str = Field(default="disagreement", sa_column_kwargs={"server_default": "disagreement"})


class LabelRow(ControlFileTable, table=True):
    """A true label as it arrived; a later one for the same input corrects it."""

    __tablename__ = "label"
    __table_args__ = (Index("label_of_input", "exchange_id", "input_index"),)
    number: int | None = Field(default=None, primary_key=True)
    exchange_id: str
    input_index: int
    label: str
    arrived_at_us: int
    source: str
    probability: float = Field(default=1.0, sa_column_kwargs={"server_default": "1.0"})  # of being chosen


class ErasureRow(ControlFileTable, table=True):
    """One erasure that a person asked for: of a subject, by pseudonym, or of single exchanges."""

    __tablename__ = "erasure"
    id: int | None = Field(default=None, primary_key=True)
    token: str = Field(unique=True)
    task: str
    subject: str | None
    exchange_ids: list[str] = Field(sa_column=Column(JSON, nullable=False))
    opened_by: str
    opened_at_us: int
    step: str
    exchanges: int | None = None  # that were erased, once the record is done
    not_reached: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    done_at_us: int | None = None


class ErasedRows(ControlFileTable, table=True):
    """How many of the rows that one job read were erased by one erasure."""

    __tablename__ = "erased_rows"
    erasure_id: int = Field(primary_key=True)
    job_id: int = Field(primary_key=True)
    training_rows: int
    gate_rows: int
    is_bound: bool  # the job kept no list of its rows: at most so many


class SumsRow(ControlFileTable, table=True):
    """Merged sums of one slice and one student in one window."""

    __tablename__ = "slice_sums"
    task: str = Field(primary_key=True)
    artifact: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)
    window_start_us: int = Field(primary_key=True)
    sums: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class SliceRuleRow(ControlFileTable, table=True):
    """A slice rule that was ever declared, and how far the monitor has folded it: monitor.declared_rules."""

    __tablename__ = "slice_rule"
    task: str = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    definition: str  # SliceRule.definition
    phase: str
    declared_at_us: int
    since_us: int | None = None  # start of the first exchange that it says something of


class DetectorRow(ControlFileTable, table=True):
    """State of one detector: one harm in one slice of one student."""

    __tablename__ = "detector"
    task: str = Field(primary_key=True)
    artifact: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)
    harm: str = Field(default="disagreement", primary_key=True)  # ledger.harms
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class LabelWatchRow(ControlFileTable, table=True):
    """What is kept of the labels of one slice of one student: monitor.label_watch."""

    __tablename__ = "label_watch"
    task: str = Field(primary_key=True)
    artifact: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class CertifiedSliceRow(ControlFileTable, table=True):
    """What became of one line of a student's certificate since it was issued; kept by the monitor."""

    __tablename__ = "certified_slice"
    task: str = Field(primary_key=True)
    artifact: str = Field(primary_key=True)
    slice: str = Field(primary_key=True)  # or pool
    certified_at_us: int  # when it was issued or last renewed
    voided_at_us: int | None = None
    cause: str | None = None  # ledger.certificates.VoidCause
    reason: str | None = None
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # evidence against it and for it


class ProbeWatchRow(ControlFileTable, table=True):
    """What the monitor knows of a task's teacher from its probes: monitor.probe_watch.ProbeWatch."""

    __tablename__ = "probe_watch"
    task: str = Field(primary_key=True)
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class TeacherChangeRow(ControlFileTable, table=True):
    """The teacher changed once, as its probes showed."""

    __tablename__ = "teacher_change"
    id: int | None = Field(default=None, primary_key=True)
    task: str = Field(index=True)
    at_us: int  # when it was seen
    kind: str  # ledger.teacher_changes.ChangeKind
    voids: bool  # what was learnt and certified before it
    before: str | None
    after: str | None
    probe_set: str
    evidence: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class CursorRow(ControlFileTable, table=True):
    """How far a reader has got in one append-only source."""

    __tablename__ = "cursor"
    reader: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    position: int


class HeartbeatRow(ControlFileTable, table=True):
    """The last sign of life of a process, with what it says of itself."""

    __tablename__ = "heartbeat"
    process: str = Field(primary_key=True)
    at_us: int
    report: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class KeyRow(ControlFileTable, table=True):
    """An admin API key of one named person: its digest, never the key."""

    __tablename__ = "api_key"
    id: int | None = Field(default=None, primary_key=True)
    person: str
    role: str
    digest: str = Field(unique=True)
    created_at_us: int
    revoked_at_us: int | None = None


class AuditRow(ControlFileTable, table=True):
    """Append-only; each digest covers the one before it."""

    __tablename__ = "audit"
    number: int | None = Field(default=None, primary_key=True)
    at_us: int
    actor: str
    action: str
    details: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    digest: str
