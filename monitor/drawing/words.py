"""Numbers and times as a page shows them."""

from datetime import UTC, datetime

NONE = "-"


def percent(value: float | None, digits: int = 1) -> str:
    """100 % is said of everything alone, 0 % of nothing alone."""
    if value is None:
        return NONE
    shown = round(100 * value, digits)
    least = 10**-digits
    if shown >= 100 and value < 1:
        return f"> {100 - least:.{digits}f} %"
    if shown <= 0 and value > 0:
        return f"< {least:.{digits}f} %"
    return f"{shown:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def between(low: float | None, high: float | None) -> str:
    """An interval; open where a bound is not known."""
    if low is None and high is None:
        return NONE
    return f"{'' if low is None else number(low)}-{'' if high is None else number(high)}"


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def moment(at_us: int | None) -> str:
    if at_us is None:
        return NONE
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(at_us: int, span_seconds: float) -> str:
    """A moment on an axis that spans so much time."""
    at = datetime.fromtimestamp(at_us / 1e6, UTC)
    if span_seconds <= 600:
        return at.strftime("%H:%M:%S")
    return at.strftime("%H:%M") if span_seconds <= 2 * 86_400 else at.strftime("%b %d")


def length(seconds: float) -> str:
    """A length of time in its largest fitting unit."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}" if seconds % unit == 0 else f"{seconds / unit:.1f} {name}"
    return f"{seconds:g} s"


def sentence(given: str) -> str:
    """With a capital at the beginning, unless that is a name, and a full stop."""
    first = given.split(" ", 1)[0]
    start = given if any(mark in first for mark in "-=_:") else given[:1].upper() + given[1:]
    return start if start.endswith((".", "?", "!")) else f"{start}."


def words(name: str) -> str:
    return name.replace("_", " ")
