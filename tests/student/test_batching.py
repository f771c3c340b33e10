"""Which inputs run together."""

from hypothesis import given
from hypothesis import strategies as st

from student.batching import Waiting, choose, length_class, split

NOW = 100.0
waiting_inputs = st.lists(
    st.builds(
        Waiting,
        request=st.integers(0, 20),
        place=st.integers(0, 3),
        artifact=st.sampled_from(["a", "b"]),
        row=st.integers(1, 200).map(lambda length: tuple(range(length))),
        deadline=st.integers(95, 105).map(float),
    ),
    max_size=40,
)
limits = st.integers(64, 1000)


def waiting(length: int, deadline: float = NOW + 1, artifact: str = "a", request: int = 0) -> Waiting:
    return Waiting(request, 0, artifact, tuple(range(length)), deadline)


@given(waiting_inputs, limits)
def test_every_input_is_in_exactly_one_place(entries: list[Waiting], limit: int) -> None:
    """Nothing is lost, nothing runs twice."""
    choice = choose(entries, limit, NOW)
    together = [*choice.batch, *choice.expired, *choice.left]
    assert sorted(map(id, together)) == sorted(map(id, entries))


@given(waiting_inputs, limits)
def test_a_batch_stays_within_its_padded_size(entries: list[Waiting], limit: int) -> None:
    """Rows times the longest row is at most the limit, unless one row alone is longer."""
    batch = choose(entries, limit, NOW).batch
    if len(batch) > 1:
        assert len(batch) * max(len(entry.row) for entry in batch) <= limit


@given(waiting_inputs, limits)
def test_a_batch_is_of_one_artifact_and_one_length_class(entries: list[Waiting], limit: int) -> None:
    """Padding never more than doubles a row above the shortest class."""
    batch = choose(entries, limit, NOW).batch
    assert len({(entry.artifact, length_class(len(entry.row))) for entry in batch}) <= 1
    for entry in batch:
        assert max(len(other.row) for other in batch) <= max(16, 2 * len(entry.row))


@given(waiting_inputs, limits)
def test_the_most_urgent_living_input_runs_first(entries: list[Waiting], limit: int) -> None:
    """Whatever else waits, the earliest deadline that has not passed is in the batch."""
    choice = choose(entries, limit, NOW)
    alive = [entry.deadline for entry in entries if entry.deadline > NOW]
    assert bool(choice.batch) == bool(alive)
    if alive:
        assert choice.batch[0].deadline == min(alive)


@given(waiting_inputs, limits)
def test_nothing_past_its_deadline_runs(entries: list[Waiting], limit: int) -> None:
    """An input whose deadline has passed is dropped, and only such an input is."""
    choice = choose(entries, limit, NOW)
    assert all(entry.deadline > NOW for entry in (*choice.batch, *choice.left))
    assert all(entry.deadline <= NOW for entry in choice.expired)


@given(waiting_inputs, limits)
def test_choosing_again_empties_the_queue(entries: list[Waiting], limit: int) -> None:
    """No input starves: as many choices as inputs are always enough."""
    left = tuple(entries)
    for _ in range(len(entries)):
        left = choose(left, limit, NOW).left
    assert not left


def test_a_batch_is_filled() -> None:
    """What fits is taken: sixteen rows of four tokens into 64."""
    choice = choose([waiting(4) for _ in range(20)], 64, NOW)
    assert (len(choice.batch), len(choice.left)) == (16, 4)


def test_a_row_longer_than_the_limit_runs_alone() -> None:
    """It is answered rather than kept for ever."""
    choice = choose([waiting(500), waiting(500)], 64, NOW)
    assert (len(choice.batch), len(choice.left)) == (1, 1)


@given(st.lists(st.integers(1, 300), max_size=60), limits)
def test_split_covers_every_row_within_the_limit(lengths: list[int], limit: int) -> None:
    """Off line, too, each row is in one batch, and no batch is larger than allowed."""
    batches = split(lengths, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit
