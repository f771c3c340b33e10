"""The breaker is a pure decision over failures and the clock."""

from gateway.upstream.breaker import Breaker


def after_failures(count: int, at: float = 0.0) -> Breaker:
    breaker = Breaker(limit=3, seconds=10)
    for _ in range(count):
        breaker = breaker.failed(at)
    return breaker


def test_closed_below_the_limit() -> None:
    """Two failures of three change nothing for the next attempt."""
    breaker = after_failures(2)
    assert not breaker.is_open
    assert breaker.attempt(0.0) is breaker


def test_open_at_the_limit_until_its_time_is_over() -> None:
    """Nobody may try at 9.9 seconds; somebody may at 10."""
    breaker = after_failures(3, at=100.0)
    assert breaker.is_open
    assert breaker.attempt(109.9) is None
    assert breaker.attempt(110.0) is not None


def test_half_open_lets_one_attempt_pass() -> None:
    """While it is under way, or was never reported, the next one waits as long again."""
    trying = after_failures(3).attempt(10.0)
    assert trying is not None
    assert trying.is_open
    assert trying.attempt(10.1) is None
    assert trying.attempt(20.0) is not None


def test_success_closes_and_forgets() -> None:
    """After it, the failures are counted from zero."""
    trying = after_failures(5).attempt(10.0)
    assert trying is not None
    closed = trying.connected()
    assert not closed.is_open
    assert closed.failed(11.0).failed(11.0).attempt(11.0) is not None


def test_failure_while_half_open_opens_again() -> None:
    """From the moment of the failure."""
    trying = after_failures(3).attempt(10.0)
    assert trying is not None
    assert trying.failed(12.0).attempt(21.9) is None
    assert trying.failed(12.0).attempt(22.0) is not None
