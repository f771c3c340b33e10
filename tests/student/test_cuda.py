"""Students on a CUDA device; skipped where ONNX Runtime has none."""

from pathlib import Path

import onnxruntime
import pytest
from sqlalchemy import Engine

from ledger.artifacts import ArtifactError
from ledger.configuration import StudentSection
from student.session import Student
from tests.artifacts import NAN_WORD, tiny_artifact
from tests.student.conftest import Processes, student_report
from tests.student.test_server import ask, put_into_shadow, wait_until_loaded

CLASSES = ("cats", "dogs", "birds")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TEXTS = [f"{'word ' * (n % 40)}{CLASSES[n % 3]} dogs" for n in range(200)]

pytestmark = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(), reason="this onnxruntime has no CUDA"
)


def test_its_answers_are_those_of_the_processor(tmp_path: Path) -> None:
    """Within what floating-point sums in another order may differ, for every length and batch."""
    tiny = tiny_artifact(tmp_path, CLASSES)
    on_device, on_processor = (
        Student.load(tiny.folder, tiny.manifest_digest, StudentSection(providers=(provider,)))
        for provider in ("cuda", "cpu")
    )
    assert on_device.providers[0] == CUDA
    for ours, expected in zip(on_device.answer(TEXTS), on_processor.answer(TEXTS), strict=True):
        assert ours.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


async def test_the_process_answers_on_it_and_says_so(processes: Processes, control: Engine) -> None:
    """Its report names the provider; an answer that is no number fails alone, as on the processor."""
    tiny = put_into_shadow(processes, control)
    process = processes.start(providers=["cuda"])
    wait_until_loaded(control, tiny.artifact)
    assert student_report(control)["providers"][tiny.artifact][0] == CUDA
    assert f"on {CUDA}" in processes.log(process)
    response = await ask(processes, tiny.artifact, "the dogs", f"cats {NAN_WORD}")
    assert isinstance(response, tuple)
    answered, not_numbers = response
    assert answered.top == CLASSES.index("dogs")
    assert not_numbers.error is not None


def test_one_whose_libraries_are_missing_is_refused(tmp_path: Path) -> None:
    """TensorRT is built in and its libraries are not there: an error, and no student on something else."""
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no TensorRT")
    tiny = tiny_artifact(tmp_path, CLASSES)
    with pytest.raises(ArtifactError, match=r"student\.providers|TensorRT|Tensorrt"):
        Student.load(tiny.folder, tiny.manifest_digest, StudentSection(providers=("tensorrt",)))
