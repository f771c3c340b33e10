"""The stretch of time that a report covers: whole windows of the monitor, by their start."""

import re
from dataclasses import dataclass
from datetime import datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
_AGO = re.compile(rf"([1-9][0-9]{{0,5}})([{''.join(_UNITS)}])")

BEGINNING_US = 0
END_US = 2**62  # later than any moment that is ever stored


@dataclass(frozen=True, slots=True)
class Period:
    """Windows that start in [since_us, until_us); None reaches to the first or the last."""

    since_us: int | None = None
    until_us: int | None = None

    @property
    def is_whole_life(self) -> bool:
        return self.since_us is None and self.until_us is None

    @property
    def bounds_us(self) -> tuple[int, int]:
        """As numbers to compare with."""
        return (
            BEGINNING_US if self.since_us is None else self.since_us,
            END_US if self.until_us is None else self.until_us,
        )

    def holds(self, at_us: int) -> bool:
        since, until = self.bounds_us
        return since <= at_us < until


def period_of(
    since: str | None, start: str | None, end: str | None, window_seconds: int, now_us: int
) -> Period:
    """Read --since, or --from and --to. Raises ValueError with a sentence for what cannot be read.

    Both ends move down to the start of the window that holds them, so that exchanges and sums mean the same.
    """
    if since is not None and start is not None:
        raise ValueError("--since and --from both say where the report begins; give one of them")
    begin = now_us - _ago_us(since) if since is not None else None if start is None else moment_us(start)
    until = None if end is None else moment_us(end)
    if begin is not None and until is not None and begin >= until:
        raise ValueError("the report would end before it begins; --from has to be earlier than --to")
    width = window_seconds * 1_000_000
    down = [None if at is None else max(0, at // width * width) for at in (begin, until)]
    if down[0] is not None and down[0] == down[1]:
        down[1] = down[0] + width
    return Period(*down)


def moment_us(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 time with its offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no ISO 8601 time; write 2026-11-22T03:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say its offset from UTC; write {moment.isoformat()}Z")
    try:
        return round(moment.timestamp() * 1_000_000)
    except (OverflowError, ValueError):
        raise ValueError(f"{text!r} is out of reach; write a year such as 2026") from None


def _ago_us(text: str) -> int:
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"--since {text!r} is no length of time; write 90m, 12h, 7d or 4w")
    return int(found[1]) * _UNITS[found[2]] * 1_000_000
