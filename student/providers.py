"""ONNX Runtime's execution providers: chosen in the configuration, and never replaced in silence."""

from collections.abc import Sequence
from importlib.util import find_spec

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class ProviderMissing(Exception):
    """What the configuration asks for is not there; the message names it, what is there, and the way out."""


def providers_of(chosen: Sequence[str]) -> list[str]:
    """ONNX Runtime's names of the configured providers. Raises ProviderMissing."""
    if find_spec("onnxruntime") is None:
        raise ProviderMissing(
            f"student.providers = {list(chosen)}: onnxruntime is not installed;"
            " install stillgate[cpu], or stillgate[gpu] for cuda and tensorrt"
        )
    import onnxruntime

    available = onnxruntime.get_available_providers()
    missing = [PROVIDERS[provider] for provider in chosen if PROVIDERS[provider] not in available]
    if missing:
        raise ProviderMissing(
            f"student.providers = {list(chosen)}: this onnxruntime lacks {missing}, it has {available};"
            ' set providers = ["cpu"], or install the other onnxruntime (stillgate[gpu] in place of'
            " stillgate[cpu]; the two must not be installed together)"
        )
    wanted = [PROVIDERS[provider] for provider in chosen]
    if wanted != [PROVIDERS["cpu"]]:
        # CUDA's and cuDNN's libraries lie in packages of their own, where no loader looks by itself.
        onnxruntime.preload_dlls(directory="")
    return wanted


def refuse_fallback(wanted: Sequence[str], active: Sequence[str]) -> None:
    """A provider whose libraries fail to load is dropped by ONNX Runtime with a warning. Raises ProviderMissing."""
    lost = [provider for provider in wanted if provider not in active]
    if lost or active[0] != wanted[0]:
        raise ProviderMissing(
            f"it would run on {list(active)} where student.providers asks for {list(wanted)}; see the log for"
            " what kept the others from loading (CUDA, cuDNN or TensorRT libraries, most often), or change"
            " student.providers"
        )
