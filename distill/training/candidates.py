"""One candidate from its section of the configuration: encode, train, calibrate, export, check parity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from distill.context import CannotDistil
from distill.curation.rows import Row
from distill.curation.split import Split
from distill.training.calibrate import Calibration
from distill.training.choose import Tried
from distill.training.encode import load_tokenizer, save_tokenizer, tokenizer_file
from distill.training.encoded_rows import encoded
from distill.training.finish import Exported, calibrate_and_export
from distill.training.losses import UNKNOWN_NOISE, choose_temperature
from distill.training.pace import Pace, measured_pace, pace_of
from distill.training.predict import predict_logits
from distill.training.rungs import train_rung, untrained
from distill.training.served import served_difference
from distill.training.settings import TrainSettings
from distill.training.train import Fitted
from distill.training.training_rows import Matrix, TrainingRows
from distill.training.transformer_student import HEAD_RATE_MULTIPLE
from distill.training.untrainable import Untrainable
from distill.training.warm_start import RATE_SHARE, Compared, NotWarm, better, warmed
from ledger.artifacts import TOKENIZER_FILE
from ledger.configuration import CandidateSection
from student.tokens import head_first

THREADS = 2
SEED = 0
SERVED_TEXTS = 200  # answered by the student process's own code too

Say = Callable[[str, float], None]  # phase, share done


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The student that serves now: its artifact's folder, and its probabilities for the training rows."""

    folder: Path
    probabilities: Matrix | None = None  # [train rows, classes]; a row of zeros: it did not answer
    weight: float = 0.0  # of the term against negative flips; 0: off


@dataclass(frozen=True, slots=True)
class Prepared:
    """A candidate before training."""

    section: CandidateSection
    tokenizer: Tokenizer
    student: nn.Module
    train: TrainingRows
    dev: TrainingRows
    held_out: TrainingRows
    settings: TrainSettings


@dataclass(frozen=True, slots=True)
class FittedCandidate:
    """What became of a candidate whose files now lie in its folder."""

    trained: Fitted
    calibration: Calibration
    parity: dict[str, float]
    threads: int
    seed: int
    tried: Tried  # on the dev rows
    start: Compared | NotWarm | None  # None: there was no incumbent to start from


