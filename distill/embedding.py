"""Where texts lie in an encoder's space: the mean of its token vectors, scaled to length one."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_BATCH_ROWS = 32

Say = Callable[[str, float], None]


def embed(encoder: str, texts: Sequence[str], max_tokens: int, say: Say | None = None) -> NDArray[np.float32]:
    """Unit vectors [texts, width] of an encoder that is a local folder or a hub's name; about 100 texts/s a core."""
    import torch

    from distill.training.encode import load_tokenizer, padded, tokenize, tokenizer_file
    from distill.training.transformer_student import load_encoder

    model = load_encoder(encoder).eval()
    token_ids = tokenize(load_tokenizer(tokenizer_file(encoder), max_tokens), list(texts))
    order = sorted(range(len(texts)), key=lambda place: len(token_ids[place]))  # little padding
    vectors: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH_ROWS):
            places = order[start : start + _BATCH_ROWS]
            input_ids, mask = padded([token_ids[place] for place in places])
            hidden = model(input_ids=input_ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            mean = ((hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)).numpy()
            if vectors is None:
                vectors = np.zeros((len(texts), mean.shape[1]), dtype=np.float32)
            vectors[places] = mean
            if say:
                say("embedding texts", (start + len(places)) / len(order))
    if vectors is None:
        return np.zeros((0, 1), dtype=np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors
