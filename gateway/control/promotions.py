"""Going up: one person proposes, another approves, and the live pairs have to allow it at both moments."""

from dataclasses import asdict, dataclass
from pathlib import Path

from sqlmodel import Session, col, select

from gateway.control.access import Person
from gateway.control.certified import certificate_view, void_sentences
from gateway.control.errors import Code, Refused
from gateway.control.evidence import live_verdict
from gateway.control.manifests import verified_manifest_of
from gateway.control.proposals import Decision, decide, open_proposal, undecided
from gateway.control.schemas import DEFAULT_CANARY_SHARE, PromotionBody
from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.jobs import JobCause
from ledger.stages import Stage, StageChange, StageConflict, TaskStages, append_stage_change, task_stages
from ledger.tables import AlarmRow, JobRow, ProposalRow, StudentRow


@dataclass(frozen=True, slots=True)
class Step:
    """A way up that the present stage allows."""

    artifact: str
    stage: Stage
    share: float


def propose(
    session: Session, configuration: Configuration, task: TaskSection, body: PromotionBody, person: Person
) -> ProposalRow | Refused:
    """Ask for a promotion; nothing changes until somebody else approves it."""
    refused = _moved(session, task.name, body.expected_revision) or _waiting(session, task.name)
    if refused is not None:
        return refused
    step = step_up(task.name, task_stages(session, task.name), body)
    if isinstance(step, Refused):
        return step
    refused = _unproven(session, configuration, task, step.artifact)
    return refused or _append_proposal(session, task.name, step, body, person)


def _append_proposal(
    session: Session, task: str, step: Step, body: PromotionBody, person: Person
) -> ProposalRow:
    proposal = ProposalRow(
        task=task,
        artifact=step.artifact,
        stage=step.stage,
        share=step.share,
        expected_revision=body.expected_revision,
        proposed_by=person.name,
        proposed_at_us=now_us(),
        reason=body.reason,
    )
    session.add(proposal)
    session.flush()
    details = proposal.model_dump(exclude={"decision", "decided_by", "decided_at_us"})
    append_audit(session, person.name, "promotion_proposed", details)
    return proposal


def _waiting(session: Session, task: str) -> Refused | None:
    waiting = open_proposal(session, task)
    if waiting is None:
        return None
    return Refused(Code.CONFLICT, f"proposal {waiting.id} of task {task} waits for a decision already")


def step_up(task: str, stages: TaskStages, body: PromotionBody) -> Step | Refused:
    """Which student goes where; one stage at a time, and only a student that answers already."""
    artifact = body.artifact or _next_in_line(stages)
    if artifact is None or artifact not in stages.answering:
        return Refused(
            Code.CONFLICT,
            f"task {task} has no student {artifact or 'that answers in shadow'} to promote;"
            " `stillgate status` shows which there are",
        )
    stage, share = stages.stages[artifact]
    if Stage(body.stage) is Stage.FULL:
        if stage is not Stage.CANARY:
            return Refused(Code.CONFLICT, f"{artifact} is in {stage}; full comes after canary")
        return Step(artifact, Stage.FULL, 1.0)
    wanted = DEFAULT_CANARY_SHARE if body.share is None else body.share
    if stage is Stage.FULL or share >= wanted:
        return Refused(
            Code.CONFLICT,
            f"{artifact} is in {stage} with share {share:g} already, which is no less than {wanted:g};"
            " `stillgate undo` goes down",
        )
    return Step(artifact, Stage.CANARY, wanted)


def approve(
    session: Session, configuration: Configuration, proposal_id: int, person: Person, reason: str
) -> ProposalRow | Refused:
    """Make a proposed promotion true, in one transaction with every check that it needs."""
    proposal = undecided(session, proposal_id)
    if isinstance(proposal, Refused):
        return proposal
    task = configuration.task_named(proposal.task)
    if task is None:
        return Refused(Code.UNKNOWN, f"the configuration has no task {proposal.task!r} any more")
    refused = (
        _same_person(session, task, proposal, person)
        or _moved(session, task.name, proposal.expected_revision)
        or _unproven(session, configuration, task, proposal.artifact)
    )
    if refused is not None:
        return refused
    _apply(session, configuration, task, proposal, person)
    decide(session, proposal, Decision.APPROVED, person.name, reason)
    return proposal


