"""A small sentence encoder with its tokenizer, as it would lie on a user's disk, and rows to learn from it."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from distill.training.training_rows import TrainingRows
from ledger.exchange import Exchange
from ledger.observation import Observation
from tests.ledger.builders import build_exchange

WORDS = ("disk", "screen", "driver", "goal", "match", "player", "the", "a", "of")
VOCABULARY = {token: number for number, token in enumerate(("[PAD]", "[CLS]", "[SEP]", "[UNK]", *WORDS))}
DEPTH = 3


def write_encoder(folder: Path, width: int = 16) -> Path:
    """Random weights and a word tokenizer whose file asks for a length and a padding that nobody wants."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=40)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_text(number: int) -> tuple[str, int]:
    """A text and its class: computers (0) or sports (1), with words that say nothing in between."""
    draw = np.random.default_rng(number)
    label = number % 2
    telling = WORDS[:3] if label == 0 else WORDS[3:6]
    words = [*draw.choice(telling, 2), *draw.choice(WORDS[6:], int(draw.integers(1, 9)))]
    return " ".join(words), label


def build_rows(start: int, count: int) -> TrainingRows:
    """Rows whose teacher is right and 90 % sure."""
    texts = [write_text(number) for number in range(start, start + count)]
    return TrainingRows(
        token_ids=tuple((1, *(VOCABULARY[word] for word in text.split()), 2) for text, _ in texts),
        teacher_probabilities=np.array(
            [(0.9, 0.1) if label == 0 else (0.1, 0.9) for _, label in texts], "f4"
        ),
        weights=np.ones(count, dtype=np.float32),
    )


def told_apart(number: int) -> Exchange:
    """An exchange whose teacher tells apart what its words tell apart."""
    text, label = write_text(number)
    sure = Observation((0.9, 0.1) if label == 0 else (0.1, 0.9))
    return build_exchange(number, inputs=(f"{text} {number}",), teacher=(sure,))
