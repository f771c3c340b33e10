"""How many bytes the control file holds for a slice: bounded by bins and ticks, whatever the number of pairs."""

import json
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

from ledger.observation import Observation
from monitor.detector import HISTORY, new_detector, terms_for, update
from monitor.detector_state import to_json
from monitor.sums import SliceSums, merged
from tests.monitor.world import build_pair

MOST_BYTES = 40_000
CLASSES = 10
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


def size(document: object) -> int:
    return len(json.dumps(document, separators=(",", ":")))  # orjson has no numbers beyond 64 bits


def test_a_slice_of_a_million_pairs_fits_its_bytes(varied: SliceSums) -> None:
    """All of its labelled, every bin in use, and its detector with as long a history as it ever has."""
    detector = new_detector(terms_for(0.0512345678901234))
    for tick in range(HISTORY):
        detector = update(detector, 0.000123456789012345, (98_765, 1_234), 1_700_000_000_000_000 + tick)

    assert size(times(varied, 1000).to_json()) + size(to_json(detector)) <= MOST_BYTES


def test_ten_times_the_pairs_are_one_more_digit(varied: SliceSums) -> None:
    """Numbers grow, lists do not: up to a thousand million labelled pairs the sums alone stay within the same bytes."""
    sizes = [size(times(varied, 10**power).to_json()) for power in range(7)]
    entries = sum(len(value) for value in varied.to_json().values() if not isinstance(value, int))

    assert max(sizes) <= MOST_BYTES
    assert all(0 <= later - earlier <= entries + len(FIELDS) for earlier, later in pairwise(sizes))
