"""HTML and SVG from functions: every text is escaped, and what would hide or reorder text is written out."""

import html
import re
import unicodedata

# Control, bidirectional and invisible characters, lone surrogates, line and paragraph separators.
_UNSEEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
MOST_MARKS = 4  # combining characters in a row: more of them would overprint the lines around


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


NOTHING = Markup("")


def element(tag: str, attributes: dict[str, object] | None = None, *children: str | None) -> Markup:
    """An element; children that are no markup are texts, None is left out.

    An attribute whose value is None or False is left out, one that is True has its name alone. `_` in names of
    attributes stands for `-`, and a last one is dropped: `class_`.
    """
    pairs = "".join(_attribute(name, value) for name, value in (attributes or {}).items())
    return Markup(f"<{tag}{pairs}>{joined(*children)}</{tag}>")


def void(tag: str, attributes: dict[str, object]) -> Markup:
    """An element without content, closed as both HTML and XML have it."""
    return Markup(f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}/>")


def joined(*children: str | None) -> Markup:
    return Markup("".join(text(child) for child in children if child is not None))


def text(given: str) -> Markup:
    """A text that can neither become markup nor disturb what stands around it."""
    return given if isinstance(given, Markup) else Markup(html.escape(visible(given)))


def visible(given: str) -> str:
    """With what cannot be seen written as \\uXXXX, and towers of accents cut."""
    return _UNSEEN.sub(lambda found: _written(ord(found[0])), _without_towers(given))


def _written(point: int) -> str:
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _without_towers(given: str) -> str:
    if given.isascii():
        return given
    kept, marks = [], 0
    for character in given:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f' {name}="{name}"'
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(visible(shown))}"'
