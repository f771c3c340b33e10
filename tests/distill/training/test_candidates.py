"""A candidate from its section of the configuration to the files that are served."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from distill.context import CannotDistil
from distill.curation.rows import Row
from distill.curation.split import Split
from distill.training.calibrate import CalibrationOutcome
from distill.training.candidates import FittedCandidate, Incumbent, baseline, fit_candidate
from distill.training.static_student import cached_token_table, token_table
from distill.training.transformer_student import load_encoder
from distill.training.warm_start import Compared
from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from ledger.configuration import CandidateSection
from ledger.observation import Observation
from student.tokens import load_tokenizer, pad, tokenize
from tests.distill.encoders import write_encoder, write_text

CLASSES = ("comp", "rec")
MAX_TOKENS = 8


def build_row(number: int) -> Row:
    text, label = write_text(number)
    teacher = Observation((0.9, 0.1) if label == 0 else (0.1, 0.9))
    return Row(str(number), f"g0-{number}", 0, number, text, teacher, (), 1.0, 1)


def build_split() -> Split:
    train, dev, calibration = (
        tuple(map(build_row, range(*ends))) for ends in ((0, 400), (400, 450), (450, 650))
    )
    return Split((), train, dev, calibration)


def section_of(folder: Path, kind: str) -> CandidateSection:
    return CandidateSection.model_validate(
        {
            "kind": kind,
            "encoder": str(write_encoder(folder / "encoder")),
            "layers": (0, 2) if kind == "transformer" else (),
            "max_tokens": MAX_TOKENS,
            "epochs": 4,
            "learning_rate": 1e-2,
            "batch_rows": 16,
        }
    )


def fit(folder: Path, kind: str, said: list[str]) -> FittedCandidate:
    section, split = section_of(folder, kind), build_split()
    return fit_candidate(section, split, CLASSES, folder / "artifact", lambda phase, _: said.append(phase))


def served_fidelity(folder: Path) -> float:
    """Agreement of the served files with the teacher on texts that were in no split."""
    session = onnxruntime.InferenceSession(str(folder / MODEL_FILE), providers=["CPUExecutionProvider"])
    texts, labels = zip(*(write_text(number) for number in range(2000, 2100)), strict=True)
    input_ids, mask = pad(tokenize(load_tokenizer(folder / TOKENIZER_FILE, MAX_TOKENS), texts))
    (probabilities,) = session.run(["probs"], {"input_ids": input_ids, "attention_mask": mask})
    return float((np.argmax(probabilities, axis=1) == labels).mean())


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_a_candidate_is_trained_calibrated_and_written(tmp_path: Path, kind: str) -> None:
    """The folder then holds a model and a tokenizer that answer unseen texts as the teacher would."""
    said: list[str] = []
    fitted = fit(tmp_path, kind, said)
    files = {path.name for path in (tmp_path / "artifact").iterdir()}
    assert files == {MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE}
    assert served_fidelity(tmp_path / "artifact") > 0.9
    assert (fitted.calibration.outcome, fitted.calibration.rows) == (CalibrationOutcome.FITTED, 200)
    assert fitted.parity["max_abs_logit_difference"] <= 1e-4
    assert fitted.parity["served"] <= 1e-4
    assert (said[0], said[-1]) == (f"preparing {kind}", f"exporting {kind}")
    assert any(phase.startswith(f"training {kind} (held-out loss 0.") for phase in said)


def test_a_token_table_is_computed_once(tmp_path: Path) -> None:
    """The second call reads the file; another encoder has a file of its own."""
    encoder, cache = load_encoder(str(write_encoder(tmp_path / "encoder"))), tmp_path / "cache"
    first = cached_token_table(encoder, (1, 2), cache)
    assert np.array_equal(first, token_table(encoder, (1, 2)))
    (path,) = cache.iterdir()
    np.save(path, first.numpy() + 1)
    assert np.array_equal(cached_token_table(encoder, (1, 2), cache), first + 1)
    encoder.get_parameter("encoder.layer.0.output.dense.weight").data += 1
    assert not np.array_equal(cached_token_table(encoder, (1, 2), cache), first + 1)
    assert len(list(cache.iterdir())) == 2


def test_one_class_alone_ends_in_a_sentence(tmp_path: Path) -> None:
    """Not in a traceback of a library, and before anything is trained."""
    split = replace(build_split(), train=tuple(map(build_row, range(0, 800, 2))))
    section = section_of(tmp_path, "static")
    with pytest.raises(CannotDistil, match="the teacher said one class"):
        fit_candidate(section, split, CLASSES, tmp_path / "artifact", lambda *_: None)
    assert not (tmp_path / "artifact").exists()


def test_a_student_may_start_from_the_incumbent(tmp_path: Path) -> None:
    """Both starts are trained and told; the incumbent's answers count where they were right."""
    said: list[str] = []
    first = fit(tmp_path, "static", said)
    probabilities = np.array([row.teacher.probabilities for row in build_split().train], dtype=np.float32)
    incumbent = Incumbent(tmp_path / "artifact", probabilities, weight=1.0)
    section, folder = section_of(tmp_path, "static"), tmp_path / "second" / "artifact"
    second = fit_candidate(section, build_split(), CLASSES, folder, lambda *_: None, incumbent=incumbent)
    assert first.start is None
    assert isinstance(second.start, Compared)
    assert min(second.start.warm_nll, second.start.cold_nll) == second.tried.dev_nll
    runs = {path.name for path in (folder.parent / "training").iterdir() if path.is_dir()}
    assert runs == {"cold", "warm"}
    assert served_fidelity(folder) > 0.9


def test_the_baseline_is_told_beside_any_candidate(tmp_path: Path) -> None:
    """TF-IDF over the candidate's tokens, on the dev rows, slice by slice; it leaves no files."""
    tried = baseline(section_of(tmp_path, "transformer"), build_split(), CLASSES)
    assert tried.rung == "linear"
    assert tried.dev_nll == pytest.approx(0.325, abs=0.05)  # the entropy of (0.9, 0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
