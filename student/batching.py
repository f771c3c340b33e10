"""Which waiting inputs run together: the most urgent one and others of about its length.

A batch costs its padded size, rows times the longest row, so rows of one length class share it. Inputs that a
caller waits for go first; within each urgency the earliest deadline does, so no length class starves another.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from student.tokens import TokenIds

SHORTEST_CLASS = 16  # tokens; rows up to here share a batch whatever their length
LEAST_STEP = 8

Company = tuple[bool, str, int]  # shadow (False first), artifact, length class: what inputs of a batch share


class Waiting(NamedTuple):
    """One tokenised input of one request. Ordered by deadline, then by arrival."""

    deadline: float  # event-loop time
    number: int  # of its arrival: never twice
    request: int  # the server's own number of the request
    place: int  # of the input within the request
    row: TokenIds


class Buckets:
    """Everything that is tokenised and waits, one heap for each company."""

    def __init__(self) -> None:
        self._heaps: dict[Company, list[Waiting]] = {}

    def __bool__(self) -> bool:
        return bool(self._heaps)

    def add(self, artifact: str, shadow: bool, entry: Waiting) -> None:
        company = shadow, artifact, length_class(len(entry.row))
        heappush(self._heaps.setdefault(company, []), entry)

    def take_over(self, other: "Buckets") -> None:
        for company, entries in other._heaps.items():
            heap = self._heaps.setdefault(company, [])
            for entry in entries:
                heappush(heap, entry)

    def expired(self, now: float) -> list[Waiting]:
        """Take out what nobody waits for any more."""
        found: list[Waiting] = []
        for company, heap in list(self._heaps.items()):
            while heap and heap[0].deadline <= now:
                found.append(heappop(heap))
            if not heap:
                del self._heaps[company]
        return found

    def next_batch(self, max_batch_tokens: int) -> tuple[str, list[Waiting]] | None:
        """Take out an artifact's next batch: the most urgent input and its company, by deadline.

        A single row longer than `max_batch_tokens` runs alone.
        """
        if not self._heaps:
            return None
        company = min(self._heaps, key=lambda company: (company[0], self._heaps[company][0]))
        heap = self._heaps[company]
        batch = [heappop(heap)]
        longest = len(batch[0].row)
        while heap and max(longest, len(heap[0].row)) * (len(batch) + 1) <= max_batch_tokens:
            batch.append(heappop(heap))
            longest = max(longest, len(batch[-1].row))
        if not heap:
            del self._heaps[company]
        return company[1], batch


def split(lengths: Sequence[int], max_batch_tokens: int) -> list[list[int]]:
    """Indices of all rows in batches of ascending length, each within `max_batch_tokens` or a single row."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= max_batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def length_class(length: int) -> int:
    """The longest row of its class: 16, 24, 32, ... 128, 144, ... 256, 288, ... tokens.

    Steps of an eighth: short rows share a run for its fixed cost, and long ones, for which a batch on a processor
    is no faster than the rows alone, are padded by little.
    """
    if length <= SHORTEST_CLASS:
        return SHORTEST_CLASS
    step = max(LEAST_STEP, 1 << ((length - 1).bit_length() - 4))
    return -(-length // step) * step
