"""A run that is killed, cut or out of room, and what its folder then holds."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distill.training import checkpoints
from distill.training.train import FITTED_FILE, Fitted, StopReason, train
from tests.distill.encoders import build_rows
from tests.distill.training.small_run import SETTINGS, run
from tests.distill.training.test_train import build_student
from tests.reliability.scale import sized

LONGER = pytest.mark.skipif(not sized(0, 1, 1), reason="part of `make reliability`")
SMALL_RUN = ("-m", "tests.distill.training.small_run")


def in_a_process(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, *SMALL_RUN, str(folder), *options), capture_output=True, text=True, timeout=120
    )


def test_a_run_that_is_killed_twice_ends_with_the_same_weights(tmp_path: Path) -> None:
    """In the middle of a step, the second time right after it went on; history and best step are the same too."""
    whole = run(tmp_path / "whole")
    for die_at in (17, 2):
        killed = in_a_process(tmp_path / "killed", "--die-at", str(die_at))
        assert killed.returncode == -signal.SIGKILL
    assert checkpoints.last_checkpoint(tmp_path / "killed") == tmp_path / "killed" / "checkpoint-17"
    resumed = run(tmp_path / "killed")
    assert (resumed.digest, resumed.best_step) == (whole.digest, whole.best_step)
    assert resumed.history == whole.history
    assert (whole.resumed, resumed.resumed) == (0, 2)


@LONGER
def test_a_checkpoint_that_was_not_finished_is_not_taken(tmp_path: Path) -> None:
    """What lies in the folder of unfinished ones counts for nothing."""
    assert in_a_process(tmp_path / "killed", "--die-at", "6").returncode == -signal.SIGKILL
    torn = tmp_path / "killed" / checkpoints.UNFINISHED / "checkpoint-99"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"torn")
    assert run(tmp_path / "killed").digest == run(tmp_path / "whole").digest


@LONGER
def test_without_room_it_says_so_and_the_checkpoint_before_stands(tmp_path: Path) -> None:
    """Files of 1,500 bytes at most: the optimiser's state is larger. With room again the run ends as ever."""
    assert in_a_process(tmp_path / "full", "--die-at", "9").returncode == -signal.SIGKILL
    before = checkpoints.last_checkpoint(tmp_path / "full")
    full = in_a_process(tmp_path / "full", "--most-bytes", "1500")
    assert full.stdout.startswith("not saved: ")
    assert "Make room and resume" in full.stdout
    assert checkpoints.last_checkpoint(tmp_path / "full") == before
    assert run(tmp_path / "full").digest == run(tmp_path / "whole").digest


@LONGER
def test_two_processes_come_to_the_verdicts_of_one(tmp_path: Path) -> None:
    """Under `accelerate launch`, each batch divided among the ranks."""
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    quiet = ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    both = subprocess.run(
        (sys.executable, *launch, *quiet, *SMALL_RUN, str(tmp_path / "both")),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert both.returncode == 0, both.stderr
    told, alone = json.loads(both.stdout.splitlines()[-1]), run(tmp_path / "alone")
    assert alone.best is not None
    assert told["stop"] == alone.stop
    assert told["nll"] == pytest.approx(alone.best.dev_nll, abs=0.03)  # dropout draws otherwise on each rank
    assert told["fidelity"] == pytest.approx(alone.best.dev_fidelity, abs=0.05)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    """A student that would die at its first step is given the weights."""
    first = run(tmp_path)
    assert run(tmp_path, die_at=1).digest == first.digest
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == []


def test_other_rows_begin_anew(tmp_path: Path) -> None:
    """A folder is of one run: of its rows, its settings and its first weights."""
    run(tmp_path)
    student = build_student()
    other = train(student, build_rows(50, 150), build_rows(500, 60), SETTINGS, tmp_path)
    assert isinstance(other, Fitted)
    assert other.digest != run(tmp_path / "again").digest
    assert json.loads((tmp_path / FITTED_FILE).read_text())["resumed"] == 0


def test_time_that_is_up_is_kept(tmp_path: Path) -> None:
    """The step of the cut stands in the folder, so that the run ends there whenever it is called again."""
    settings = replace(SETTINGS, budget_seconds=0.0)
    rows = build_rows(0, 150), build_rows(500, 60)
    cut = train(build_student(), *rows, settings, tmp_path)
    assert isinstance(cut, Fitted)
    assert (cut.stop, cut.cut_step) == (StopReason.BUDGET, 1)
    (tmp_path / FITTED_FILE).unlink()  # as if it had been killed before it could say so
    again = train(build_student(), *rows, settings, tmp_path)
    assert isinstance(again, Fitted)
    assert (again.digest, again.cut_step) == (cut.digest, 1)


def test_a_run_is_planned_to_fit_its_time(tmp_path: Path) -> None:
    """At a second a step, 20 seconds are 18 steps and their evaluations; the plan stands when the pace changes."""
    settings = replace(SETTINGS, budget_seconds=20.0)
    rows = build_rows(0, 150), build_rows(500, 60)
    planned = train(build_student(), *rows, settings, tmp_path, seconds_per_step=1.0)
    assert isinstance(planned, Fitted)
    assert (planned.planned_steps, planned.all_steps, planned.stop) == (18, 60, StopReason.BUDGET)
    (tmp_path / FITTED_FILE).unlink()
    again = train(build_student(), *rows, settings, tmp_path, seconds_per_step=0.1)
    assert isinstance(again, Fitted)
    assert (again.planned_steps, again.digest) == (18, planned.digest)
