"""Which rungs are trained, which one is the student, and from which start."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill.training.checkpoints import learned
from distill.training.choose import Tried, choose_rung
from distill.training.pace import Allotted, Pace, measured_pace, rungs_in_budget
from distill.training.predict import predict_pooled
from distill.training.settings import TrainSettings
from distill.training.static_student import StaticStudent
from distill.training.train import Fitted, StopReason, train
from distill.training.training_rows import Batches, TrainingRows
from distill.training.untrainable import Lack, Untrainable
from distill.training.warm_start import Compared, NotWarm, Start, better, warmed
from ledger.artifacts import TOKENIZER_FILE, WEIGHTS_FILE
from tests.distill.encoders import VOCABULARY, build_rows

BARS = {"overall": 0.8, "area=x": 0.7}
SETTINGS = TrainSettings(learning_rate=1e-2, epochs=3, batch_rows=16, threads=1)


def tried(rung: str, overall: int, area: int, area_rows: int = 100) -> Tried:
    return Tried(rung, 0.5, {"overall": (overall, 100), "area=x": (area, area_rows)})


def test_the_smallest_that_clears_every_bar_is_chosen() -> None:
    """The first misses a slice, the second and the third clear all; the reason has the figures."""
    choice = choose_rung([tried("s", 90, 70), tried("m", 85, 75), tried("l", 95, 90)], BARS, margin=0.02)
    assert (choice.rung, choice.enough) == ("m", True)
    assert "area=x: 70 of 100 dev rows agree (70.0%)" in choice.reasons["s"]
    assert choice.reasons["m"] == "clears 2 bars with a margin of 2%"


def test_one_rung_is_never_enough() -> None:
    """However well it does, the next larger one is trained beside it."""
    choice = choose_rung([tried("s", 99, 99)], BARS, margin=0.02)
    assert (choice.rung, choice.enough) == ("s", False)


def test_no_rung_is_chosen_where_all_miss() -> None:
    """Each says why."""
    choice = choose_rung([tried("s", 70, 90), tried("m", 81, 90)], BARS, margin=0.02)
    assert choice.rung is None
    assert all("overall" in reason for reason in choice.reasons.values())


def test_a_slice_of_few_dev_rows_stops_nobody() -> None:
    """Nineteen rows say nothing; twenty do."""
    few, enough = tried("s", 90, 0, area_rows=19), tried("s", 90, 0, area_rows=20)
    assert choose_rung([few], BARS, 0.02).rung == "s"
    assert choose_rung([enough], BARS, 0.02).rung is None


def pace(rung: str, seconds_per_step: float) -> Pace:
    return Pace(rung, seconds_per_step, batch_rows=32, steps_per_epoch=100, epochs=5)


def test_rungs_that_do_not_fit_the_time_are_named_with_what_was_measured() -> None:
    """600 s: 25 s for the first, 500 for the second, of the third one pass takes more than is left."""
    paces = [pace("static", 0.05), pace("mini", 1.0), pace("small", 4.0), pace("tiny", 0.1)]
    allotted, skipped = rungs_in_budget(paces, 600)
    assert allotted == (Allotted("static", 25.0), Allotted("mini", 500.0), Allotted("tiny", 50.0))
    assert [one.rung for one in skipped] == ["small"]
    assert (
        "at 8 rows a second one pass over 3200 rows takes 400 s, and 75 s of 600 are left"
        in skipped[0].reason
    )


def test_a_rung_that_fits_in_part_gets_what_is_left() -> None:
    """One pass fits, five do not."""
    allotted, skipped = rungs_in_budget([pace("mini", 1.0)], 250)
    assert (allotted, skipped) == ((Allotted("mini", 250.0),), ())


def build_student(seed: int = 1) -> StaticStudent:
    torch.manual_seed(seed)
    return StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)


def test_a_timed_trial_moves_neither_weights_nor_random_numbers() -> None:
    """The training that follows is the same with and without it."""
    student, rows = build_student(), build_rows(0, 64)
    before, state = learned(student), torch.random.get_rng_state()
    assert measured_pace(student, rows, SETTINGS) > 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], weight) for name, weight in learned(student).items())


def write_incumbent(folder: Path, student: StaticStudent, tokenizer: bytes = b"{}") -> Path:
    folder.mkdir()
    save_file(learned(student), folder / WEIGHTS_FILE)
    (folder / TOKENIZER_FILE).write_bytes(tokenizer)
    return folder


def test_a_warm_start_lies_between_the_incumbent_and_a_fresh_one(tmp_path: Path) -> None:
    """Seven tenths of the way, and the head a little beside it."""
    old, fresh = build_student(1), build_student(2)
    artifact = write_incumbent(tmp_path / "incumbent", old)
    warm = warmed(fresh, artifact, artifact / TOKENIZER_FILE, seed=0)
    assert isinstance(warm, StaticStudent)
    expected = 0.7 * old.table.weight + 0.3 * fresh.table.weight
    assert torch.allclose(warm.table.weight, expected, atol=1e-6)
    head = torch.lerp(fresh.head[2].weight, old.head[2].weight, 0.7)  # type: ignore[index]
    assert 0.001 < (warm.head[2].weight - head).std().item() < 0.1  # type: ignore[index]


def test_another_student_is_no_start(tmp_path: Path) -> None:
    """Other shapes, another tokenizer, no weights: each has its reason, and nothing is raised."""
    fresh = build_student()
    artifact = write_incumbent(tmp_path / "incumbent", build_student())
    wide = StaticStudent(torch.randn(len(VOCABULARY), 16), classes=2, hidden=8)
    other = tmp_path / "tokenizer.json"
    other.write_bytes(b"[]")
    assert warmed(wide, artifact, artifact / TOKENIZER_FILE, 0) is NotWarm.OTHER_SHAPE
    assert warmed(fresh, artifact, other, 0) is NotWarm.OTHER_TOKENIZER
    (artifact / WEIGHTS_FILE).write_bytes(b"torn")
    assert warmed(fresh, artifact, artifact / TOKENIZER_FILE, 0) is NotWarm.NO_WEIGHTS
    (artifact / WEIGHTS_FILE).unlink()
    assert warmed(fresh, artifact, artifact / TOKENIZER_FILE, 0) is NotWarm.NO_WEIGHTS


def test_the_better_start_is_kept_and_both_are_told(tmp_path: Path) -> None:
    """A start that diverged loses whatever it said before."""
    rows, dev = build_rows(0, 100), build_rows(500, 40)
    little, much = (
        train(build_student(), rows, dev, replace(SETTINGS, epochs=epochs), tmp_path / str(epochs))
        for epochs in (1, 12)
    )
    assert isinstance(little, Fitted)
    assert isinstance(much, Fitted)
    assert little.best is not None
    assert much.best is not None
    assert better(little, much) == (much, Compared(Start.WARM, little.best.dev_nll, much.best.dev_nll))
    assert better(much, little)[1].kept is Start.COLD
    assert better(little, replace(much, stop=StopReason.DIVERGED))[1].kept is Start.COLD


def test_a_batch_is_divided_among_ranks_without_a_row_lost() -> None:
    """The steps of two ranks together are those of one; a rank without a row has one that weighs nothing."""
    lengths = [3] * 33
    alone = list(Batches(lengths, 16, steps=6, seed=0))
    ranks = [list(Batches(lengths, 16, 6, 0, rank, 2)) for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert sorted(place for part in parts for place in part if place >= 0) == sorted(whole)
        assert all(parts)


@pytest.mark.parametrize(
    ("lack", "spoil"),
    [
        (Lack.ONE_CLASS, "one class"),
        (Lack.ONE_TEXT, "one text"),
        (Lack.NO_ROWS, "no rows"),
        (Lack.NO_DEV_ROWS, "no dev rows"),
        (Lack.NO_WEIGHT, "no weight"),
        (Lack.NOT_FINITE, "not finite"),
    ],
)
def test_rows_that_teach_nothing_are_a_verdict(tmp_path: Path, lack: Lack, spoil: str) -> None:
    """Before any time is spent, in a sentence, whatever is wrong."""
    rows, dev = build_rows(0, 40), build_rows(500, 20)
    if spoil == "one class":
        rows.teacher_probabilities[:] = (0.9, 0.1)
    elif spoil == "one text":
        rows = replace(rows, token_ids=rows.token_ids[:1] * 40)
    elif spoil == "no rows":
        rows = replace(rows, token_ids=())
    elif spoil == "no dev rows":
        dev = replace(dev, token_ids=())
    elif spoil == "no weight":
        rows.weights[:] = 0
    else:
        rows.teacher_probabilities[3, 0] = float("nan")
    verdict = train(build_student(), rows, dev, SETTINGS, tmp_path)
    assert isinstance(verdict, Untrainable)
    assert verdict.lack is lack
    assert verdict.reason.endswith(("traffic", "differ further on", "number", "counts", "others"))


def test_features_of_a_white_box_teacher_turn_the_embedding(tmp_path: Path) -> None:
    """Trained towards embeddings that tell the classes apart, a student of random answers tells them apart too."""
    rows = build_rows(0, 300)
    label = rows.teacher_probabilities.argmax(axis=1)
    features = torch.eye(2).numpy()[label]
    unsure = replace(rows, teacher_probabilities=rows.teacher_probabilities * 0 + 0.5, features=features)
    for row in range(300):  # no class alone, and nothing that the rows' texts tell
        unsure.teacher_probabilities[row, (row // 2) % 2] += 0.01
    student, dev = build_student(), build_rows(500, 60)
    before = distance_of_classes(student, dev)
    fitted = train(student, unsure, dev, replace(SETTINGS, epochs=10), tmp_path)
    assert isinstance(fitted, Fitted)
    assert distance_of_classes(student, dev) > before + 0.1


def distance_of_classes(student: StaticStudent, rows: TrainingRows) -> float:
    """Mean cosine of embeddings within a class, less that between classes."""
    pooled = torch.nn.functional.normalize(torch.from_numpy(predict_pooled(student, rows.token_ids)), dim=1)
    label = rows.teacher_probabilities.argmax(axis=1)
    same = torch.from_numpy(label[:, None] == label)
    alike = pooled @ pooled.T
    return float(alike[same].mean() - alike[~same].mean())