def prepare_candidate(
    section: CandidateSection,
    split: Split,
    classes: Sequence[str],
    cache: Path | None = None,
    incumbent: Incumbent | None = None,
    teacher_noise: float = UNKNOWN_NOISE,
) -> Prepared:
    """The untrained student and its rows. What depends on the encoder alone is kept in `cache` for later jobs."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    tokenizer = load_tokenizer(tokenizer_file(section.encoder), section.max_tokens)
    student = untrained(section, tokenizer, len(classes), cache)
    tokens = head_first(tokenizer, section.max_tokens)
    said = incumbent.probabilities if incumbent and incumbent.weight else None
    rows, dev, held_out = (encoded(part, tokens) for part in (split.train, split.dev, split.calibration))
    rows = replace(rows, incumbent=said)
    settings = _settings(section, rows, incumbent.weight if incumbent else 0.0, teacher_noise)
    return Prepared(section, tokenizer, student, rows, dev, held_out, settings)


def candidate_pace(prepared: Prepared) -> Pace:
    """How fast it trains here, from a few timed steps: `rungs_in_budget` decides with it."""
    return pace_of(prepared.section.kind, prepared.student, prepared.train, prepared.settings)


def fit_candidate(
    section: CandidateSection,
    split: Split,
    classes: Sequence[str],
    folder: Path,
    say: Say,
    cache: Path | None = None,
    incumbent: Incumbent | None = None,
    teacher_noise: float = UNKNOWN_NOISE,
) -> FittedCandidate:
    """Train the candidate on the split's rows and write its files into `folder`. Raises ParityBroken, CannotDistil.

    Training itself is kept beside the folder, so that a killed one goes on.
    """
    say(f"preparing {section.kind}", 0.0)
    prepared = prepare_candidate(section, split, classes, cache, incumbent, teacher_noise)
    trained, start = _better_start(prepared, folder.with_name("training"), say, incumbent)
    say(f"exporting {section.kind}", 0.0)
    rows = prepared.train, prepared.dev, prepared.held_out
    exported = calibrate_and_export(trained.student, prepared.tokenizer, *rows, folder, SEED)
    tried = tried_on(section.kind, trained, prepared.dev, split.dev)
    parity = exported.parity | {"served": _served(prepared, split, classes, trained, exported, folder)}
    return FittedCandidate(trained, exported.calibration, parity, THREADS, SEED, tried, start)


def _served(
    prepared: Prepared,
    split: Split,
    classes: Sequence[str],
    trained: Fitted,
    exported: Exported,
    folder: Path,
) -> float:
    """The largest difference of a probability when the student process answers the same texts."""
    texts = [row.text for row in split.dev[:SERVED_TEXTS]]
    ids = prepared.dev.token_ids[:SERVED_TEXTS]
    temperature, max_tokens = exported.calibration.temperature, prepared.section.max_tokens
    return served_difference(folder, classes, max_tokens, trained.student, temperature, texts, ids)


def baseline(section: CandidateSection, split: Split, classes: Sequence[str]) -> Tried:
    """What TF-IDF over the candidate's tokens does on the dev rows: told whether or not it is a candidate itself.

    Raises CannotDistil.
    """
    linear = section.model_copy(update={"kind": "linear", "layers": (), "factory": None})
    prepared = prepare_candidate(linear, split, classes)
    trained = train_rung(prepared.student, prepared.train, prepared.dev, prepared.settings, Path())
    if isinstance(trained, Untrainable):
        raise CannotDistil(trained.reason)
    return tried_on(linear.kind, trained, prepared.dev, split.dev)


def tried_on(rung: str, trained: Fitted, dev: TrainingRows, rows: Sequence[Row]) -> Tried:
    """Agreement on the dev rows, slice by slice."""
    agrees = predict_logits(trained.student, dev.token_ids).argmax(
        axis=1
    ) == dev.teacher_probabilities.argmax(axis=1)
    fidelity: dict[str, tuple[int, int]] = {}
    for row, agreed in zip(rows, agrees.tolist(), strict=True):
        for name in row.slices:
            agreements, count = fidelity.get(name, (0, 0))
            fidelity[name] = (agreements + agreed, count + 1)
    return Tried(rung, trained.best.dev_nll if trained.best else float("inf"), fidelity)


def _better_start(
    prepared: Prepared, folder: Path, say: Say, incumbent: Incumbent | None
) -> tuple[Fitted, Compared | NotWarm | None]:
    """The better of a cold and a warm start, each with half the time, where both are possible."""
    warm = _warm(prepared, folder, incumbent)
    settings = prepared.settings
    if not isinstance(warm, nn.Module):
        return _trained(prepared, prepared.student, settings, folder / "cold", say), warm
    halved = replace(settings, budget_seconds=settings.budget_seconds / 2)
    cold = _trained(prepared, prepared.student, halved, folder / "cold", say)
    slower = replace(halved, learning_rate=halved.learning_rate * RATE_SHARE)
    return better(cold, _trained(prepared, warm, slower, folder / "warm", say))


def _warm(prepared: Prepared, folder: Path, incumbent: Incumbent | None) -> nn.Module | NotWarm | None:
    if incumbent is None or prepared.section.kind == "linear":  # a convex fit ends where it ends
        return None
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(prepared.tokenizer, folder)
    return warmed(prepared.student, incumbent.folder, folder / TOKENIZER_FILE, SEED)


def _trained(
    prepared: Prepared, student: nn.Module, settings: TrainSettings, folder: Path, say: Say
) -> Fitted:
    kind = prepared.section.kind
    # the other two are done in seconds once they begin
    pace = measured_pace(student, prepared.train, settings) if kind not in ("linear", "frozen") else None
    trained = train_rung(student, prepared.train, prepared.dev, settings, folder, _told(say, kind), pace)
    if isinstance(trained, Untrainable):
        raise CannotDistil(trained.reason)
    return replace(trained, student=student)


def _settings(
    section: CandidateSection, rows: TrainingRows, incumbent_weight: float, teacher_noise: float
) -> TrainSettings:
    return TrainSettings(
        learning_rate=section.learning_rate,
        epochs=section.epochs,
        batch_rows=section.batch_rows,
        temperature=choose_temperature(rows.distributions),
        teacher_noise=teacher_noise,
        incumbent_weight=incumbent_weight,
        head_rate_multiple=HEAD_RATE_MULTIPLE if section.kind == "transformer" else 1.0,
        seed=SEED,
        threads=THREADS,
        budget_seconds=section.budget_seconds,
    )


def _told(say: Say, kind: str) -> Callable[[int, int, float], None]:
    def tell(step: int, steps: int, dev_nll: float) -> None:
        say(f"training {kind} (held-out loss {dev_nll:.3f} nats)", step / steps)

    return tell
