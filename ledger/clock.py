"""Time as it is stored everywhere: whole microseconds since 1970, UTC."""

import time
from datetime import UTC, datetime


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def iso(at_us: int) -> str:
    """The moment as ISO 8601 with an explicit UTC offset, to the second."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="seconds")
