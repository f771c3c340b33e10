"""Columns of pairs: the pairs of join, the sums of SliceSums.of_pair, the counts of the detectors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.answer_pages import Answered, by_column
from ledger.configuration import TaskSection
from ledger.exchange import Answer, Exchange, Outcome, ServedBy
from ledger.exchange_file import observations_json
from ledger.labels import LEAST_PROBABILITY
from ledger.observation import Observation, ObservationError, hard_label
from ledger.spots import SPOTS
from monitor.columns import PairColumns, joined, pair_columns
from monitor.distinct import counts_by_slice, distinct
from monitor.folding import NO_LABEL, Changes, Key, label_sums, merged_changes, pair_sums
from monitor.layout import sums_of_row
from monitor.pairs import Pair, join
from monitor.sums import SliceSums, merged
from monitor.weights import weights_of
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import build_configuration

TASK: TaskSection = build_configuration(Path("/nowhere")).task[0]
WINDOW_SECONDS = 60
WINDOW_US = WINDOW_SECONDS * 1_000_000

EXAMPLES = 25
Both = tuple[Exchange, Answer]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the definitions say, one pair after the other."""

    pairs: list[Pair]
    unusable: Counter[str]


def observations() -> st.SearchStrategy[Observation]:
    usable = st.floats(0, 1).map(lambda share: Observation((share, 1 - share)))
    failed = st.sampled_from([ObservationError.MALFORMED, ObservationError.STUDENT_FAILED])
    return st.one_of(
        usable,
        usable,
        failed.map(lambda error: Observation(None, error)),
        st.just(Observation((0.2, 0.3, 0.5))),
        st.builds(hard_label, st.integers(0, 1), st.just(2), st.sampled_from([0.0, 0.5])),
        usable.map(lambda said: said._replace(other=0.25)),
        st.builds(lambda said, spot: said._replace(spot=spot), usable, st.integers(0, SPOTS - 1)),
    )


@st.composite
def answered_exchanges(draw: st.DrawFn) -> Both:
    """Batches of up to three inputs, of which either side may miss or fail some."""
    inputs = draw(st.integers(1, 3))
    sequence = draw(st.integers(0, 10_000))
    sides = st.lists(observations(), max_size=inputs).map(tuple)
    changes: dict[str, Any] = {
        "teacher": draw(sides),
        "started_at_us": draw(st.integers(0, 5 * WINDOW_US)),
        "outcome": draw(st.sampled_from([Outcome.COMPLETE, Outcome.COMPLETE, Outcome.CLIENT_DISCONNECT])),
        "measured": draw(st.sampled_from([True, True, True, False])),
        "attributes": draw(st.sampled_from([{}, {"x-area": " "}, {"x-area": "a"}, {"x-area": "z" * 90}])),
        "input_words": tuple(draw(st.lists(st.integers(0, 99), min_size=inputs, max_size=inputs))),
        "duration_us": draw(st.integers(0, 2**31)),
        "inclusion": draw(st.sampled_from([1.0, 0.05])),
        "served_by": draw(st.sampled_from([ServedBy.TEACHER, ServedBy.STUDENT])),
        "input_digests": tuple(draw(st.lists(st.sampled_from("pqr"), min_size=inputs, max_size=inputs))),
    }
    exchange = build_exchange(sequence, inputs=("x",) * inputs, **changes)
    said = {
        "observations": draw(sides),
        "latency_us": draw(st.integers(0, 2**31)),
        "inclusion": draw(st.sampled_from([1.0, 0.25])),
    }
    return exchange, build_answer(sequence, draw(st.sampled_from(["s-1", "s-2"])), **said)


def many() -> st.SearchStrategy[list[Both]]:
    return st.lists(answered_exchanges(), max_size=12)


def row_of(exchange: Exchange, answer: Answer) -> Answered:
    """As it would come out of the exchange file."""
    return Answered(
        number=1,
        responder=answer.responder,
        origin=answer.origin,
        observations=observations_json(answer.observations),
        sequence=exchange.sequence,
        exchange_id=exchange.exchange_id,
        task=exchange.task,
        started_at_us=exchange.started_at_us,
        outcome=exchange.outcome,
        measured=int(exchange.measured),
        unpaired=None,
        latency_us=answer.latency_us,
        duration_us=exchange.duration_us,
        served_by=exchange.served_by,
        attributes=orjson.dumps(dict(exchange.attributes)).decode(),
        input_words=orjson.dumps(exchange.input_words).decode(),
        input_digests=orjson.dumps(exchange.input_digests).decode(),
        teacher=observations_json(exchange.teacher),
        teacher_epoch=exchange.teacher_epoch,
        inclusion=exchange.inclusion * answer.inclusion,
        spots=orjson.dumps([said.spot for said in answer.observations]).decode(),
    )


def folded(changes: Iterable[Changes]) -> dict[Key, SliceSums]:
    return {key: sums_of_row(row) for key, row in merged_changes(changes).items()}


