"""Whether another connection may be tried: a pure decision over the failures so far and the clock.

After `limit` failures in a row the breaker opens for `seconds`. Then one attempt may pass each `seconds` (half
open): if it connects, the breaker closes; if it fails, or never reports, the next one has to wait as long.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are seconds of a monotonic clock."""

    limit: int
    seconds: float
    failures: int = 0  # in a row
    closed_until: float = 0.0  # while open: no attempt before

    @property
    def is_open(self) -> bool:
        return self.failures >= self.limit

    def attempt(self, now: float) -> "Breaker | None":
        """The breaker after the permission to try, or None if nobody may try now."""
        if not self.is_open:
            return self
        if now < self.closed_until:
            return None
        return Breaker(self.limit, self.seconds, self.failures, now + self.seconds)

    def failed(self, now: float) -> "Breaker":
        return Breaker(self.limit, self.seconds, self.failures + 1, now + self.seconds)

    def connected(self) -> "Breaker":
        return Breaker(self.limit, self.seconds) if self.failures else self
