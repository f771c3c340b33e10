"""Rows on which the teacher may be wrong: never found by what a student says, which would delete its own failures.

Confident learning: Northcutt, Jiang, Chuang (2021), by cleanlab over out-of-fold probabilities of a linear model.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.curation.embedded import Embedded
from distill.curation.review import Doubt, Doubtful, doubtful
from distill.curation.rows import Row

FOLDS = 5
LEAST_OF_A_CLASS = 20  # rows: fewer teach the linear model nothing that it could doubt others by
LEAST_ROWS = 200
STEADY = 0.8  # share of the teacher's votes that its first class must have to be steady

Suspects = list[tuple[int, int]]  # place of the row and the class that its neighbours suggest, worst first


def doubtful_rows(
    rows: Sequence[Row], classes: Sequence[str], space: Embedded, share: float, seed: int = 0
) -> tuple[Doubtful, ...]:
    """At most `share` of each class in each slice is set aside; the others are only shown."""
    shown = [*_unsteady(rows, classes), *_inconsistent(rows, classes)]
    suspects = _suspects(rows, len(classes), space, seed)
    set_aside = [
        doubtful(rows[place], Doubt.CONFIDENT_LEARNING, classes, suggested, True)
        for place, suggested in _within_share(rows, suspects, share)
    ]
    found = {entry.digest: entry for entry in (*shown, *set_aside)}
    return tuple(found.values())


def _unsteady(rows: Sequence[Row], classes: Sequence[str]) -> list[Doubtful]:
    """The teacher only names classes, and named several for the same text."""
    return [
        doubtful(row, Doubt.UNSTEADY, classes, row.truth, False)
        for row in rows
        if row.voted and row.teacher.confidence < STEADY
    ]


def _inconsistent(rows: Sequence[Row], classes: Sequence[str]) -> list[Doubtful]:
    """Within a group, rows of an answer that came less often than another one."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group_id].append(row)
    found = []
    for alike in groups.values():
        votes = Counter[int]()
        for row in alike:
            votes[row.teacher.top] += row.repeats
        top, most = votes.most_common(1)[0]
        fewer = [row for row in alike if votes[row.teacher.top] < most and row.truth is None]
        found += [doubtful(row, Doubt.INCONSISTENT, classes, top, False) for row in fewer]
    return found


def _suspects(rows: Sequence[Row], classes: int, space: Embedded, seed: int) -> Suspects:
    labels = np.array([row.teacher.top if row.truth is None else row.truth for row in rows], np.int64)
    counts = np.bincount(labels, minlength=classes)
    told = np.flatnonzero(counts >= LEAST_OF_A_CLASS)  # classes
    places = np.flatnonzero(np.isin(labels, told)).tolist()
    if len(told) < 2 or len(places) < LEAST_ROWS:
        return []
    vectors = space.of(rows)[places]
    if not vectors.std(axis=0).any():
        return []
    codes = np.searchsorted(told, labels[places])
    groups = np.unique([rows[place].group_id for place in places], return_inverse=True)[1]
    probabilities = _out_of_fold(vectors, codes, groups.reshape(-1), len(told), seed)
    issues = _issues(codes, probabilities)
    best = probabilities.argmax(axis=1)
    return [
        (places[issue], int(told[best[issue]]))
        for issue in issues
        if rows[places[issue]].truth is None and best[issue] != codes[issue]
    ]


def _out_of_fold(
    vectors: NDArray[np.float32], codes: NDArray[np.int64], groups: NDArray[np.int64], classes: int, seed: int
) -> NDArray[np.float64]:
    """Probabilities [rows, classes] by models that saw nothing of the row's group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.full((len(codes), classes), 1 / classes)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for learned, held_out in folds.split(vectors, codes, groups):
        model = LogisticRegression(C=10.0, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not quite converged is good enough to doubt by
            model.fit(vectors[learned], codes[learned])
        found[held_out] = 0.0
        found[np.ix_(held_out, model.classes_)] = model.predict_proba(vectors[held_out])
    return found


def _issues(codes: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[int]:
    """Places of rows whose class is probably another one, the least believed first."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = find_label_issues(
            codes, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1, verbose=False
        )
    issues: list[int] = np.asarray(found).tolist()
    return issues


def _within_share(rows: Sequence[Row], suspects: Suspects, share: float) -> Suspects:
    """The worst of them, so that no class loses more than its share in any slice: a rare one would be emptied."""
    have = Counter((row.teacher.top, name) for row in rows for name in row.slices)
    gone: Counter[tuple[int, str]] = Counter()
    kept = []
    for place, suggested in suspects:
        cells = [(rows[place].teacher.top, name) for name in rows[place].slices]
        if all(gone[cell] + 1 <= share * have[cell] for cell in cells):
            gone.update(cells)
            kept.append((place, suggested))
    return kept
