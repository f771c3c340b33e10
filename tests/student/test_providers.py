"""Execution providers: what was asked for, or an error that says what to do."""

import onnxruntime
import pytest

from student.providers import ProviderMissing, providers_of, refuse_fallback

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def test_the_installed_one() -> None:
    """The setting's short name is ONNX Runtime's long one."""
    assert providers_of(["cpu"]) == [CPU]


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_missing_one_is_named_with_those_there_and_the_way_out(name: str) -> None:
    """Even where the CPU is listed as second choice: it is not what was asked for first."""
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    for chosen in ([name], [name, "cpu"]):
        with pytest.raises(ProviderMissing, match=rf"lacks .*ExecutionProvider.*{CPU}.*stillgate\[gpu\]"):
            providers_of(chosen)


def test_one_that_was_dropped_when_the_session_opened() -> None:
    """ONNX Runtime opens a session without a provider whose libraries are missing; that is refused."""
    refuse_fallback([CUDA], [CUDA, CPU])
    with pytest.raises(ProviderMissing, match="would run on"):
        refuse_fallback([CUDA], [CPU])
    with pytest.raises(ProviderMissing, match="would run on"):
        refuse_fallback(["TensorrtExecutionProvider", CUDA], [CUDA, CPU])