def changes_of(
    proposal: ProposalRow, stages: TaskStages, approved_by: str, evidence: dict[str, object]
) -> tuple[StageChange, ...]:
    """Others make room first, since at most one student serves: back to shadow, or retired by a full one."""
    full = proposal.stage == Stage.FULL
    leaving = [
        artifact
        for artifact in stages.answering
        if artifact != proposal.artifact
        and (full or (stages.serving is not None and artifact == stages.serving[0]))
    ]
    room = Stage.RETIRED if full else Stage.SHADOW
    reason = f"{proposal.artifact} goes to {proposal.stage}"
    actor = proposal.proposed_by
    return (
        *(StageChange(proposal.task, other, room, 0.0, actor, reason, approved_by) for other in leaving),
        StageChange(
            proposal.task,
            proposal.artifact,
            Stage(proposal.stage),
            proposal.share,
            actor,
            proposal.reason,
            approved_by,
            evidence,
        ),
    )


def _apply(
    session: Session, configuration: Configuration, task: TaskSection, proposal: ProposalRow, person: Person
) -> None:
    verdict = live_verdict(session, configuration, task, proposal.artifact)
    newest = session.exec(select(AlarmRow.id).order_by(col(AlarmRow.id).desc()).limit(1)).first()
    evidence: dict[str, object] = {
        "proposal": proposal.id,
        "reasons": list(verdict.reasons),
        "slices": [asdict(line) for line in verdict.slices],
        "alarms_seen": newest or 0,  # a later alarm takes the student down again
    }
    changes = changes_of(proposal, task_stages(session, task.name), person.name, evidence)
    for offset, change in enumerate(changes):
        append_stage_change(session, change, proposal.expected_revision + offset)


def _same_person(
    session: Session, task: TaskSection, proposal: ProposalRow, person: Person
) -> Refused | None:
    """Neither who proposed it nor who had the student trained may approve it."""
    if person.name == proposal.proposed_by:
        why = f"{person.name} proposed it"
    elif person.name in trainers(session, task, proposal.artifact):
        why = f"{person.name} had {proposal.artifact} trained"
    else:
        return None
    return Refused(Code.SECOND_PERSON, f"proposal {proposal.id} needs a second person to approve it: {why}")


def trainers(session: Session, task: TaskSection, artifact: str) -> set[str]:
    """Who stands behind the job that trained a student; an automatic one has the task's driver behind it."""
    student = session.get(StudentRow, artifact)
    job = session.get(JobRow, student.job_id) if student else None
    if job is None:
        return set()
    return {job.opened_by} | ({task.driver} if job.cause != JobCause.BY_HAND else set())


def _unproven(
    session: Session, configuration: Configuration, task: TaskSection, artifact: str
) -> Refused | None:
    """Why the student may not go up now: its registration, its files, its certificate or its live pairs."""
    student = session.get(StudentRow, artifact)
    if student is None or student.task != task.name:
        return Refused(Code.UNKNOWN, f"task {task.name} has no registered student {artifact!r}")
    flaw = _flaw(session, configuration.deployment.data_directory, task, student)
    if flaw is not None:
        return Refused(Code.VERDICT, f"{artifact} may not serve: {flaw}", (flaw,))
    verdict = live_verdict(session, configuration, task, artifact)
    if verdict.outcome == "pass":
        return None
    sentence = f"the live verdict on {artifact} is {verdict.outcome}: {'; '.join(verdict.reasons)}"
    return Refused(Code.VERDICT, sentence, verdict.reasons)


def _flaw(session: Session, data_directory: Path, task: TaskSection, student: StudentRow) -> str | None:
    if student.gate_outcome != "pass":
        return f"the outcome of its gate is {student.gate_outcome}"
    manifest = verified_manifest_of(data_directory, student)
    if isinstance(manifest, str):
        return manifest
    if not manifest.certificate.thresholds:
        return "its certificate has no threshold, so it could answer nothing; the teacher would serve it all"
    view = certificate_view(session, task, student.artifact, manifest)
    if not view["thresholds"]:
        return f"{'; '.join(void_sentences(view))}; a new student brings a new certificate"
    return None


def _next_in_line(stages: TaskStages) -> str | None:
    """The student in canary, else the newest in shadow."""
    for wanted in (Stage.CANARY, Stage.SHADOW):
        found = [artifact for artifact, (stage, _) in stages.stages.items() if stage is wanted]
        if found:
            return found[-1]
    return None


def _moved(session: Session, task: str, expected: int) -> Refused | None:
    found = task_stages(session, task).revision
    return None if found == expected else Refused(Code.CONFLICT, str(StageConflict(task, expected, found)))
