"""What makes two texts the same, or nearly the same: a key, and shingles as numbers.

A shingle is five words; of texts with fewer than eight words, or of a script without spaces, five characters.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5  # words, or characters
LEAST_WORDS = 8  # of a text that is compared by words
MOST_LETTERS_A_WORD = 40  # more: the script puts no spaces between words
MOST_CHARACTERS = 32_768  # of a text that are compared; no student reads further

Shingles = NDArray[np.uint64]  # sorted, distinct
_MULTIPLIERS = np.array(  # odd, one for each place in a run
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 1], np.uint64
)
_WORD_BYTES = 8


def exact_key(text: str) -> str:
    """The same for texts that differ in white space or in the form of their characters alone; case counts."""
    return hashlib.blake2b(_normal(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shingles(text: str) -> Shingles:
    """Of the text in lower case, as 64-bit hashes; a text of fewer than five characters is one shingle."""
    normal = _normal(text[:MOST_CHARACTERS]).casefold()
    words = normal.split(" ")
    if len(words) < LEAST_WORDS or _has_no_spaces(normal, words):
        return _hashed(_letters(normal))
    return _hashed(_numbers(words))


def terms(text: str) -> NDArray[np.uint64]:
    """Its words as numbers, as often as they come; runs of two letters where a script has no spaces."""
    normal = _normal(text[:MOST_CHARACTERS]).casefold()
    words = normal.split(" ")
    if not _has_no_spaces(normal, words):
        return _numbers(words)
    letters = _letters(normal)
    return _mixed(_mixed(letters[:-1]) * _MULTIPLIERS[0] + letters[1:])


def phrases(text: str, length: int) -> Shingles:
    """Every run of so many words (at most five) as a hash; none of a shorter text."""
    words = _normal(text[:MOST_CHARACTERS]).casefold().split(" ")
    return _hashed(_numbers(words), length) if len(words) >= length else np.empty(0, np.uint64)


def jaccard(first: Shingles, second: Shingles) -> float:
    """Share of their shingles that both have."""
    if not len(first) or not len(second):
        return 0.0
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _has_no_spaces(normal: str, words: Sequence[str]) -> bool:
    return len(normal) > MOST_LETTERS_A_WORD * len(words)


def _letters(normal: str) -> NDArray[np.uint64]:
    return np.frombuffer(normal.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)


def _numbers(words: Sequence[str]) -> NDArray[np.uint64]:
    return np.array([_word_number(word) for word in words], np.uint64)


@lru_cache(maxsize=65_536)
def _word_number(word: str) -> int:
    hashed = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_WORD_BYTES)
    return int.from_bytes(hashed.digest(), "little")


def _hashed(numbers: NDArray[np.uint64], length: int = SHINGLE) -> Shingles:
    """One hash for each run of `length` numbers, in arithmetic modulo 2^64; distinct ones, sorted."""
    length = max(1, min(length, len(numbers)))
    runs = (
        np.lib.stride_tricks.sliding_window_view(numbers, length) if len(numbers) else numbers.reshape(0, 1)
    )
    mixed = _mixed(runs) * _MULTIPLIERS[:length]
    return np.unique(_mixed(mixed.sum(axis=1, dtype=np.uint64)))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of MurmurHash3: a bijection after which near numbers lie far apart."""
    mixed = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    found: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(33))
    return found


def lists_of(texts: Sequence[str]) -> list[Shingles]:
    """Shingles of each text."""
    return [shingles(text) for text in texts]
