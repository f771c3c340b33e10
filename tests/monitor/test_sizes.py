"""How many bytes the control file holds for a slice: bounded by bins and ticks, whatever the number of pairs."""

import json
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ledger.harms import HARMS, Harm
from ledger.observation import Observation
from monitor.arrivals import Flow
from monitor.baseline import Null
from monitor.detector import DISAGREEMENT, HISTORY, HISTORY_OF_BINS, new_detector, terms_for, update
from monitor.distances import LOSSES
from monitor.histograms import COARSE
from monitor.label_watch import HISTORY as FLOWS
from monitor.label_watch import LabelWatch
from monitor.label_watch import plain as plain_labels
from monitor.layout import LENGTHS, layout_of
from monitor.regret import Learnt, losses_for
from monitor.sums import SliceSums, merged
from monitor.watch import Watched
from tests.monitor.world import build_pair

MOST_BYTES = 40_000
CLASSES = 10
START_US = 1_700_000_000_000_000
FIELDS = [field.name for field in fields(SliceSums)]


@pytest.fixture(scope="module")
def varied() -> SliceSums:
    """A thousand labelled pairs that reach nearly every bin."""
    chance = np.random.default_rng(1)
    parts = []
    for label in chance.integers(0, CLASSES, 1000).tolist():
        teacher, student = chance.dirichlet([0.3] * CLASSES, 2).tolist()
        pair = build_pair(
            Observation(tuple(teacher)),
            Observation(tuple(student)),
            words=int(2 ** chance.uniform(0, 13)),
            student_latency_us=int(2 ** chance.uniform(4, 30)),
            teacher_latency_us=int(2 ** chance.uniform(4, 30)),
        )
        parts += [SliceSums.of_pair(pair), SliceSums.of_label(pair, label)]
    return merged(parts)


def times(sums: SliceSums, factor: int) -> SliceSums:
    """The same pairs so many times."""
    values = (getattr(sums, name) for name in FIELDS)
    return SliceSums(
        *(
            value * factor if isinstance(value, int) else tuple((at, n * factor) for at, n in value)
            for value in values
        )
    )


def unevenly(sums: SliceSums) -> SliceSums:
    """The same with an excess wherever labels of more weight than 1 could leave one."""
    excess = {
        name: tuple((place, COARSE + place) for place in range(LENGTHS[name]))
        for name in FIELDS
        if name.endswith("_excess")
    }
    return replace(sums, **excess)


def size(document: object) -> int:
    return len(json.dumps(document, separators=(",", ":")))  # orjson has no numbers beyond 64 bits


def watched(losses: tuple[float, ...]) -> dict[str, Any]:
    """The state of a detector with as long a history as it ever has, of a million inputs in every loss."""
    detector = new_detector(terms_for(0.0512345678901234, losses))
    most = HISTORY if losses == DISAGREEMENT else HISTORY_OF_BINS
    for tick in range(most):
        counts = tuple(1_000_000 // len(losses) // most + place for place in range(len(losses)))
        detector = update(detector, 0.000123456789012345, counts, START_US + tick)
    assert len(detector.ticks) == most
    return Watched(Null(0.0512345678901234, "gate", "n" * 120, 0.0312345678901234), detector).plain()


def label_watch() -> dict[str, Any]:
    """What is kept of the labels of a slice, with as many ticks as there ever are."""
    flow = Flow(pairs=15_625, weight=15_625 * COARSE, squares=31_250 * COARSE)
    flows = tuple((START_US + tick, flow) for tick in range(FLOWS))
    return plain_labels(LabelWatch(Learnt(10**12, 10**12, 10**11), 2000, True, 4, flow, 10**6, flows))


def state_of(harm: Harm, limit: int) -> dict[str, Any]:
    losses = {Harm.DISAGREEMENT: DISAGREEMENT, Harm.REGRET: losses_for(0.05, limit)}
    return watched(losses.get(harm, LOSSES))


@pytest.mark.parametrize("limit", [1, 4])
def test_a_slice_of_a_million_pairs_fits_its_bytes(varied: SliceSums, limit: int) -> None:
    """All of its labelled, with equal or with uneven weights, every bin in use, and every harm watched that the
    shipped configuration knows, with as long a history as it ever has."""
    sums = varied if limit == 1 else unevenly(varied)
    detectors = [size(state_of(harm, limit)) for harm in HARMS]

    assert size(times(sums, 1000).to_json()) + sum(detectors) + size(label_watch()) <= MOST_BYTES


def test_dense_vectors_and_those_of_an_earlier_release_read_alike(varied: SliceSums) -> None:
    """An earlier release kept an index beside every count; its rows are added to as they are."""
    earlier = {"format": 1} | {
        name: value if isinstance(value, int) else [list(entry) for entry in value]
        for name, value in ((name, getattr(varied, name)) for name in FIELDS)
        if value
    }
    layout = layout_of(CLASSES)

    assert SliceSums.from_json(earlier) == SliceSums.from_json(varied.to_json()) == varied
    assert layout.document(layout.row(earlier)) == varied.to_json()
    assert size(varied.to_json()) < 0.75 * size(earlier)


def test_ten_times_the_pairs_are_one_more_digit(varied: SliceSums) -> None:
    """Numbers grow, lists do not: up to a thousand million labelled pairs the sums alone stay within the same bytes."""
    sizes = [size(times(varied, 10**power).to_json()) for power in range(7)]
    numbers = sum(1 if isinstance(value, int) else len(value) for value in varied.to_json().values())

    assert max(sizes) <= MOST_BYTES
    assert all(0 <= later - earlier <= numbers for earlier, later in pairwise(sizes))
