"""Which features of a slice's inputs and answers moved between two sides, the one that moved most first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from ledger.spots import BAND_SHARES, BANDS, REGIONS
from monitor.histograms import SHARES, WORD_EDGES
from monitor.intervals import holm
from monitor.movement import Movement, change_between, step_between
from monitor.sums import SliceSums, filled

ALPHA = (
    0.01  # probability that anything is said to have moved though nothing did, over the features of one side
)
BOUNDS_ALPHA = 0.05  # probability that any bound is wrong, over the same
LEAST_CHANGE = (
    0.05  # of a share; with very many inputs even a smaller one is no chance, and explains no alarm
)


class Feature(StrEnum):
    """What is kept of each input, beside the values that the caller sent."""

    LENGTH = "length"
    STUDENT_CLASSES = "student_classes"
    STUDENT_CONFIDENCE = "student_confidence"
    TEACHER_CLASSES = "teacher_classes"
    TEACHER_CONFIDENCE = "teacher_confidence"
    EMBEDDING_REGION = "embedding_region"  # of the student's own embedding, as it was when it was trained
    EMBEDDING_DISTANCE = "embedding_distance"  # from the centre of that region


@dataclass(frozen=True, slots=True)
class Moved:
    """One feature on two sides. `feature` is a Feature, or the name of a slice rule."""

    feature: str
    place: str  # the inputs whose share changed most, in words
    movement: Movement
    moved: bool


def compared(
    then: SliceSums,
    now: SliceSums,
    classes: Sequence[str],
    mixes_then: Mapping[str, Mapping[str, int]],
    mixes_now: Mapping[str, Mapping[str, int]],
) -> list[Moved]:
    """Every feature that both sides have, those that moved first. Mixes are rule -> slice -> inputs."""
    wanted = [*_kept(then, now, classes), *_mixed(mixes_then, mixes_now)]
    alpha = BOUNDS_ALPHA / max(1, len(wanted))
    found = [(name, place, movement) for name, place, ask in wanted if (movement := ask(alpha)) is not None]
    sure = holm([movement.p_value for _, _, movement in found], ALPHA)
    moved = [
        Moved(name, place(movement.place), movement, is_sure and abs(movement.change) >= LEAST_CHANGE)
        for (name, place, movement), is_sure in zip(found, sure, strict=True)
    ]
    return sorted(moved, key=lambda one: (not one.moved, -abs(one.movement.change), one.feature))


_Wanted = tuple[str, Callable[[int], str], Callable[[float], Movement | None]]


def _kept(then: SliceSums, now: SliceSums, classes: Sequence[str]) -> Iterator[_Wanted]:
    edges = len(WORD_EDGES)
    yield (
        Feature.LENGTH,
        lambda place: f"fewer than {WORD_EDGES[min(place + 1, edges - 1)]} words",
        partial(step_between, filled(then.words, edges), filled(now.words, edges)),
    )
    for feature in (Feature.STUDENT_CLASSES, Feature.TEACHER_CLASSES):
        before, after = (filled(getattr(side, feature), len(classes)) for side in (then, now))
        yield feature, lambda place: f"class {classes[place]}", partial(change_between, before, after)
    for feature in (Feature.STUDENT_CONFIDENCE, Feature.TEACHER_CONFIDENCE):
        before, after = (filled(getattr(side, feature), SHARES) for side in (then, now))
        yield feature, lambda place: f"below {(place + 1) / SHARES:.2f}", partial(step_between, before, after)
    before, after = (filled(side.regions, REGIONS) for side in (then, now))
    yield Feature.EMBEDDING_REGION, lambda place: f"region {place}", partial(change_between, before, after)
    before, after = (filled(side.bands, BANDS) for side in (then, now))
    yield Feature.EMBEDDING_DISTANCE, _nearer, partial(step_between, before, after)


def _nearer(place: int) -> str:
    share = BAND_SHARES[min(place, BANDS - 2)]
    return f"within what holds {100 * share:.3g} % of the training rows"


def _mixed(then: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> Iterator[_Wanted]:
    for rule in sorted(then.keys() & now.keys()):
        names = sorted({*then[rule], *now[rule]})
        before, after = ([side[rule].get(name, 0) for name in names] for side in (then, now))
        yield rule, names.__getitem__, partial(change_between, before, after)
