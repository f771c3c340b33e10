"""What one tick shows each slice of each student, identical inputs once: a client's retries are no evidence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ledger.harms import Harm
from monitor.columns import PairColumns
from monitor.distances import BINS
from monitor.histograms import Bools, Ints, share_bin
from monitor.slicing import NO_SLICE, new_codes
from monitor.trigger import Slice

Counts = tuple[int, int, int]  # distinct inputs, disagreements, start of the earliest exchange
Bins = Mapping[Slice, tuple[int, ...]]  # distinct inputs by the bin of their loss


@dataclass(frozen=True, slots=True)
class Distinct:
    """The first arrival of each input in each slice, one entry of every column for each."""

    slices: tuple[Slice, ...]
    place: Ints  # index into slices
    agrees: Bools
    at_us: Ints  # start of the exchange
    bins: Mapping[Harm, Ints]  # of its distances


def distinct(pages: Sequence[PairColumns]) -> Distinct:
    slices: dict[Slice, int] = {}
    digests = new_codes()
    seen = [part for columns in pages for part in _seen(columns, slices, digests)]
    if not seen:
        nothing = np.zeros(0, dtype=np.int64)
        return Distinct((), nothing, nothing.astype(np.bool_), nothing, {})
    place, digest, agrees, at_us, variation, bits = map(np.concatenate, zip(*seen, strict=True))
    first = _first_arrivals(place * len(digests) + digest)
    bins = {Harm.TOTAL_VARIATION: _bins(variation[first]), Harm.DIVERGENCE_BITS: _bins(bits[first])}
    return Distinct(tuple(slices), place[first], agrees[first].astype(np.bool_), at_us[first], bins)


def _first_arrivals(codes: Ints) -> Ints:
    """The place of the first of each code, by rising code.

    Code and place in one number, so that plain numbers are sorted: several times as fast as to sort places by code.
    """
    bits = len(codes).bit_length()
    ordered: Ints = np.sort(codes << bits | np.arange(len(codes)))
    is_first = np.diff(ordered >> bits, prepend=-1) != 0
    places: Ints = ordered[is_first] & ((1 << bits) - 1)
    return places


def counts_by_slice(found: Distinct) -> dict[Slice, Counts]:
    """Inputs and disagreements."""
    size = len(found.slices)
    inputs = np.bincount(found.place, minlength=size)
    disagreements = np.bincount(found.place[~found.agrees], minlength=size)
    earliest = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(earliest, found.place, found.at_us)
    counts = zip(inputs.tolist(), disagreements.tolist(), earliest.tolist(), strict=True)
    return {name: of_slice for name, of_slice in zip(found.slices, counts, strict=True) if of_slice[0]}


def bins_by_slice(found: Distinct, harm: Harm) -> dict[Slice, tuple[int, ...]]:
    """Inputs by the bin of a distance."""
    if not len(found.place):
        return {}
    where = found.place * BINS + found.bins[harm]
    table = np.bincount(where, minlength=len(found.slices) * BINS).reshape(-1, BINS).tolist()
    return {name: tuple(row) for name, row in zip(found.slices, table, strict=True) if any(row)}


def _bins(amounts: Ints) -> Ints:
    """Of the detector, which has half as many as the sums."""
    return share_bin(amounts) >> 1


def _seen(
    columns: PairColumns, slices: dict[Slice, int], digests: dict[str, int]
) -> Iterator[tuple[Ints, Ints, Bools, Ints, Ints, Ints]]:
    """Slice, digest, agreement, start and both distances of every pair in every rule's slice; names new slices
    and digests."""
    digest = np.fromiter(map(digests.__getitem__, columns.digests), np.int64, len(columns))
    measures = columns.measures
    for rule in columns.slices:
        inside = np.flatnonzero(rule.codes != NO_SLICE)
        table = np.array(
            [
                [slices.setdefault((artifact, name), len(slices)) for name in rule.names]
                for artifact in columns.artifacts
            ],
            dtype=np.int64,
        )
        place = table[columns.artifact[inside], rule.codes[inside]] if len(inside) else inside
        yield (
            place,
            digest[inside],
            measures.agrees[inside],
            columns.at_us[inside],
            measures.total_variation[inside],
            measures.divergence_bits[inside],
        )
