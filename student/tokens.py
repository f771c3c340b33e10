"""Text to token ids with the artifact's own tokenizer file, and rows of ids to padded arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ledger.artifacts import ArtifactError

TokenIds = tuple[int, ...]
Tokens = NDArray[np.int64]  # [batch, seq]


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer, cutting at `max_tokens`, special tokens included. Raises ArtifactError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ArtifactError(f"{path} is no tokenizer file: {error}") from error
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
    """Ids of each text; at least one, so that a text of no known token still makes a row."""
    encodings = tokenizer.encode_batch_fast(list(texts))  # without offsets, which nobody reads
    return [tuple(encoding.ids) or (0,) for encoding in encodings]


def pad(rows: Sequence[TokenIds]) -> tuple[Tokens, Tokens]:
    """Ids, filled with zeros to the longest row, and the mask that tells the model to ignore the filling."""
    width = max(map(len, rows))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask
