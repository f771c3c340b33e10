"""Near-duplicates become one row, as repeats are; what one caller sends beyond its share goes to quarantine.

Both come before the split: rows of a gate that are copies of one another prove less than they count for, and a
caller who floods the record with easy inputs would raise every figure of it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distill.curation.near_duplicates import near_groups
from distill.curation.review import Doubt, Doubtful, doubtful
from distill.curation.rows import ANONYMOUS, Row
from distill.curation.texts import lists_of
from ledger.configuration import CurationSection

LEAST_OF_A_PRINCIPAL = 20  # rows that anybody may give, however few there are in all
MOST_SHOWN = 1000  # rows of the quarantine that are listed for review
EQUAL_SHARES = 2.0  # where callers are few, each may give so many times an equal share


@dataclass(frozen=True, slots=True)
class Distinct:
    """Rows that differ from one another; `merged` counts those that went into another one."""

    rows: tuple[Row, ...]
    merged: int
    quarantined: tuple[Row, ...]  # each by a caller that had given as many as one may
    principals: int  # that sent rows; 0 where no exchange says whose it is


def distinct_rows(
    rows: Sequence[Row], settings: CurationSection, released: frozenset[str] = frozenset()
) -> Distinct:
    """`released` has digests that a person has taken out of quarantine."""
    grouped = [
        replace(row, group=rows[first].digest)
        for row, first in zip(
            rows, near_groups(lists_of([row.text for row in rows]), settings.near_duplicate), strict=True
        )
    ]
    merged = _merged(grouped)
    quarantined = _beyond_their_share(merged, settings.principal_share, released)
    kept = tuple(row for row in merged if row.digest not in quarantined)
    aside = tuple(row for row in merged if row.digest in quarantined)
    callers = {principal for row in rows for principal in row.principals if principal != ANONYMOUS}
    return Distinct(kept, len(rows) - len(merged), aside, len(callers))


def quarantine_queue(distinct: Distinct, classes: Sequence[str]) -> tuple[Doubtful, ...]:
    """Entries for review. What a person keeps is `released` next time."""
    shown = distinct.quarantined[:MOST_SHOWN]
    return tuple(doubtful(row, Doubt.PRINCIPAL_SHARE, classes, None, True) for row in shown)


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row for each group and answer: near-duplicates that the teacher tells apart are its boundary."""
    kinds: dict[tuple[str, int, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        kinds[(row.group, row.teacher.top, row.truth)].append(row)
    return [_one_of(alike) for alike in kinds.values()]


def _one_of(alike: Sequence[Row]) -> Row:
    """The first, which stands for all: their arrivals and callers are its own."""
    if len(alike) == 1:
        return alike[0]
    repeats = sum(row.repeats for row in alike)
    expected = sum(row.repeats / row.inclusion for row in alike)
    principals = {principal for row in alike for principal in row.principals}
    first, *others = alike
    return replace(
        first,
        also=(*first.also, *(digest for row in others for digest in row.digests)),
        repeats=repeats,
        inclusion=repeats / expected,
        live=sum(row.live for row in alike),
        principals=tuple(sorted(principals)),
    )


def _beyond_their_share(rows: Sequence[Row], share: float, released: frozenset[str]) -> frozenset[str]:
    """Rows of one caller alone beyond what one may give, the rest drawn by their hash, not by who came first.

    Those who do not say who they are count as one where others do; where nobody does, nothing can be told apart.
    """
    by_principal: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if len(row.principals) == 1:
            by_principal[row.principals[0]].append(row)
    if set(by_principal) <= {ANONYMOUS}:
        return frozenset()
    limit = most_rows(len(rows), len(by_principal), share)
    beyond = {row.digest for theirs in by_principal.values() for row in sorted(theirs, key=_draw)[limit:]}
    return frozenset(beyond - released)


def most_rows(rows: int, principals: int, share: float) -> int:
    """Rows that one caller may give."""
    return max(LEAST_OF_A_PRINCIPAL, round(rows * max(share, EQUAL_SHARES / max(1, principals))))


def _draw(row: Row) -> bytes:
    return hashlib.blake2b(f"principal|{row.digest}".encode(), digest_size=8).digest()
