"""One drift library over exchanges in arrays: `python drift_libraries.py LIBRARY FILE`, with that library's Python.

Prints how long it took and how much memory it needed above what was there before.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CLASSES, RULES, VALUES, A_PAGE = 10, 8, 12, 20_000

Arrays = Mapping[str, Any]
Work = Callable[[], Any]


def _stillgate(data: Arrays) -> Work:
    from monitor.folding import merged_changes, pair_sums

    def fold() -> Any:
        pages = range(0, len(data["words"]), A_PAGE)
        parts = ({name: column[first : first + A_PAGE] for name, column in data.items()} for first in pages)
        return merged_changes(pair_sums(_columns(part), 300) for part in parts)

    return fold


def _columns(part: Arrays) -> Any:
    from ledger.spots import NOWHERE
    from monitor.columns import PairColumns
    from monitor.measures import measures_of
    from monitor.slicing import SliceColumn

    count = len(part["words"])
    zeros = np.zeros(count, dtype=np.int64)
    return PairColumns(
        task="desk",
        classes=CLASSES,
        artifacts=("s-1",),
        artifact=zeros,
        exchange_ids=("",) * count,
        input_index=zeros,
        at_us=zeros,
        digests=("",) * count,
        slices=tuple(SliceColumn(f"r{rule}", _names(rule), part["slices"][:, rule]) for rule in range(RULES)),
        words=part["words"],
        student_latency_us=zeros,
        teacher_latency_us=zeros,
        teacher_other=zeros,
        student=part["student"],
        measures=measures_of(part["teacher"], part["student"]),
        teacher_versions=("t-1",),
        teacher_version=zeros,
        inclusion=np.ones(count),
        spots=np.full(count, NOWHERE),
    )


def _names(rule: int) -> tuple[str, ...]:
    return tuple(f"r{rule}=v{index}" for index in range(VALUES))


def _evidently(data: Arrays) -> Work:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference, current = _frames(data)
    return lambda: Report([DataDriftPreset()]).run(current, reference).dict()


def _nannyml(data: Arrays) -> Work:
    import nannyml

    reference, current = _frames(data)
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_number=10)
    return lambda: calculator.fit(reference).calculate(current).to_df()


def _river(data: Arrays) -> Work:
    from river.drift import ADWIN

    wrong = (data["teacher"].argmax(axis=1) != data["student"].argmax(axis=1)).astype(int).tolist()
    slices = data["slices"].tolist()

    def watch() -> None:
        detectors = [[ADWIN() for _ in range(VALUES)] for _ in range(RULES)]
        for loss, of_exchange in zip(wrong, slices, strict=True):
            for rule, value in enumerate(of_exchange):
                detectors[rule][value].update(loss)

    return watch


def _frames(data: Arrays) -> tuple[Any, Any]:
    """Half of the exchanges as the reference of the other half."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "teacher_confidence": data["teacher"].max(axis=1),
            "student_confidence": data["student"].max(axis=1),
            "teacher_class": [f"class{index}" for index in data["teacher"].argmax(axis=1)],
            "student_class": [f"class{index}" for index in data["student"].argmax(axis=1)],
            "words": data["words"].astype(np.float64),
        }
    )
    half = len(frame) // 2
    return frame.iloc[:half], frame.iloc[half:].reset_index(drop=True)


LIBRARIES: Mapping[str, Callable[[Arrays], Work]] = {
    "stillgate": _stillgate,
    "evidently": _evidently,
    "nannyml": _nannyml,
    "river": _river,
}


def main() -> None:
    library, path = sys.argv[1:]
    with np.load(path) as file:
        data = dict(file)
    work = LIBRARIES[library](data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    print(json.dumps({"exchanges": len(data["words"]), "seconds": seconds, "mebibytes": mebibytes}))


if __name__ == "__main__":
    main()
