"""Train one student in a folder: killed at any step and called again, it ends with the same weights.

On the processor, for one seed and one thread count (another count adds in another order).
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn
from transformers import TrainerState

from distill.training import checkpoints
from distill.training.course import Course, Evaluation, Progress, best_of, cut_of, has_converged, history_of
from distill.training.optimize import optimisation
from distill.training.settings import TrainSettings
from distill.training.trainer import SPENT_FILE, STATE_FILE, Learner, StudentTrainer
from distill.training.training_rows import TrainingRows, steps_per_epoch
from distill.training.untrainable import Untrainable, untrainable

PLAN_FILE, FITTED_FILE = "plan.json", "fitted.json"
BUDGET_SHARE = 0.9  # of the time for steps; evaluations take the rest
LEAST_EVALUATIONS = 4  # of a run, also where it is not an epoch long


class StopReason(StrEnum):
    """Why training ended; the state is the best one seen, whatever the reason."""

    COMPLETED = "completed"  # every epoch was run
    CONVERGED = "converged"  # the dev likelihood did not improve for `patience` evaluations
    BUDGET = "budget"  # the time was used up, or was known to suffice for fewer steps
    DIVERGED = "diverged"  # the loss stopped being a number


@dataclass(frozen=True, slots=True)
class Fitted:
    """A student with the best weights seen, and how they were reached.

    The time decides over a run's bits in two places, and both are kept: `planned_steps` are fewer than those of all
    epochs where the time was known not to suffice, and `cut_step` is where time was up nevertheless. A run that is
    resumed takes both from its folder; another run of the same rows on another day may have others.
    """

    student: nn.Module
    history: tuple[Evaluation, ...]
    best_step: int
    stop: StopReason
    planned_steps: int
    all_steps: int
    cut_step: int | None
    resumed: int  # how often it was called again after it was killed
    seconds: float  # all calls together, without what was lost
    threads: int
    digest: str  # SHA-256 of the weights

    @property
    def best(self) -> Evaluation | None:
        return next((one for one in self.history if one.step == self.best_step), None)

    def lineage(self) -> dict[str, object]:
        """What a reader needs in order to make these weights again, as JSON."""
        return {
            "stop": self.stop,
            "best_step": self.best_step,
            "planned_steps": self.planned_steps,
            "all_steps": self.all_steps,
            "cut_step": self.cut_step,
            "resumed": self.resumed,
            "threads": self.threads,
            "weights": self.digest,
        }


def train(
    student: nn.Module,
    train_rows: TrainingRows,
    dev_rows: TrainingRows,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
    seconds_per_step: float | None = None,
) -> Fitted | Untrainable:
    """Train `student` in place and leave the weights with the best dev likelihood in it.

    `seconds_per_step` are those of a timed trial: the run is then planned to fit its budget, its learning rate
    included. Raises CheckpointNotSaved.
    """
    refusal = untrainable(train_rows, dev_rows)
    if refusal is not None:
        return refusal
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    first = checkpoints.learned(student)
    course, resumed = _course(student, train_rows, dev_rows, settings, folder, seconds_per_step)
    if not (folder / FITTED_FILE).is_file():
        _run(student, course, progress, resumed)
    return _fitted(student, course, first)


def _course(
    student: nn.Module,
    train_rows: TrainingRows,
    dev_rows: TrainingRows,
    settings: TrainSettings,
    folder: Path,
    seconds_per_step: float | None,
) -> tuple[Course, int]:
    """The run that the folder holds, or a new one, and how often it was resumed."""
    ranks = PartialState(cpu=True)
    an_epoch = steps_per_epoch(len(train_rows), settings.batch_rows)
    if ranks.is_main_process:
        run = {
            "settings": repr(replace(settings, save_seconds=0.0)),
            "train": train_rows.digest(),
            "dev": dev_rows.digest(),
            "first_weights": checkpoints.weights_digest(student),
            "processes": str(ranks.num_processes),
        }
        checkpoints.prepare_folder(folder, run)
        _keep_plan(folder, _steps_in_budget(an_epoch * settings.epochs, settings, seconds_per_step))
    ranks.wait_for_everyone()
    plan = checkpoints.read_json(folder / PLAN_FILE)
    a_quarter = -(-plan["steps"] // LEAST_EVALUATIONS)
    every = max(1, min(an_epoch // settings.evaluations_per_epoch, a_quarter))
    deadline = time.monotonic() + settings.budget_seconds - _spent(folder)
    return Course(train_rows, dev_rows, settings, plan["steps"], every, folder, deadline), plan["calls"] - 1


def _keep_plan(folder: Path, steps: int) -> None:
    """Count this call. The steps of the first one stand, whatever the pace is today."""
    path = folder / PLAN_FILE
    plan = checkpoints.read_json(path) if path.is_file() else {"steps": steps, "calls": 0}
    checkpoints.write_json(path, {**plan, "calls": plan["calls"] + 1})


def _steps_in_budget(steps: int, settings: TrainSettings, seconds_per_step: float | None) -> int:
    if seconds_per_step is None:
        return steps
    return max(1, min(steps, int(BUDGET_SHARE * settings.budget_seconds / seconds_per_step)))


def _run(student: nn.Module, course: Course, progress: Progress | None, resumed: int) -> None:
    """From the newest checkpoint, if there is one, to the end; then say in FITTED_FILE how it went."""
    learner = Learner(student, _feature_width(course.train_rows))
    trainer = StudentTrainer(learner, course, optimisation(learner, course.settings, course.steps), progress)
    newest = checkpoints.last_checkpoint(course.folder)
    if newest is not None:
        trainer.take_up(newest)
    if newest is None or not _is_over(newest, course):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    else:
        trainer.state = TrainerState.load_from_json(str(newest / STATE_FILE))
    if PartialState().is_main_process:
        document = {
            "history": [asdict(one) for one in history_of(trainer.state)],
            "diverged": trainer.diverged,
            "resumed": resumed,
            "seconds": trainer.spent(),
        }
        checkpoints.write_json(course.folder / FITTED_FILE, document)
        checkpoints.forget_best_before(course.folder, best_of(history_of(trainer.state)))
        for checkpoint in course.folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    PartialState().wait_for_everyone()


def _is_over(checkpoint: Path, course: Course) -> bool:
    """Whether the run had ended when this was saved: one step more would be another run."""
    return has_converged(history_of(TrainerState.load_from_json(str(checkpoint / STATE_FILE))), course)


def _fitted(student: nn.Module, course: Course, first: dict[str, torch.Tensor]) -> Fitted:
    document = checkpoints.read_json(course.folder / FITTED_FILE)
    history = [Evaluation(**one) for one in document["history"]]
    best_step = best_of(history)
    student.load_state_dict(first, strict=False)
    if best_step:
        checkpoints.load_best(course.folder, best_step, student)
    student.eval()
    settings, cut = course.settings, cut_of(course.folder)
    all_steps = settings.epochs * steps_per_epoch(len(course.train_rows), settings.batch_rows)
    return Fitted(
        student=student,
        history=tuple(history),
        best_step=best_step,
        stop=_stop(document["diverged"], history, course, cut, all_steps),
        planned_steps=course.steps,
        all_steps=all_steps,
        cut_step=cut,
        resumed=document["resumed"],
        seconds=document["seconds"],
        threads=settings.threads,
        digest=checkpoints.weights_digest(student),
    )


def _stop(
    diverged: bool, history: Sequence[Evaluation], course: Course, cut: int | None, all_steps: int
) -> StopReason:
    if diverged:
        return StopReason.DIVERGED
    if has_converged(history, course) and history[-1].step != course.steps:
        return StopReason.CONVERGED
    return StopReason.BUDGET if cut is not None or course.steps < all_steps else StopReason.COMPLETED


def _spent(folder: Path) -> float:
    """Seconds of training that the newest checkpoint holds."""
    newest = checkpoints.last_checkpoint(folder)
    return float(checkpoints.read_json(newest / SPENT_FILE)["seconds"]) if newest else 0.0


def _feature_width(rows: TrainingRows) -> int | None:
    return None if rows.features is None else rows.features.shape[1]
