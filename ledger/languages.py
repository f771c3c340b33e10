"""The language of a text, by py3langid (the extra `slices`): a fixed model, the same answer every time.

About 60 us a text; the model takes a second to load and stays in memory, where somebody asks for a language.
"""

from functools import cache, lru_cache
from threading import Thread
from typing import Any

READ_CHARACTERS = 1000  # of a text; what follows changes the answer of hardly any
LEAST_PROBABILITY = 0.5  # of a language that is named: more than all others together
UNCLEAR = "unclear"  # too short, too mixed, or no words at all
_REMEMBERED = 1024  # texts: several students answer the same one, and its label asks for it again

# ISO 639 codes of what the model tells apart; written down, so that reading a configuration does not load it
_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext "
    "fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja "
    "jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no "
    "nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk "
    "tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu "
)
LANGUAGES = frozenset(_CODES.split())


def language_of(text: str) -> str:
    """An ISO 639 code, or UNCLEAR. Raises ImportError without the extra."""
    return _language_of(text[:READ_CHARACTERS])


def languages_are_ready() -> bool:
    """Whether `language_of` answers at once; the first call has the model loaded beside."""
    if _identifier.cache_info().currsize == 0:
        _loading()
        return False
    return True


@lru_cache(_REMEMBERED)
def _language_of(text: str) -> str:
    code, _ = _identifier().classify(text)
    return UNCLEAR if code == "und" else str(code)


@cache
def _loading() -> Thread:
    thread = Thread(target=_identifier, name="languages", daemon=True)
    thread.start()
    return thread


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=LEAST_PROBABILITY)
