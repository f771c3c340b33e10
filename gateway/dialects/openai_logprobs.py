"""From token logprobs to a distribution over classes.

The sampled tokens are followed until the words so far can only become one class. At every step each listed
alternative that would lead to exactly one class gives its probability to that class. Everything else is
`other`: what lies outside the listed top, alternatives that lead to no class, and those that leave it open.
The classes are then divided by what they have together, one minus `other`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.dialects.dialect import is_number
from ledger.class_texts import normalised_text
from ledger.observation import Observation, hard_label, observe

LEAST_CLASS_SHARE = 0.5  # with less on the classes together, only the class that was said is kept


def observation_of(
    said: int, tokens: Sequence[Any], texts: Mapping[str, int], class_count: int
) -> Observation:
    """What an answer that said this class observed; a hard label where the tokens do not tell more.

    `texts` maps normalised texts to class indices.
    """
    masses = class_masses(tokens, texts, class_count)
    if masses is None:
        return hard_label(said, class_count)
    share = math.fsum(masses)
    other = min(1.0, max(0.0, 1 - share))
    if share < LEAST_CLASS_SHARE:
        return hard_label(said, class_count, other)
    observation = observe([mass / share for mass in masses], class_count)
    return observation._replace(other=other) if observation.error is None else hard_label(said, class_count)


def class_masses(tokens: Sequence[Any], texts: Mapping[str, int], class_count: int) -> list[float] | None:
    """Probability of each class, which sum to one minus `other`; None if the tokens do not spell a class."""
    masses = [0.0] * class_count
    left, said = 1.0, ""
    for token in tokens:
        alternatives = _alternatives(token)
        if alternatives is None:
            return None
        sampled = alternatives.pop(token["token"])
        for text, probability in alternatives.items():
            index = _class_ahead(said + text, texts)
            if index is not None:
                masses[index] += left * probability
        left, said = left * sampled, said + token["token"]
        ahead = _classes_ahead(normalised_text(said), texts)
        if len(ahead) == 1:
            masses[ahead.pop()] += left
            return masses
    index = texts.get(normalised_text(said))
    if index is None:
        return None
    masses[index] += left
    return masses


def _class_ahead(text: str, texts: Mapping[str, int]) -> int | None:
    """The class that these words name, or the only one that they can still become."""
    words = normalised_text(text)
    if words in texts:
        return texts[words]
    ahead = _classes_ahead(words, texts)
    return ahead.pop() if len(ahead) == 1 else None


def _classes_ahead(words: str, texts: Mapping[str, int]) -> set[int]:
    return {index for text, index in texts.items() if text.startswith(words)}


def _alternatives(token: Any) -> dict[str, float] | None:
    """Text -> probability of what was sampled and what is listed beside it; None if that cannot be read."""
    if not isinstance(token, dict):
        return None
    listed = token.get("top_logprobs") or []
    entries = [*listed, token] if isinstance(listed, list) else [token]
    found: dict[str, float] = {}
    for entry in entries:
        text = entry.get("token") if isinstance(entry, dict) else None
        logprob = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not is_number(logprob) or not logprob <= 1e-3:
            return None
        found[text] = math.exp(min(0.0, logprob))
    return found
