"""What is wrong, and who must act: pure sentences over the views, each with the command that acts."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.control.certified import void_sentences
from gateway.control.views import StudentView, TaskView
from ledger.stages import SERVING, Stage


class Health(StrEnum):
    """The state of the whole deployment in one word."""

    HEALTHY = "healthy"  # nothing is wrong, nobody has to act
    PAUSED = "paused"  # nothing is wrong, and a proposal waits for its second person
    DEGRADED = "degraded"  # the problems say what is wrong; callers get their answers all the same


@dataclass(frozen=True, slots=True)
class Act:
    """Something for a person to do."""

    task: str
    who: str
    what: str
    command: str


def health_of(problems: list[str], tasks: list[TaskView]) -> Health:
    if problems:
        return Health.DEGRADED
    return Health.PAUSED if any(task.proposal for task in tasks) else Health.HEALTHY


def problems_of(task: TaskView) -> list[str]:
    """What is wrong with the students that answer."""
    found = []
    for student in task.students:
        if student.answers and student.problem:
            found.append(f"{task.task}: {student.artifact} cannot be used: {student.problem}")
        elif student.answers and not student.loaded:
            found.append(f"{task.task}: {student.artifact} is not loaded by the student process")
        if Stage(student.stage) in SERVING and student.certificate is not None:
            sentences = void_sentences(student.certificate)
            found += [f"{task.task}: {student.artifact}: {why}; the teacher serves them" for why in sentences]
    newest = task.newest_answering
    if newest is not None and newest.alarm is not None:
        found.append(f"{task.task}: {newest.artifact} has drifted (alarm {newest.alarm})")
    return found


def acts_of(task: TaskView) -> list[Act]:
    """Who must act, or may; the most pressing first."""
    if task.proposal is not None:
        return [_decide(task)]
    return [*_licence(task), *_review(task), *_distil(task), *_promote(task)]


def _decide(task: TaskView) -> Act:
    proposal = task.proposal or {}
    return Act(
        task.task,
        f"a validator other than {proposal['proposed_by']}",
        f"approve or reject proposal {proposal['id']}: {proposal['artifact']} to {proposal['stage']}"
        f" with share {proposal['share']:g}",
        f'stillgate approve {proposal["id"]} --reason "..."',
    )


def _licence(task: TaskView) -> list[Act]:
    if task.licensed:
        return []
    what = "add a licence section that permits distillation to the task; until then no job can run"
    return [Act(task.task, "the owner", what, "stillgate check")]


def _review(task: TaskView) -> list[Act]:
    if not task.review_overdue:
        return []
    what = (
        f"review bars, slices, people and licence: that was to be done by {task.review_by}; then set"
        " governance.review_by to the next day for it"
    )
    return [Act(task.task, "the owner", what, "stillgate report")]


def _distil(task: TaskView) -> list[Act]:
    """A first student is wanted, or one that has drifted needs a successor and none is being trained."""
    busy = any(job["status"] in ("waiting", "running") for job in task.jobs)
    newest = task.newest_answering
    if busy or not task.licensed or (newest is not None and newest.alarm is None):
        return []
    failed = task.jobs[0] if task.jobs and task.jobs[0]["status"] == "failed" else None
    why = f"; job {failed['id']} failed: {'; '.join(failed['reasons'])}" if failed else ""
    what = "train the first student" if newest is None else f"train a successor of {newest.artifact}"
    return [Act(task.task, "an operator", what + why, f'stillgate distill open {task.task} --reason "..."')]


def _promote(task: TaskView) -> list[Act]:
    newest = task.newest_answering
    if newest is None or newest.stage == Stage.FULL or not may_go_up(newest):
        return []
    stage = Stage.FULL if newest.stage == Stage.CANARY else Stage.CANARY
    return [
        Act(
            task.task,
            "an operator",
            f"may propose {newest.artifact} for {stage}: {'; '.join(newest.reasons)}",
            f'stillgate promote {task.task} --to {stage} --reason "..."',
        )
    ]


def may_go_up(student: StudentView) -> bool:
    """Gate, certificate, files and live pairs allow it."""
    proven = student.gate_outcome == "pass" and student.outcome == "pass"
    return proven and bool(student.thresholds) and student.problem is None
