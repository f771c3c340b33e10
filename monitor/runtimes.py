"""What each student ran on, and since when: noted by the monitor from the student process's signs of life."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST = 5  # of one student, the newest


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs one student since a moment."""

    since_us: int
    onnxruntime: str
    providers: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"onnxruntime {self.onnxruntime} with {', '.join(self.providers)}"


def runtimes_noted(
    monitor: Mapping[str, Any], student: Mapping[str, Any], artifact: str, now_us: int
) -> list[Runtime]:
    """Of one student in order of time: what the monitor noted before, and what its process reports now.

    `monitor` and `student` are the last reports of these processes.
    """
    known = [
        Runtime(one["since_us"], one["onnxruntime"], tuple(one["providers"]))
        for one in monitor.get("runtimes", {}).get(artifact, ())
    ]
    version, providers = student.get("onnxruntime"), student.get("providers", {}).get(artifact)
    if version and providers:
        now = Runtime(now_us, version, tuple(providers))
        known += [now] if not known or known[-1].words != now.words else []
    return known[-MOST:]


def noted(
    monitor: Mapping[str, Any], student: Mapping[str, Any], answering: Iterable[str], now_us: int
) -> dict[str, list[dict[str, Any]]]:
    """The same of every student that answers, as the monitor keeps it."""
    found = {artifact: runtimes_noted(monitor, student, artifact, now_us) for artifact in answering}
    return {artifact: [asdict(one) for one in runtimes] for artifact, runtimes in found.items() if runtimes}
