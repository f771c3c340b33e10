"""Weights of true labels, one over the probability with which a pair came to be labelled, as whole numbers.

A pair is labelled if the teacher was asked about it, the student answered it and its exchange was chosen for
labelling. Dividing by the product of these probabilities undoes the choice (Horvitz and Thompson 1952); a share is
then a sum of weights over a sum of weights (Hajek 1971).
"""

import numpy as np

from ledger.labels import LEAST_PROBABILITY
from monitor.histograms import COARSE, Floats, Ints, Whole

_LOW = COARSE - 1  # mask of the part of an amount below COARSE


def weight_of(probability: float) -> int:
    """In units of 1 / COARSE; at most 1 / LEAST_PROBABILITY, so that no single label outweighs a thousand."""
    return round(COARSE / max(probability, LEAST_PROBABILITY))


def weights_of(probabilities: Floats) -> Ints:
    """weight_of, for many."""
    found: Ints = np.rint(COARSE / np.maximum(probabilities, LEAST_PROBABILITY)).astype(np.int64)
    return found


def weighted(amount: Whole, weight: Whole) -> Whole:
    """Amount times weight, rounded down, in two parts so that neither leaves 64 bits; exact for a weight of 1."""
    return (amount >> 20) * weight + ((amount & _LOW) * weight >> 20)


def excess(weight: Whole) -> Whole:
    """What a weight adds to a count beyond the 1 that every label counts."""
    return weight - COARSE


def square_excess(weight: Whole) -> Whole:
    """What the square of a weight adds beyond 1."""
    return (weight * weight >> 20) - COARSE
