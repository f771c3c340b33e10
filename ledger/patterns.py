"""Regular expressions over callers' texts, by RE2 (the extra `slices`): time linear in the text, whatever it says.

The syntax is RE2's: no look-around and no back references, which are what can make others take for ever.
"""

from functools import lru_cache
from typing import Any

READ_CHARACTERS = 16_384  # of a text; what follows is not looked at
MAX_PATTERN_CHARACTERS = 1000
_COMPILED = 256


def pattern_problem(pattern: str) -> str | None:
    """Why it is no regular expression, or None. Raises ImportError without the extra."""
    import re2

    try:
        _compiled(pattern)
    except re2.error as error:
        return error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
    return None


def is_found(pattern: str, text: str) -> bool:
    """Whether it matches anywhere in the part of the text that is looked at."""
    return _compiled(pattern).search(text[:READ_CHARACTERS].encode(errors="replace")) is not None


@lru_cache(_COMPILED)
def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options=options)
