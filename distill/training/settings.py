"""How a student is trained; every field belongs into its lineage."""

from dataclasses import dataclass

from distill.training.losses import UNKNOWN_NOISE, Terms


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Learning rates are of AdamW with a linear warm-up and a linear fall to zero."""

    learning_rate: float
    epochs: int
    batch_rows: int = 32
    temperature: float = 2.0
    teacher_noise: float = UNKNOWN_NOISE  # of rows that name a class and nothing else
    incumbent_weight: float = 0.0
    head_rate_multiple: float = 1.0
    weight_decay: float = 0.01  # of matrices; vectors and token tables have none
    warmup_share: float = 0.06
    clip_norm: float = 1.0
    evaluations_per_epoch: int = 1  # more where the run would have fewer than four
    patience: int = 3
    seed: int = 0
    threads: int = 2
    budget_seconds: float = 600.0
    save_seconds: float = 60.0  # between two checkpoints

    @property
    def terms(self) -> Terms:
        return Terms(self.temperature, self.teacher_noise, self.incumbent_weight)
