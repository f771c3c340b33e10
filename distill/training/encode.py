"""Text to token ids in training: literally the serving code, so that a student is served the ids it learned.

A tokenizer comes from the same place as the encoder's weights: a local folder or a hub name.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ledger.artifacts import TOKENIZER_FILE
from student.tokens import TokenIds, load_tokenizer, pad, tokenize

__all__ = ["TokenIds", "load_tokenizer", "padded", "save_tokenizer", "tokenize", "tokenizer_file"]


def tokenizer_file(encoder: str) -> Path:
    """The encoder's tokenizer.json, fetched when `encoder` is a hub name. Raises FileNotFoundError."""
    folder = Path(encoder)
    if not folder.is_dir():
        from transformers.utils.hub import cached_file

        return Path(str(cached_file(encoder, TOKENIZER_FILE)))  # it raises, rather than answering None
    if not (folder / TOKENIZER_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {TOKENIZER_FILE}; a fast tokenizer is needed, since serving loads nothing else"
        )
    return folder / TOKENIZER_FILE


def padded(rows: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
    """(input_ids, attention_mask), both int64 [rows, longest row]."""
    input_ids, attention_mask = pad(rows)
    return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer as it was used in training, truncation included."""
    tokenizer.save(str(folder / TOKENIZER_FILE))
