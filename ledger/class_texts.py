"""Texts that name a class: how a teacher that answers in words is understood."""

import re
from collections.abc import Mapping, Sequence

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_SPACES = re.compile(r"\s+")


def normalised_text(text: str) -> str:
    """Without case, without punctuation and space at its ends, one space between words."""
    return _SPACES.sub(" ", _EDGES.sub("", text)).casefold()


def class_texts(labels: Mapping[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Normalised text -> class; without declared labels every class names itself.

    Raises ValueError when a label names no class, a class has no label, or two classes share a text.
    """
    declared = labels or {name: name for name in classes}
    unknown = sorted(set(declared.values()) - set(classes))
    if unknown:
        raise ValueError(f"labels name {unknown}, which are not among the classes; correct or add them")
    missing = sorted(set(classes) - set(declared.values()))
    if missing:
        raise ValueError(f"labels have no text for the classes {missing}; add one for each")
    texts: dict[str, str] = {}
    for text, name in declared.items():
        key = normalised_text(text)
        if not key:
            raise ValueError(f"the label {text!r} has no letter or digit, so it cannot be told from others")
        if texts.setdefault(key, name) != name:
            raise ValueError(
                f"the labels of {name!r} and {texts[key]!r} are both read as {key!r} (case, space and"
                " punctuation do not count); make them differ"
            )
    return texts
