"""Loss of power: whatever had not been synced is gone, or there in pieces."""

import os
import random
import shutil
import statistics
import time
from pathlib import Path

import pytest

from ledger.exchange_file import exchange_path
from tests.gateway.running import read_exchanges, start_gateway, wait_until
from tests.reliability.callers import Seen, closed_load
from tests.reliability.images import integrity_of
from tests.reliability.lossy import can_mount, mounted
from tests.reliability.promises import Ledger, check_ledger
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher
from tests.reliability.test_stops import window_of

KEPT = (0.0, 0.5, 1.0)  # how likely an unsynced page is on the disk all the same
# The file system is Python and shares its cores, in `make test` with other tests; the table has what was measured.
LOSS_SECONDS = sized(10, 2, 2)


@pytest.mark.row("F16")
@pytest.mark.skipif(bool(can_mount()), reason=f"power loss needs a file system of its own: {can_mount()}")
def test_loss_of_power(row: Row, tmp_path: Path) -> None:
    """At random moments under load the power goes: the file opens whole, holds every exchange answered before
    the window, and the gateway starts from it with accounts that hold."""
    losses = sized(6, 100, 300)
    row.size = f"{losses} losses, unsynced pages kept with probability {KEPT}"
    disk, images = tmp_path / "disk", tmp_path / "images"
    disk.mkdir()
    with nginx_teacher(tmp_path / "teacher") as teacher, mounted(disk) as files:
        running = start_gateway(disk, teacher.url)
        with closed_load(running.port, 4) as load:
            wait_until(lambda: load.answered() > 50)
            moments = []
            for number in range(losses):
                time.sleep(row.rng.uniform(0.02, 0.2))
                moments.append(files.image(images / str(number), row.rng, KEPT[number % len(KEPT)]))
        check_ledger(row, running, Ledger(load.seen, teacher=teacher))
        assert running.stop() == 0
        assert files.syncs > losses
    windows = [window_after(images / str(number), moment, load.seen) for number, moment in enumerate(moments)]
    for number in range(0, losses, max(1, losses // 5)):
        start_from(images / str(number), teacher_url=teacher.url)
    row.note(
        window_median_ms=round(statistics.median(windows) * 1e3, 1),
        window_largest_ms=round(max(windows) * 1e3, 1),
    )
    assert max(windows) < LOSS_SECONDS


def window_after(image: Path, moment: float, seen: list[Seen]) -> float:
    """Opens what is left in a copy, so that the gateway finds the image untouched."""
    copy = image.with_name(f"{image.name}-opened")
    shutil.copytree(image, copy)
    assert integrity_of(exchange_path(copy, "g0")) == "ok"
    recorded = {exchange.exchange_id for exchange in read_exchanges(copy)}
    shutil.rmtree(copy)
    return window_of([one for one in seen if one.ended_at <= moment], recorded, moment)


def start_from(image: Path, teacher_url: str) -> None:
    """The next start on what is left: the accounts hold and the next request is recorded."""
    running = start_gateway(image, teacher_url)
    try:
        before = running.settled()
        assert before["recorded"] == len(running.exchanges())
        running.predict("after the loss")
        assert running.settled()["recorded"] == before["recorded"] + 1
    finally:
        running.kill()


def test_the_file_system_loses_what_was_not_synced(tmp_path: Path) -> None:
    """The instrument itself: unsynced bytes are gone from an image, synced ones are there."""
    reason = can_mount()
    if reason:
        pytest.skip(reason)
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.mkdir()
    with mounted(disk) as files:
        with (disk / "kept").open("wb", buffering=0) as kept, (disk / "lost").open("wb", buffering=0) as lost:
            kept.write(b"synced")
            os.fsync(kept.fileno())
            kept.write(b" and not")
            lost.write(b"never synced")
        files.image(image, random.Random(1), 0.0)
    assert (image / "kept").read_bytes() == b"synced"
    assert (image / "lost").read_bytes() == b""
