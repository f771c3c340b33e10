"""Hugging Face's Trainer with our loss, our batches and our checkpoints.

On one process or several: each batch is divided among the ranks, so that a run takes the same steps over the same
rows however many there are. Deterministic on the processor for one seed and one thread count.
"""

import math
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from distill.training import checkpoints
from distill.training.calibrate import fit_temperature
from distill.training.course import Course, Evaluation, Progress, best_of, cut_of, has_converged, history_of
from distill.training.losses import feature_losses, row_losses
from distill.training.optimize import Optimisation
from distill.training.pooled_student import PooledStudent
from distill.training.predict import predict_logits
from distill.training.training_rows import Batch, Batches, collate, targets_of

SPENT_FILE = "spent.json"  # of a checkpoint: seconds so far, and the losses since the last evaluation
STATE_FILE = "trainer_state.json"
_SMALLEST = 1e-12  # sum of weights: a batch may be of rows without any


class Learner(nn.Module):
    """The student, and where its teacher shows its embeddings a projection to their width, which is not exported."""

    def __init__(self, student: nn.Module, width: int | None) -> None:
        super().__init__()
        self.student = student
        self.projection: nn.Module | None = None
        if width is not None:
            if not isinstance(student, PooledStudent):
                raise ValueError(
                    "embeddings of the teacher need a student with an embedding: a PooledStudent"
                )
            with torch.inference_mode():
                own = student.eval().pooled(torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2)).shape[1]
            self.projection = nn.Linear(own, width, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits [batch, classes], and the projected embedding [batch, teacher's width] where there is one."""
        if self.projection is None:
            return self.student(input_ids, attention_mask), None
        assert isinstance(self.student, PooledStudent)
        pooled = self.student.pooled(input_ids, attention_mask)
        return self.student.head(pooled), self.projection(pooled)


class StudentTrainer(Trainer):
    """One run. `diverged`, `out_of_time` and the history in `state` say how it went."""

    def __init__(
        self, learner: Learner, course: Course, optimisation: Optimisation, progress: Progress | None
    ) -> None:
        self.course, self.learner = course, learner
        self.step_losses: list[float] = []  # since the last evaluation
        self.diverged = False
        self.out_of_time = self.save_due = 0.0  # 1.0: as the first rank's clock says
        self._started = self._saved_at = time.monotonic()
        self._spent_before = 0.0
        super().__init__(
            model=learner, args=_arguments(course), optimizers=optimisation, callbacks=[Flow(self, progress)]
        )
        self.remove_callback(PrinterCallback)

    def take_up(self, checkpoint: Path) -> None:
        """What the Trainer's own checkpoint does not hold."""
        document = checkpoints.read_json(checkpoint / SPENT_FILE)
        self.step_losses, self._spent_before = document["losses"], document["seconds"]

    def spent(self) -> float:
        """Seconds of this run, those up to the checkpoint that it was resumed from included."""
        return self._spent_before + time.monotonic() - self._started

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """The weighted mean of the rows' losses over the whole batch, whichever rank holds them."""
        logits, embedding = model(inputs["input_ids"], inputs["attention_mask"])
        terms = self.course.settings.terms
        losses = row_losses(logits, targets_of(inputs), terms)
        if embedding is not None:
            losses = losses + terms.feature_weight * feature_losses(embedding, inputs["features"])
        weighted = (inputs["weights"] * losses).sum()
        weights, loss = self._over_ranks(inputs["weights"].sum(), weighted.detach())
        self.step_losses.append(loss / weights)
        mean: Tensor = weighted * self.args.world_size / weights  # ranks' gradients are averaged afterwards
        return mean

    def _over_ranks(self, weights: Tensor, loss: Tensor) -> tuple[float, float]:
        """Sums over all ranks; the first rank's clock, for all, says what is due."""
        now = time.monotonic()
        due, late = now - self._saved_at > self.course.settings.save_seconds, now > self.course.deadline
        clock = (float(due), float(late)) if self.args.process_index == 0 else (0.0, 0.0)
        told = torch.tensor([float(weights), float(loss), *clock], dtype=torch.float64)
        if self.args.world_size > 1:
            torch.distributed.all_reduce(told)
        total, summed, self.save_due, self.out_of_time = told.tolist()
        return max(total, _SMALLEST), summed

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.diverged = not math.isfinite(self.step_losses[-1])
        return loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Our own batches, as they are: accelerate would deal out whole ones to the ranks."""
        course, settings = self.course, self.course.settings
        lengths = [len(row) for row in course.train_rows.token_ids]
        ranks = self.args.process_index, self.args.world_size
        batches = Batches(lengths, settings.batch_rows, course.steps, settings.seed, *ranks)
        return DataLoader(
            range(len(lengths)),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=partial(collate, course.train_rows),
        )

    def evaluate(self, *arguments: Any, **keywords: Any) -> dict[str, float]:
        """Every rank looks at all dev rows, with the same weights, and comes to the same decision."""
        course = self.course
        logits = predict_logits(self.learner.student, course.dev_rows.token_ids)
        teacher = course.dev_rows.teacher_probabilities
        # "refine, then calibrate": likelihood after scaling, since a temperature is fitted in any case
        nll = fit_temperature(logits, teacher, minimum_rows=1).nll_after
        fidelity = float((logits.argmax(axis=1) == teacher.argmax(axis=1)).mean())
        found = Evaluation(self.state.global_step, float(np.mean(self.step_losses)), nll, fidelity)
        self.step_losses.clear()
        self.state.log_history.append(asdict(found))
        if self.args.process_index == 0 and best_of(history_of(self.state)) == found.step:
            checkpoints.save_best(course.folder, found.step, self.learner.student)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, asdict(found))
        return {}

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.course.folder / checkpoints.UNFINISHED)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """All or nothing: written beside, and renamed when every rank has written its part."""
        folder, step = self.course.folder, self.state.global_step
        first = self.args.process_index == 0
        with checkpoints.writing(folder):
            if first:
                shutil.rmtree(folder / checkpoints.UNFINISHED, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if first:
                made = folder / checkpoints.UNFINISHED / f"checkpoint-{step}"
                spent = {"seconds": self.spent(), "losses": self.step_losses}
                checkpoints.write_json(made / SPENT_FILE, spent)
                checkpoints.publish_checkpoint(folder, step)
                checkpoints.forget_best_before(folder, best_of(history_of(self.state)))
        self._saved_at = time.monotonic()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """What training changes, and nothing of the Trainer's own arguments, which would be a pickle."""
        if self.args.should_save:
            assert output_dir is not None
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(checkpoints.learned(self.learner), Path(output_dir) / "model.safetensors")

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Frozen weights are missing in a checkpoint, by design."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The history has evaluations alone: how long something took differs between two runs of the same bits."""


class Flow(TrainerCallback):
    """When to look at the dev rows, when to save, when to stop."""

    def __init__(self, trainer: StudentTrainer, progress: Progress | None) -> None:
        self.trainer, self._progress = trainer, progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        trainer, course = self.trainer, self.trainer.course
        if trainer.diverged:
            control.should_training_stop = True
            return control
        cut = cut_of(course.folder)
        if trainer.out_of_time and cut is None and state.global_step < course.steps:
            cut = state.global_step
            if state.is_world_process_zero:
                checkpoints.write_json(course.folder / checkpoints.CUT_FILE, {"step": cut})
        last = state.global_step in (cut, course.steps)
        control.should_evaluate = last or state.global_step % course.every == 0
        control.should_save = bool(trainer.save_due) and not last
        control.should_training_stop = last
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *_: Any, **__: Any
    ) -> TrainerControl:
        course, history = self.trainer.course, history_of(state)
        if self._progress and state.is_world_process_zero:
            self._progress(state.global_step, course.steps, history[-1].dev_nll)
        if has_converged(history, course):
            control.should_training_stop = True
        return control


def _arguments(course: Course) -> TrainingArguments:
    settings = course.settings
    return TrainingArguments(
        output_dir=str(course.folder),
        max_steps=course.steps,
        per_device_train_batch_size=settings.batch_rows,
        max_grad_norm=settings.clip_norm,
        eval_strategy="no",  # Flow says when; the Trainer's own would ask for an evaluation dataset
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_num_workers=0,  # workers have random numbers of their own, which no checkpoint holds
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
        seed=settings.seed,
        data_seed=settings.seed,
        log_level="error",
    )
