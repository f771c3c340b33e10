"""Which waiting inputs run together: the most urgent one and others of about its length.

Pure functions over tokenised inputs. A batch costs its padded size, rows times the longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from student.tokens import TokenIds

SHORTEST_CLASS = 16  # tokens; rows up to here share a batch whatever their length


@dataclass(frozen=True, slots=True)
class Waiting:
    """One tokenised input of one request."""

    request: int  # the server's own number of the request
    place: int  # of the input within the request
    artifact: str
    row: TokenIds
    deadline: float  # event-loop time


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of everything that waits: every input is in exactly one of the three."""

    batch: tuple[Waiting, ...]
    expired: tuple[Waiting, ...]  # whose deadline has passed; nobody waits for them any more
    left: tuple[Waiting, ...]


def choose(waiting: Sequence[Waiting], max_batch_tokens: int, now: float) -> Choice:
    """The next batch: the input with the earliest deadline, then others in the order of their deadlines.

    Companions share its artifact and its length class, so that padding at most doubles a row above
    SHORTEST_CLASS. A single row longer than `max_batch_tokens` runs alone.
    """
    alive = sorted((entry for entry in waiting if entry.deadline > now), key=lambda entry: entry.deadline)
    expired = tuple(entry for entry in waiting if entry.deadline <= now)
    batch: list[Waiting] = []
    left: list[Waiting] = []
    longest = 0
    company = _company(alive[0]) if alive else None
    for entry in alive:
        padded = max(longest, len(entry.row))
        fits = padded * (len(batch) + 1) <= max_batch_tokens and _company(entry) == company
        if not batch or fits:
            batch.append(entry)
            longest = padded
        else:
            left.append(entry)
    return Choice(tuple(batch), expired, tuple(left))


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
    """Lengths up to 16, 32, 64, ... tokens."""
    return (max(length, SHORTEST_CLASS) - 1).bit_length()


def _company(entry: Waiting) -> tuple[str, int]:
    """What inputs of one batch have in common."""
    return entry.artifact, length_class(len(entry.row))
