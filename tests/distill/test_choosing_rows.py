"""Rows that are erased while a job chooses its rows."""

import logging
import threading
from pathlib import Path

import pytest

from distill.choosing import Chosen, choose_rows
from distill.context import JobContext
from distill.gating.lock import check_lock
from gateway.control.erasing import Eraser
from ledger.control_file import open_control_file, transaction
from ledger.erasures import open_erasure
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.job_folders import LOCK_FILE, job_folder, read_lists
from ledger.jobs import JobCause, create_job
from tests.distill.desk import TEXT, configuration_of
from tests.distill.encoders import told_apart
from tests.gateway.running import wait_until


def test_a_list_of_rows_read_before_an_erasure_is_thrown_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are chosen anew where an erasure has passed meanwhile, and what was erased is not among them."""
    configuration = configuration_of(tmp_path, TEXT.replace("collect_seconds = 0", "collect_seconds = 600"))
    data = configuration.deployment.data_directory
    engine = open_control_file(data)
    file = ExchangeFile(exchange_path(data, "g0"))
    file.append([told_apart(number) for number in range(100)], [])
    with transaction(engine) as session:
        job = create_job(session, "desk", JobCause.BY_HAND, "ann")
    assert job.id is not None
    folder = job_folder(data, job.id)
    folder.mkdir(parents=True)
    context = JobContext(configuration, configuration.task[0], job, folder)
    chosen: list[Chosen] = []

    caplog.set_level(logging.INFO)
    thread = threading.Thread(target=lambda: chosen.append(choose_rows(context, engine)))
    thread.start()
    wait_until(lambda: "collecting rows" in capfd.readouterr().out)
    with transaction(engine) as session:
        open_erasure(session, "desk", None, [f"g0-{place}" for place in range(10)], "olga")
    Eraser(engine, data, unowned_seconds=0).advance()
    file.append([told_apart(number) for number in range(100, 400)], [])
    thread.join(60)
    assert "action=rows_erased" in caplog.text
    lists = read_lists(folder)
    assert lists.training is not None
    listed = lists.gate | lists.training
    assert listed <= {f"{place:032x}" for place in range(10, 400)}
    assert len(listed) > 350  # a few are set aside as doubtful
    (found,) = chosen
    check_lock(folder / LOCK_FILE, found.lock, found.split.gate)
    file.close()
    engine.dispose()
