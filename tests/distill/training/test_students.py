"""The two kinds of student, made from an encoder on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.training.encode import load_tokenizer, padded, tokenizer_file
from distill.training.predict import predict_logits
from distill.training.static_student import StaticStudent, sif_log_weights, token_table
from distill.training.transformer_student import cut_layers, load_encoder, transformer_student
from tests.distill.encoders import DEPTH, VOCABULARY, write_encoder

SPECIAL_IDS = (1, 2)
ROWS = ((1, 4, 5, 2), (1, 7, 2), (1, 4, 5, 6, 7, 8, 9, 2))


@pytest.fixture
def encoder(tmp_path: Path) -> nn.Module:
    return load_encoder(str(write_encoder(tmp_path)))


def test_a_token_table_has_the_encoders_answer_to_each_token_alone(encoder: nn.Module) -> None:
    """Distances between token vectors are those between the encoder's answers, up to one scale."""
    table = token_table(encoder, SPECIAL_IDS, width=16)
    with torch.inference_mode():
        answers = [
            encoder(input_ids=torch.tensor([[1, token, 2]])).last_hidden_state.mean(1) for token in (4, 7, 9)
        ]
    ratios = [
        torch.dist(table[a], table[b]) / torch.dist(x, y)
        for (a, x), (b, y) in [((4, answers[0]), (7, answers[1])), ((7, answers[1]), (9, answers[2]))]
    ]
    assert table.shape == (len(VOCABULARY), 16)
    assert ratios[0].item() == pytest.approx(ratios[1].item(), rel=1e-3)


def test_a_token_table_is_narrower_when_asked(encoder: nn.Module) -> None:
    """PCA keeps the directions of most variance first."""
    table = token_table(encoder, SPECIAL_IDS, width=4)
    spread = table.var(dim=0)
    assert table.shape == (len(VOCABULARY), 4)
    assert torch.equal(spread.sort(descending=True).values, spread)


def test_rare_tokens_weigh_more() -> None:
    """Log weights rise with the id, from the most to the least frequent token, and never exceed 0."""
    weights = sif_log_weights(1000).squeeze()
    assert bool((weights.diff() > 0).all())
    assert weights[-1].item() < 0


def test_a_static_student_does_not_see_padding() -> None:
    """The same text padded to another length has the same logits."""
    student = StaticStudent(torch.randn(len(VOCABULARY), 8), classes=3).eval()
    input_ids, mask = padded(ROWS)
    together = student(input_ids, mask)[1]
    alone = student(*padded(ROWS[1:2]))[0]
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_static_student_does_not_see_order() -> None:
    """It is a mean: that is what makes it cheap."""
    student = StaticStudent(torch.randn(len(VOCABULARY), 8), classes=3)
    first, second = predict_logits(student, [(1, 4, 5, 2), (1, 5, 4, 2)])
    assert np.allclose(first, second, atol=1e-6)


def test_a_transformer_student_keeps_the_named_layers(encoder: nn.Module) -> None:
    """Layers 0 and 2 of three, with their weights, in this order."""
    wanted = [encoder.get_parameter(f"encoder.layer.{layer}.output.dense.weight").clone() for layer in (0, 2)]
    student = transformer_student(encoder, (0, 2), classes=2)
    found = [student.get_parameter(f"encoder.encoder.layer.{place}.output.dense.weight") for place in (0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert predict_logits(student, ROWS).shape == (3, 2)


def test_without_names_the_first_and_the_last_layer_are_kept(encoder: nn.Module) -> None:
    """Two layers of whatever depth."""
    cut_layers(encoder, ())
    assert encoder.config.num_hidden_layers == 2  # type: ignore[union-attr]


def test_impossible_layers_are_refused(encoder: nn.Module) -> None:
    """A layer that is not there gets a sentence."""
    with pytest.raises(ValueError, match="do not exist"):
        cut_layers(encoder, (0, 9))


def test_a_small_encoder_is_a_student_whole(encoder: nn.Module) -> None:
    """All layers may be named."""
    cut_layers(encoder, range(DEPTH))
    assert encoder.config.num_hidden_layers == DEPTH  # type: ignore[union-attr]


def test_token_vectors_are_frozen_and_nothing_else(encoder: nn.Module) -> None:
    """What trains are layers and head."""
    student = transformer_student(encoder, (0,), classes=2)
    frozen = [name for name, weight in student.named_parameters() if not weight.requires_grad]
    assert frozen == ["encoder.embeddings.word_embeddings.weight"]


def test_the_tokenizer_cuts_where_training_says_and_pads_nothing(tmp_path: Path) -> None:
    """Whatever length and padding the encoder's file asks for."""
    tokenizer = load_tokenizer(tokenizer_file(str(write_encoder(tmp_path))), max_tokens=8)
    assert len(tokenizer.encode("disk " * 50).ids) == 8
    assert tokenizer.encode("disk").ids == [1, VOCABULARY["disk"], 2]


def test_an_encoder_without_a_tokenizer_file_is_refused(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        tokenizer_file(str(tmp_path))
