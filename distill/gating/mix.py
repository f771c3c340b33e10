"""The mix of requests that a student will serve: patterns of inputs a request and words an input, by their traffic."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distill.curation.rows import Row

INPUT_EDGES = (1, 2, 5, 17)  # inputs of one request: alone, a few, a handful, a batch
WORD_EDGES = (0, 8, 16, 32, 64, 128, 256)
MOST_PATTERNS = 4
LEAST_SHARE = 0.05  # of the traffic; a rarer pattern is not one of the top ones
DAY_US, LEAST_SPAN_US = 86_400 * 1_000_000, 3_600 * 1_000_000
REQUESTS = 200  # timed of each: the bound of the 95th percentile is then no single hiccup of the machine


@dataclass(frozen=True, slots=True)
class Pattern:
    """Requests that are alike, with texts as they came."""

    name: str
    share: float  # of the requests
    requests: tuple[tuple[str, ...], ...]  # the texts of each


def patterns_of(rows: Iterable[Row]) -> tuple[Pattern, ...]:
    """The top patterns of the traffic that the rows came from, the most frequent first.

    A row stands for as many requests as its text came, over the probability with which the teacher was asked.
    """
    requests: dict[str, list[Row]] = {}
    for row in rows:
        requests.setdefault(row.exchange_id, []).append(row)
    weights: Counter[str] = Counter()
    members: dict[str, list[tuple[str, ...]]] = {}
    for request in requests.values():
        name = _name(request)
        weights[name] += round(max(row.repeats / row.inclusion for row in request) * 1000)
        members.setdefault(name, []).append(tuple(row.text for row in request))
    total = sum(weights.values())
    return tuple(
        Pattern(name, weight / total, tuple(_filled(members[name])))
        for name, weight in weights.most_common(MOST_PATTERNS)
        if weight / total >= LEAST_SHARE
    )


def inputs_per_day(rows: Sequence[Row]) -> float | None:
    """How many inputs a day the rows stand for; None where they span less than an hour."""
    if not rows:
        return None
    span_us = max(row.at_us for row in rows) - min(row.at_us for row in rows)
    if span_us < LEAST_SPAN_US:
        return None
    return sum(row.repeats / row.inclusion for row in rows) * DAY_US / span_us


def _name(request: Sequence[Row]) -> str:
    longest = max(row.words or len(row.text.split()) for row in request)
    return f"{_band(INPUT_EDGES, len(request))} inputs of {_band(WORD_EDGES, longest)} words"


def _band(edges: Sequence[int], value: int) -> str:
    place = max(index for index, edge in enumerate(edges) if value >= edge)
    if place == len(edges) - 1:
        return f"{edges[place]}+"
    last = edges[place + 1] - 1
    return str(last) if last == edges[place] else f"{edges[place]}-{last}"


def _filled(requests: Sequence[tuple[str, ...]]) -> Iterable[tuple[str, ...]]:
    """As many requests as are timed, spread over all; again from the first where there are fewer."""
    step = max(1, len(requests) // REQUESTS)
    spread = requests[::step]
    return (spread[place % len(spread)] for place in range(REQUESTS))
