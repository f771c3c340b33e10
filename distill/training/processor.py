"""Which instructions for INT8 this machine's processor has: INT8 answers depend on them.

Without VNNI an x86 processor adds products of eight bits in sixteen and may saturate (microsoft/onnxruntime#14642,
#6004), so a file that was judged on one kind says little about another.
"""

import platform
from pathlib import Path

INT8_FLAGS = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def int8_flags(processor: str | None = None) -> tuple[str, ...]:
    """Those of INT8_FLAGS that the processor has; `processor` is the text of /proc/cpuinfo."""
    if processor is None:
        path = Path("/proc/cpuinfo")
        processor = path.read_text() if path.is_file() else ""
    words = set(processor.split())
    return tuple(flag for flag in INT8_FLAGS if flag in words)


def saturates(flags: tuple[str, ...], machine: str | None = None) -> bool:
    """Whether sums of products may overflow: then weights need one bit less (`reduce_range`)."""
    machine = machine or platform.machine()
    return machine in ("x86_64", "AMD64") and not _VNNI & set(flags)
