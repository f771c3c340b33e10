"""Text to token ids with the artifact's own tokenizer file, and rows of ids to padded arrays."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ledger.artifacts import ArtifactError

TokenIds = tuple[int, ...]
Tokens = NDArray[np.int64]  # [batch, seq]

CHARACTERS_A_TOKEN = 8  # English WordPiece needs about 4.5; a text that needs more is tokenised whole
_END_OF_WORD = re.compile(r"\S(?=[ \n])")
_SPLITS_AT_SPACES = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
_KEEPS_SPACES = frozenset({"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"})


@dataclass(frozen=True, slots=True)
class HeadFirst:
    """A tokenizer that reads only the head of a long text where the rest cannot change its first ids."""

    tokenizer: Tokenizer
    max_tokens: int
    head_characters: int  # 0: whole texts always

    def rows(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of each text; at least one, so that a text of no known token still makes a row.

        The library tokenises a whole text before it cuts. A head that ends with a word and fills max_tokens
        by itself has the ids of the whole; one that does not (spaces, endless words) is no answer.
        """
        if not self.head_characters:
            return tokenize(self.tokenizer, texts)
        heads = [_head(text, self.head_characters) for text in texts]
        rows = tokenize(self.tokenizer, heads)
        for index, (row, head, text) in enumerate(zip(rows, heads, texts, strict=True)):
            if len(row) < self.max_tokens and len(head) < len(text):
                rows[index] = tokenize(self.tokenizer, [text])[0]
        return rows


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer, cutting at `max_tokens`, special tokens included. Raises ArtifactError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ArtifactError(f"{path} is no tokenizer file: {error}") from error
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def head_first(tokenizer: Tokenizer, max_tokens: int) -> HeadFirst:
    """Reads heads where each word of the text is tokenised for itself, else whole texts."""
    document = json.loads(tokenizer.to_str())
    apart = (
        _all_of(document.get("normalizer"), "normalizers", _KEEPS_SPACES)
        and _first_of(document.get("pre_tokenizer")) in _SPLITS_AT_SPACES
        and not any(re.search(r"\s", token["content"]) for token in document.get("added_tokens", ()))
    )
    return HeadFirst(tokenizer, max_tokens, max_tokens * CHARACTERS_A_TOKEN if apart else 0)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
    """Ids of each text, read whole."""
    encodings = tokenizer.encode_batch_fast(list(texts))  # without offsets, which nobody reads
    return [tuple(encoding.ids) or (0,) for encoding in encodings]


def pad(rows: Sequence[TokenIds]) -> tuple[Tokens, Tokens]:
    """Ids, filled with zeros to the longest row, and the mask that tells the model to ignore the filling."""
    lengths = np.array([len(row) for row in rows])
    within = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(within.shape, dtype=np.int64)
    ids[within] = np.fromiter(chain.from_iterable(rows), np.int64, lengths.sum())
    return ids, within.astype(np.int64)


def _head(text: str, characters: int) -> str:
    """The text up to the end of the word that stands at `characters`."""
    if len(text) <= characters:
        return text
    end = _END_OF_WORD.search(text, characters)
    return text[: end.end()] if end else text


def _all_of(part: Mapping[str, Any] | None, inner: str, allowed: frozenset[str]) -> bool:
    if part is None:
        return True
    if part["type"] == "Sequence":
        return all(_all_of(one, inner, allowed) for one in part[inner])
    return part["type"] in allowed


def _first_of(part: Mapping[str, Any] | None) -> str:
    """The pre-tokenizer that sees the text first."""
    if part is None:
        return ""
    if part["type"] == "Sequence":
        return _first_of(part["pretokenizers"][0]) if part["pretokenizers"] else ""
    return str(part["type"])
