"""One loaded artifact: what it accepts, what it refuses, and that batching changes no answer."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, ArtifactError
from ledger.configuration import StudentSection
from ledger.observation import ObservationError
from ledger.spots import NOWHERE, spot_of
from student.session import Student
from tests.artifacts import FAILING_WORD, NAN_WORD, tiny_artifact

CLASSES = ("cats", "dogs", "birds")
SETTINGS = StudentSection()


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    tiny = tiny_artifact(tmp_path_factory.mktemp("state"), CLASSES)
    return Student.load(tiny.folder, tiny.manifest_digest, SETTINGS)


def test_answers_are_those_of_the_model_file(tmp_path: Path) -> None:
    """Bit for bit what ONNX Runtime gives for the tokenizer's ids."""
    tiny = tiny_artifact(tmp_path, CLASSES)
    text = "the dogs saw birds and dogs"
    ids = np.array([Tokenizer.from_file(str(tiny.folder / TOKENIZER_FILE)).encode(text).ids])
    session = onnxruntime.InferenceSession(tiny.folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probs"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    (observation,) = Student.load(tiny.folder, tiny.manifest_digest, SETTINGS).answer([text])
    assert observation.probabilities == tuple(expected[0].tolist())


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.sampled_from([*CLASSES, "other"]), min_size=1, max_size=80).map(" ".join), max_size=30
    )
)
def test_company_and_padding_change_no_answer(student: Student, texts: list[str]) -> None:
    """A text is answered alike alone and in any batch."""
    together = student.answer(texts)
    for text, observation in zip(texts, together, strict=True):
        (alone,) = student.answer([text])
        assert observation.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_a_file_that_tells_spots_tells_them_with_its_answers(tmp_path: Path) -> None:
    """As one number each, in the order of the texts; a file that tells none is as good a student."""
    texts = ["the birds", "cats here", "dogs, no, dogs"]
    tells, silent = (tiny_artifact(tmp_path, CLASSES, spots=spots) for spots in (True, False))
    told, untold = (
        Student.load(tiny.folder, tiny.manifest_digest, SETTINGS).answer(texts) for tiny in (tells, silent)
    )
    assert [said.spot for said in told] == [spot_of(2, 2), spot_of(0, 0), spot_of(1, 1)]
    assert [said.spot for said in untold] == [NOWHERE] * 3
    assert [said.probabilities for said in told] == [said.probabilities for said in untold]


def test_keywords_decide_with_their_confidence(tmp_path: Path) -> None:
    """The tiny artifact that other tests rely on answers as promised."""
    tiny = tiny_artifact(tmp_path, CLASSES, keywords={"meow": ("cats", 0.75), "tweet": ("birds", 0.5)})
    meow, tweet, silence = Student.load(tiny.folder, tiny.manifest_digest, SETTINGS).answer(
        ["a meow", "one tweet", "silence"]
    )
    assert (meow.top, tweet.top) == (0, 2)
    assert (meow.confidence, tweet.confidence) == pytest.approx((0.75, 0.5))
    assert silence.probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_a_long_text_is_cut_at_the_manifest_limit(tmp_path: Path) -> None:
    """What stands after max_tokens is not read."""
    tiny = tiny_artifact(tmp_path, CLASSES, max_tokens=8)
    loaded = Student.load(tiny.folder, tiny.manifest_digest, SETTINGS)
    (observation,) = loaded.answer(["word " * 8 + "dogs"])
    assert observation.confidence == pytest.approx(1 / 3)
    assert [len(row) for row in loaded.tokenize(["word " * 100])] == [8]


def test_an_empty_text_gets_an_answer(student: Student) -> None:
    """A row without tokens does not break its batch."""
    empty, dogs = student.answer(["", "dogs"])
    assert empty.error is None
    assert dogs.top == 1


def test_no_texts_no_answers(student: Student) -> None:
    """An empty request is no error."""
    assert student.answer([]) == []


def test_nan_is_an_observation_with_its_reason(student: Student) -> None:
    """One text answered with NaN leaves its neighbours alone."""
    dogs, broken = student.answer(["dogs", f"dogs {NAN_WORD}"])
    assert broken.error is ObservationError.NOT_FINITE
    assert dogs.top == 1


def test_an_input_that_raises_fails_alone(student: Student) -> None:
    """The rest of its batch is answered."""
    observations = student.answer(["dogs", FAILING_WORD, "birds"])
    assert [o.error for o in observations] == [None, ObservationError.STUDENT_FAILED, None]
    assert (observations[0].top, observations[2].top) == (1, 2)


def test_an_artifact_that_answers_nan_at_once_is_refused(tmp_path: Path) -> None:
    """It would answer nothing but errors."""
    tiny = tiny_artifact(tmp_path, CLASSES, always_nan=True)
    with pytest.raises(ArtifactError, match="not_finite"):
        Student.load(tiny.folder, tiny.manifest_digest, SETTINGS)


def test_another_number_of_outputs_is_refused_with_names_and_shapes(tmp_path: Path) -> None:
    """The message tells what was found and what was expected."""
    tiny = tiny_artifact(tmp_path, CLASSES, graph_classes=5)
    with pytest.raises(ArtifactError, match=r"probs is tensor\(float\) \['batch', 5\].*\[batch, 3\]"):
        Student.load(tiny.folder, tiny.manifest_digest, SETTINGS)


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing of an artifact is loaded that differs from what was registered."""
    tiny = tiny_artifact(tmp_path, CLASSES)
    path = tiny.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=name):
        Student.load(tiny.folder, tiny.manifest_digest, SETTINGS)


def test_a_missing_provider_is_an_error_that_names_those_there(tmp_path: Path) -> None:
    """The student never runs on the CPU where something else was asked for."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    tiny = tiny_artifact(tmp_path, CLASSES)
    with pytest.raises(ArtifactError, match=r"CUDAExecutionProvider.*CPUExecutionProvider"):
        Student.load(tiny.folder, tiny.manifest_digest, StudentSection(providers=("cuda",)))
