"""The keyed draw of the shadow."""

from pathlib import Path

import pytest

from gateway.sampling import KEY_FILE, is_drawn, sampling_key
from ledger.kept_key import KEY_BYTES

KEY, OTHER_KEY = b"k" * KEY_BYTES, b"o" * KEY_BYTES


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_so_many_are_drawn(share: float) -> None:
    """The share of a long run is the share that was asked for, within five standard deviations."""
    drawn = sum(is_drawn(KEY, "g0", sequence, share) for sequence in range(20_000))
    assert abs(drawn / 20_000 - share) <= 5 * (share * (1 - share) / 20_000) ** 0.5


def test_who_is_in_at_a_small_share_is_in_at_a_large_one() -> None:
    """Raising the share keeps what was drawn, so that two students stay comparable."""
    small = {sequence for sequence in range(2_000) if is_drawn(KEY, "g0", sequence, 0.2)}
    large = {sequence for sequence in range(2_000) if is_drawn(KEY, "g0", sequence, 0.6)}
    assert small < large


def test_the_key_decides() -> None:
    """Without it the draw cannot be foreseen: another key, or another gateway, draws other exchanges."""
    draws = [
        [is_drawn(key, gateway, sequence, 0.5) for sequence in range(1_000)]
        for key, gateway in ((KEY, "g0"), (OTHER_KEY, "g0"), (KEY, "g1"))
    ]
    agreement = [sum(a == b for a, b in zip(draws[0], other, strict=True)) for other in draws[1:]]
    assert all(400 < equal < 600 for equal in agreement)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    """Every start finds the same key, which only its owner may read."""
    key = sampling_key(tmp_path / "state")
    path = tmp_path / "state" / KEY_FILE
    assert (len(key), path.stat().st_mode & 0o777) == (KEY_BYTES, 0o600)
    assert sampling_key(tmp_path / "state") == key
    assert [one.name for one in (tmp_path / "state").iterdir()] == [KEY_FILE]


def test_a_damaged_key_file_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway starts with a key for this run and says what to do."""
    (tmp_path / KEY_FILE).write_bytes(b"short")
    assert len(sampling_key(tmp_path)) == KEY_BYTES
    assert "remove it" in caplog.text
    assert (tmp_path / KEY_FILE).read_bytes() == b"short"
