"""What a cheap student reaches on an encoder that is not trained: with more and more rows, and by neighbours alone.

A curve that still rises says that rows are the lever; neighbours that disagree with the teacher say that the encoder
does not see what the teacher sees, and that a head on it will not either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.planning.feasibility import Agreements

CURVE_SHARES = (0.25, 0.5, 0.75, 1.0)
NEIGHBOURS = 10
STILL_RISING = 0.003  # of fidelity, between three quarters of the rows and all of them


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Fidelity on the development rows, after so many training rows."""

    rows: int
    reached: Agreements


@dataclass(frozen=True, slots=True)
class Separability:
    """`agrees` says of each development row whether the cheap student, trained on all rows, does."""

    curve: tuple[CurvePoint, ...]
    neighbours: Agreements
    agrees: tuple[bool, ...]

    @property
    def rises(self) -> bool:
        """Whether more rows would still help."""
        if len(self.curve) < 2:
            return False
        before, last = (point.reached.share or 0.0 for point in self.curve[-2:])
        return last - before >= STILL_RISING


def separability(
    train: NDArray[np.float32],
    train_classes: Sequence[int],
    dev: NDArray[np.float32],
    dev_classes: Sequence[int],
) -> Separability:
    """From embeddings [rows, width] and the teacher's top classes. Rows keep their order, so the bits repeat."""
    from sklearn.neighbors import KNeighborsClassifier  # part of the extra that trains

    truth = np.asarray(dev_classes)
    points, agrees = [], np.zeros(len(truth), dtype=bool)
    for share in CURVE_SHARES:
        rows = max(1, round(len(train) * share))
        agrees = _linear(train[:rows], train_classes[:rows], dev) == truth
        points.append(CurvePoint(rows, Agreements(int(agrees.sum()), len(truth))))
    nearest = KNeighborsClassifier(min(NEIGHBOURS, len(train)), metric="cosine").fit(train, train_classes)
    alike = int((nearest.predict(dev) == truth).sum())
    return Separability(tuple(points), Agreements(alike, len(truth)), tuple(agrees.tolist()))


def _linear(
    train: NDArray[np.float32], classes: Sequence[int], dev: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Classes that multinomial logistic regression gives; the only one where there is but one."""
    from sklearn.linear_model import LogisticRegression

    if len(set(classes)) == 1:
        return np.full(len(dev), classes[0])
    predicted: NDArray[np.int64] = LogisticRegression(max_iter=300).fit(train, classes).predict(dev)
    return predicted
