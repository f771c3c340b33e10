"""Which inputs run together."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from student.batching import Buckets, Waiting, length_class, split

NOW = 100.0


def filled(entries: Sequence[tuple[str, bool, int, float]]) -> tuple[Buckets, list[Waiting]]:
    """Buckets of (artifact, shadow, tokens, deadline), and what is in them in order of arrival."""
    buckets, waiting = Buckets(), []
    for number, (artifact, shadow, length, deadline) in enumerate(entries):
        waiting.append(Waiting(deadline, number, number, 0, tuple(range(length))))
        buckets.add(artifact, shadow, waiting[-1])
    return buckets, waiting


def emptied(buckets: Buckets, limit: int) -> list[tuple[str, list[Waiting]]]:
    batches = []
    while chosen := buckets.next_batch(limit):
        batches.append(chosen)
    return batches


inputs = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]), st.booleans(), st.integers(1, 200), st.integers(95, 105).map(float)
    ),
    max_size=40,
)
limits = st.integers(64, 1000)


@given(inputs, limits)
def test_every_input_runs_once_or_expires(entries: list[tuple[str, bool, int, float]], limit: int) -> None:
    """Nothing is lost, nothing runs twice, and only what is past its deadline expires."""
    buckets, waiting = filled(entries)
    expired = buckets.expired(NOW)
    ran = [entry for _, batch in emptied(buckets, limit) for entry in batch]
    assert sorted([*expired, *ran]) == sorted(waiting)
    assert all(entry.deadline <= NOW for entry in expired)
    assert all(entry.deadline > NOW for entry in ran)
    assert not buckets


@given(inputs, limits)
def test_a_batch_stays_within_its_padded_size(
    entries: list[tuple[str, bool, int, float]], limit: int
) -> None:
    """Rows times the longest row is at most the limit, unless one row alone is longer."""
    for _, batch in emptied(filled(entries)[0], limit):
        assert len(batch) == 1 or len(batch) * max(len(entry.row) for entry in batch) <= limit


@given(inputs, limits)
def test_a_batch_is_of_one_artifact_and_one_length_class(
    entries: list[tuple[str, bool, int, float]], limit: int
) -> None:
    """Padding adds at most 7 tokens, or an eighth, to a row above the shortest class."""
    for artifact, batch in emptied(filled(entries)[0], limit):
        assert {entries[entry.number][0] for entry in batch} == {artifact}
        longest = max(len(entry.row) for entry in batch)
        assert all(longest <= max(16, len(entry.row) + 7, 1.125 * len(entry.row)) for entry in batch)


@given(inputs, limits)
def test_callers_go_before_the_shadow_and_deadlines_decide_among_equals(
    entries: list[tuple[str, bool, int, float]], limit: int
) -> None:
    """The first input of each batch is the most urgent of all that wait, whatever its length class."""
    buckets, waiting = filled(entries)
    left = {entry.number: (entries[entry.number][1], entry) for entry in waiting}
    for _, batch in emptied(buckets, limit):
        assert (entries[batch[0].number][1], batch[0]) == min(left.values())
        for entry in batch:
            del left[entry.number]


def test_a_rare_length_does_not_starve() -> None:
    """One long input among a flood of short ones runs at its turn, not when the flood is over."""
    flood = [("a", True, 8, NOW + 1 + number) for number in range(100)]
    buckets, _ = filled([*flood, ("a", True, 300, NOW + 10.5)])
    lengths = [len(batch[0].row) for _, batch in emptied(buckets, 64)]
    assert lengths.index(300) == 2  # after the batches with the deadlines up to 8 and up to 16


def test_buckets_join() -> None:
    """What another thread prepared waits beside what was there."""
    one, _ = filled([("a", True, 4, NOW)])
    other, _ = filled([("a", True, 5, NOW + 1), ("b", False, 3, NOW)])
    one.take_over(other)
    assert [(artifact, len(batch)) for artifact, batch in emptied(one, 64)] == [("b", 1), ("a", 2)]


def test_a_batch_is_filled() -> None:
    """What fits is taken: sixteen rows of four tokens into 64."""
    buckets, _ = filled([("a", True, 4, NOW)] * 20)
    assert [len(batch) for _, batch in emptied(buckets, 64)] == [16, 4]


def test_a_row_longer_than_the_limit_runs_alone() -> None:
    """It is answered rather than kept for ever."""
    buckets, _ = filled([("a", True, 500, NOW)] * 2)
    assert [len(batch) for _, batch in emptied(buckets, 64)] == [1, 1]


@given(st.integers(1, 10_000))
def test_length_classes_are_an_eighth_wide(length: int) -> None:
    """A class is named by its longest row, which is of that class itself."""
    assert length <= length_class(length) <= max(16, length + 7, 1.125 * length)
    assert length_class(length_class(length)) == length_class(length)


@given(st.lists(st.integers(1, 300), max_size=60), limits)
def test_split_covers_every_row_within_the_limit(lengths: list[int], limit: int) -> None:
    """Off line, too, each row is in one batch, and no batch is larger than allowed."""
    batches = split(lengths, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit
