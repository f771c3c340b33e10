"""Reading the head of a long text alone: it must never change an id."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from student.tokens import CHARACTERS_A_TOKEN, head_first, load_tokenizer, pad, tokenize

MAX_TOKENS = 8
WORDS = ["[UNK]", "[CLS]", "[SEP]", "the", "dog", "##s", "bark", "##ing", "a", "é", "猫", "."]


def wordpiece() -> Tokenizer:
    """As BERT's: normaliser, pre-tokenizer, sub-words and the two special tokens."""
    tokenizer = Tokenizer(
        models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def by_whitespace() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def unigram_of_whole_texts() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("a", -1.0), (" ", -1.0), ("a a", -0.5)], 0, False))
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


BERT, WHITESPACE = wordpiece(), by_whitespace()
pieces = st.one_of(
    st.sampled_from(
        ["the dogs ", "barking", " ", "\n", "   ", "\t", "\x1c", "\u200b", "é", "e\u0301", "猫", ". ", "Σ "]
    ),
    st.text(max_size=12),
    st.integers(1, 150).map(lambda length: "x" * length),
    st.integers(1, 150).map(lambda length: " " * length),
)
texts = st.lists(st.lists(pieces, max_size=40).map("".join), min_size=1, max_size=3)


@given(texts)
def test_ids_are_those_of_the_whole_text(texts: list[str]) -> None:
    """Whatever the text: spaces, endless words, accents in two characters, control characters."""
    for tokenizer in (BERT, WHITESPACE):
        reading = head_first(tokenizer, MAX_TOKENS)
        assert reading.head_characters == MAX_TOKENS * CHARACTERS_A_TOKEN
        assert reading.rows(texts) == tokenize(tokenizer, texts)


def test_only_the_head_is_read() -> None:
    """A long text costs what its head costs: the rest is not even looked at."""
    reading = head_first(BERT, MAX_TOKENS)
    long = "the dogs bark " * 100_000
    assert reading.rows([long]) == tokenize(BERT, [long[:200]])


def test_a_head_that_fills_no_row_is_not_trusted() -> None:
    """Words after a long stretch of spaces count, as they do in the whole text."""
    assert head_first(BERT, MAX_TOKENS).rows(["the" + " " * 500 + "dogs"]) == [(1, 3, 4, 5, 2)]


@pytest.mark.parametrize("tokenizer", [unigram_of_whole_texts(), Tokenizer(models.BPE())])
def test_a_tokenizer_that_does_not_split_at_spaces_reads_whole_texts(tokenizer: Tokenizer) -> None:
    """There a later word may change the pieces of an earlier one."""
    assert head_first(tokenizer, MAX_TOKENS).head_characters == 0


def test_added_tokens_with_spaces_forbid_the_cut() -> None:
    """A token such as "New York" could lie across it."""
    tokenizer = wordpiece()
    tokenizer.add_tokens(["the dog"])
    assert head_first(tokenizer, MAX_TOKENS).head_characters == 0


def test_a_saved_tokenizer_is_read_the_same_way(tmp_path: Path) -> None:
    """The file of an artifact, with its own limit."""
    BERT.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json", 5)
    assert head_first(loaded, 5).rows(["the dogs bark " * 50]) == [(1, 3, 4, 5, 2)]


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6).map(tuple), min_size=1, max_size=5))
def test_padding(rows: list[tuple[int, ...]]) -> None:
    """Ids first, zeros after them, and a mask that tells which is which."""
    ids, mask = pad(rows)
    assert ids.dtype == mask.dtype == np.int64
    for row, padded, seen in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        assert tuple(padded[: len(row)]) == row
        assert padded[len(row) :] == [0] * (len(padded) - len(row))
        assert seen == [1] * len(row) + [0] * (len(padded) - len(row))
