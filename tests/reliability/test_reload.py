"""A changed configuration file under load, good and bad in turn."""

import signal
import time
from pathlib import Path

import pytest

from tests.gateway.running import gateway, wait_until
from tests.reliability.callers import closed_load
from tests.reliability.promises import promises
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher

LOADED = "stillgate_configuration_loaded_timestamp_seconds"
REFUSED = 'stillgate_degraded{part="configuration"}'


@pytest.mark.row("F27")
def test_bad_files_under_load(row: Row, tmp_path: Path) -> None:
    """The file is cut or has bits flipped, told by SIGHUP, and is put right again at any moment: no caller
    notices, and the last file is the one that is obeyed."""
    files = sized(5, 50, 200)
    row.size = f"{files} bad files"
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
    ):
        path = tmp_path / "stillgate.toml"
        good = path.read_bytes()
        with closed_load(running.port, 4, pause_seconds=0.005) as load:
            for _ in range(files):
                bad = bytearray(good[: row.rng.randrange(1, len(good))])
                bad[row.rng.randrange(len(bad))] ^= 0x80
                path.write_bytes(bad)
                running.process.send_signal(signal.SIGHUP)
                time.sleep(row.rng.uniform(0, 0.1))  # the next signal may come while this file is read
                path.write_bytes(good)
                told_at = time.time()
                running.process.send_signal(signal.SIGHUP)
                wait_until(lambda told_at=told_at: running.metrics()[LOADED] >= told_at)
                assert running.metrics()[REFUSED] == 0
                wait_until(lambda before=load.answered(): load.answered() > before)
        ledger.seen = load.seen
    assert all(seen.complete and seen.status == 200 for seen in load.seen)
