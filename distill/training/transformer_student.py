"""The larger student: a few layers of a sentence encoder, mean pooling and a linear head.

Layers spread over the encoder start better than its first ones (DistilBERT, Sanh et al. 2019, takes every
second layer): the last layer speaks the encoder's own output language.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig
from transformers.utils import logging as transformers_logging

from distill.training.pooled_student import PooledStudent

HEAD_RATE_MULTIPLE = 4.0  # the head starts from nothing, the layers from good weights


class TransformerStudent(PooledStudent):
    """A few layers of an encoder, the mean of their token vectors and a linear head."""

    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head: nn.Module = nn.Linear(width, classes)

    @property
    def is_frozen(self) -> bool:
        """Whether the head alone trains."""
        return not any(weight.requires_grad for weight in self.encoder.parameters())

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean of the text's token vectors."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        embedding: Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return embedding


def load_encoder(encoder: str) -> nn.Module:
    """The pretrained encoder in FP32; eager attention, which exports to fewer nodes than the fused kind."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model: nn.Module = AutoModel.from_pretrained(encoder, dtype=torch.float32, attn_implementation="eager")
    return model


def cut_layers(encoder: nn.Module, layers: Sequence[int]) -> None:
    """Keep the named layers alone, in this order; without names, the first and the last. Changes `encoder`.

    All of them may be named: a small encoder is a student whole, and one for a domain may be as large as its teacher.
    """
    config = _config(encoder)
    kept = tuple(layers) or tuple(sorted({0, config.num_hidden_layers - 1}))
    stack_name, stack = _layer_stack(encoder, config.num_hidden_layers)
    outside = [layer for layer in kept if not 0 <= layer < len(stack)]
    if outside:
        raise ValueError(f"layers {outside} do not exist: this encoder has 0 to {len(stack) - 1}")
    encoder.set_submodule(stack_name, nn.ModuleList([stack[layer] for layer in kept]))
    config.num_hidden_layers = len(kept)


def transformer_student(encoder: nn.Module, layers: Sequence[int], classes: int) -> TransformerStudent:
    """Cut the encoder to `layers` and put a new head on it.

    Dropout is off and the token vectors are frozen: on a processor dropout costs 40 % of the training speed,
    and a few thousand texts touch a small part of the vocabulary.
    """
    cut_layers(encoder, layers)
    prepare_encoder(encoder)
    embeddings: nn.Module = encoder.get_input_embeddings()  # type: ignore[operator]
    embeddings.requires_grad_(False)
    return TransformerStudent(encoder, width_of(encoder), classes)


def prepare_encoder(encoder: nn.Module) -> None:
    """Without dropout, and without the pooler that mean pooling does not read."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    _drop_pooler(encoder)


def width_of(encoder: nn.Module) -> int:
    """Of a token's vector."""
    width: int = _config(encoder).hidden_size
    return width


def _config(encoder: nn.Module) -> PretrainedConfig:
    return encoder.config  # type: ignore[return-value]


def _layer_stack(encoder: nn.Module, depth: int) -> tuple[str, nn.ModuleList]:
    for name, module in encoder.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return name, module
    raise ValueError(f"{type(encoder).__name__} has no list of its {depth} layers; name another encoder")


def _drop_pooler(encoder: nn.Module) -> None:
    if getattr(encoder, "pooler", None) is not None:
        encoder.add_module("pooler", None)  # mean pooling does not read it, and it would train to nothing