def columns_of(both: Sequence[Both]) -> tuple[PairColumns, Counter[str]]:
    return pair_columns(by_column([row_of(*one) for one in both]), TASK)


def expected_of(both: Sequence[Both]) -> Expected:
    pairs: list[Pair] = []
    unusable: Counter[str] = Counter()
    for exchange, answer in both:
        joined = join(exchange, answer, exchange.teacher, TASK.rules, TASK.classes)
        pairs.extend(joined.pairs)
        unusable.update(joined.unusable)
    return Expected(pairs, unusable)


def expected_sums(parts: Sequence[tuple[Pair, SliceSums]]) -> dict[Key, SliceSums]:
    by_key: dict[Key, list[SliceSums]] = {}
    for pair, sums in parts:
        for name in pair.slices:
            key = (TASK.name, pair.artifact, name, pair.at_us // WINDOW_US * WINDOW_US)
            by_key.setdefault(key, []).append(sums)
    return {key: merged(group) for key, group in by_key.items()}


@settings(max_examples=EXAMPLES)
@given(many())
def test_columns_hold_the_pairs_of_join(both: list[Both]) -> None:
    """In its order, with its slices, and with its reasons for what gave no pair."""
    columns, unusable = columns_of(both)
    expected = expected_of(both)

    assert unusable == expected.unusable
    found = [
        (
            columns.exchange_ids[place],
            int(columns.input_index[place]),
            columns.artifacts[columns.artifact[place]],
            int(columns.at_us[place]),
            tuple(rule.names[rule.codes[place]] for rule in columns.slices if rule.codes[place] >= 0),
            columns.digests[place],
            bool(columns.measures.agrees[place]),
        )
        for place in range(len(columns))
    ]
    assert found == [
        (p.exchange_id, p.input_index, p.artifact, p.at_us, p.slices, p.input_digest, p.agrees)
        for p in expected.pairs
    ]


@settings(max_examples=EXAMPLES)
@given(many())
def test_sums_are_those_of_merging_pair_by_pair(both: list[Both]) -> None:
    """For each student, slice and window, equal in every integer."""
    columns, _ = columns_of(both)
    expected = expected_sums([(pair, SliceSums.of_pair(pair)) for pair in expected_of(both).pairs])

    assert folded([pair_sums(columns, WINDOW_SECONDS)]) == expected


@settings(max_examples=EXAMPLES)
@given(many(), st.data())
def test_label_sums_are_those_of_the_labelled_pairs(both: list[Both], draw: st.DataObject) -> None:
    """A pair without a label adds nothing."""
    columns, _ = columns_of(both)
    pairs = expected_of(both).pairs
    labels = [draw.draw(st.sampled_from([NO_LABEL, 0, 1])) for _ in pairs]
    chosen = [draw.draw(st.sampled_from([1.0, 0.3]) | st.floats(LEAST_PROBABILITY, 1)) for _ in pairs]
    said = list(zip(pairs, labels, chosen, strict=True))
    expected = [(pair, SliceSums.of_label(pair, *one)) for pair, *one in said if one[0] != NO_LABEL]

    weights = weights_of(columns.inclusion * np.array(chosen, dtype=np.float64))
    found = folded([label_sums(columns, np.array(labels, dtype=np.int64), weights, WINDOW_SECONDS)])

    assert found == expected_sums(expected)


@settings(max_examples=EXAMPLES)
@given(many(), st.data())
def test_any_split_over_pages_folds_to_the_same_sums(both: list[Both], draw: st.DataObject) -> None:
    """Pages, ticks and processes may cut the answers wherever they like."""
    cut = draw.draw(st.integers(0, len(both)))
    parts = [columns_of(part)[0] for part in (both[:cut], both[cut:])]
    whole, _ = columns_of(both)

    split = folded(pair_sums(part, WINDOW_SECONDS) for part in parts)

    assert split == folded([pair_sums(whole, WINDOW_SECONDS)])
    assert folded([pair_sums(joined(parts), WINDOW_SECONDS)]) == split
    assert counts_by_slice(distinct(parts)) == counts_by_slice(distinct([whole]))


@settings(max_examples=EXAMPLES)
@given(many())
def test_a_stream_counts_identical_inputs_once(both: list[Both]) -> None:
    """The first pair of an input decides whether it agreed and when it began."""
    columns, _ = columns_of(both)
    counts: dict[tuple[str, str], tuple[int, int, int]] = {}
    seen: set[tuple[str, str, str]] = set()
    for pair in expected_of(both).pairs:
        for name in pair.slices:
            if (pair.artifact, name, pair.input_digest) in seen:
                continue
            seen.add((pair.artifact, name, pair.input_digest))
            inputs, disagreements, at_us = counts.get((pair.artifact, name), (0, 0, pair.at_us))
            counts[pair.artifact, name] = (
                inputs + 1,
                disagreements + (not pair.agrees),
                min(at_us, pair.at_us),
            )

    assert counts_by_slice(distinct([columns])) == counts
