"""The values that slices are named after: bands, hours, and what callers sent, cut to a bounded length."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.languages import UNCLEAR

MAX_VALUE_LENGTH = 80  # of what a caller sent in a slice name; longer values are cut, never dropped
OTHER = "other"  # a language that is not told apart; a value above max_values
_BETWEEN = " & "  # the two values of a combination
_MINUTE_US = 60_000_000


def attribute_value(sent: str) -> str | None:
    """The value that a header or a place in the body gives to its slice; None where it is empty."""
    return sent.strip()[:MAX_VALUE_LENGTH] or None


def word_band(edges: Sequence[int], words: int) -> str:
    """`0-49`, `50-149`, `150+` for the edges (50, 150): lower edge included."""
    index = bisect_right(edges, words)
    low = edges[index - 1] if index else 0
    return f"{low}+" if index == len(edges) else f"{low}-{edges[index] - 1}"


def character_band(edges: Sequence[int], text: str) -> str:
    """The same for the Unicode characters of a text."""
    return word_band(edges, len(text))


def language_value(told_apart: Sequence[str], language: str) -> str:
    return language if language in told_apart or language == UNCLEAR else OTHER


def pattern_value(found: bool) -> str:
    return "yes" if found else "no"


def is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def hour_of(at_us: int, time_zone: str) -> int:
    """The hour that clocks of the zone show. Zones have been whole minutes away from UTC since 1972."""
    return _hour_of_minute(at_us // _MINUTE_US, time_zone)


def hour_band(edges: Sequence[int], hour: int) -> str:
    """`06:00-18:00` and `18:00-06:00` for the edges (6, 18): the last band goes on past midnight."""
    index = bisect_right(edges, hour) - 1
    return f"{edges[index]:02}:00-{edges[(index + 1) % len(edges)]:02}:00"


def joined(first: str, second: str) -> str:
    """One value for two. An `&` inside either is doubled, so that no two combinations share a name."""
    return _BETWEEN.join(value.replace("&", "&&") for value in (first, second))


@lru_cache(4096)
def _hour_of_minute(minute: int, time_zone: str) -> int:
    return datetime.fromtimestamp(minute * 60, ZoneInfo(time_zone)).hour
