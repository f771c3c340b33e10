"""Rows to learn from, encoded: token ids, what the teacher said, weights; and the batches that they are learned in."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from distill.training.encode import TokenIds, padded
from distill.training.losses import Said, Targets

_POOL_BATCHES = 8  # rows are sorted by length within this many batches: little padding, and still mixed

Matrix = NDArray[np.float32]
Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Encoded texts with the teacher's answers [n, classes] and one weight each [n].

    Without `said` every answer is a distribution; `other` is the probability of what it does not list.
    """

    token_ids: tuple[TokenIds, ...]
    teacher_probabilities: Matrix
    weights: Matrix
    said: NDArray[np.int8] | None = None  # Said [n]
    other: Matrix | None = None  # [n]
    incumbent: Matrix | None = None  # its probabilities [n, classes]; a row of zeros where unknown
    features: Matrix | None = None  # of a white-box teacher [n, width]

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def distributions(self) -> Matrix:
        """The answers that are whole distributions: what the temperature is chosen on."""
        if self.said is None:
            return self.teacher_probabilities
        whole: Matrix = self.teacher_probabilities[self.said == Said.DISTRIBUTION]
        return whole

    def digest(self) -> str:
        """SHA-256 of everything in the rows."""
        digest = hashlib.sha256(repr(self.token_ids).encode())
        for array in (
            self.teacher_probabilities,
            self.weights,
            self.said,
            self.other,
            self.incumbent,
            self.features,
        ):
            digest.update(b"none" if array is None else array.tobytes())
        return digest.hexdigest()


def collate(rows: TrainingRows, places: Sequence[int]) -> Batch:
    """One padded batch. A place below zero, ~row, is that row without weight."""
    real = [place if place >= 0 else ~place for place in places]
    input_ids, attention_mask = padded([rows.token_ids[place] for place in real])
    weights = torch.from_numpy(rows.weights[real]) * torch.tensor([place >= 0 for place in places])
    batch = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "weights": weights,
        "probabilities": torch.from_numpy(rows.teacher_probabilities[real]),
        "said": torch.zeros(len(real), dtype=torch.int8)
        if rows.said is None
        else torch.from_numpy(rows.said[real]),
        "other": torch.zeros(len(real)) if rows.other is None else torch.from_numpy(rows.other[real]),
    }
    for name, array in (("incumbent", rows.incumbent), ("features", rows.features)):
        if array is not None:
            batch[name] = torch.from_numpy(array[real])
    return batch


def targets_of(batch: Batch) -> Targets:
    """The part of a batch that the student does not see."""
    return Targets(
        batch["said"], batch["probabilities"], batch["other"], batch.get("incumbent"), batch.get("features")
    )


class Batches(Sampler[list[int]]):
    """The batches of a whole training run in order: the same for one seed, however many ranks share each batch.

    One pass over it is the run, epochs included, so that a resumed run skips by steps alone.
    """

    def __init__(
        self, lengths: Sequence[int], batch_rows: int, steps: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self._lengths, self._batch_rows, self._steps, self._seed = lengths, batch_rows, steps, seed
        self._rank, self._ranks = rank, ranks

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        shuffler = np.random.default_rng(self._seed)
        given = 0
        while given < self._steps:
            for places in _length_batches(self._lengths, self._batch_rows, shuffler):
                if given == self._steps:
                    return
                given += 1
                yield places[self._rank :: self._ranks] or [~places[0]]


def steps_per_epoch(rows: int, batch_rows: int) -> int:
    return -(-rows // batch_rows)


def _length_batches(
    lengths: Sequence[int], batch_rows: int, shuffler: np.random.Generator
) -> Iterator[list[int]]:
    order = shuffler.permutation(len(lengths)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_rows * _POOL_BATCHES):
        pool = sorted(order[start : start + batch_rows * _POOL_BATCHES], key=lengths.__getitem__)
        batches += [pool[at : at + batch_rows] for at in range(0, len(pool), batch_rows)]
    for number in shuffler.permutation(len(batches)):
        yield batches[number]
