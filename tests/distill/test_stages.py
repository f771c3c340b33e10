"""Stages: done once for the same inputs, gone on with after a kill, refused when somebody changed what they wrote."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distill.stages import Stage, StageChanged, finished_stages, run_stage, stage_key

INPUTS = {"rows": "abc", "seed": 1}


def write_rows(folder: Path) -> dict[str, int]:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "rows").write_text("rows")
    return {"rows": 7}


def never(folder: Path) -> dict[str, int]:
    raise AssertionError("it was done before")


def test_a_stage_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    """The second call finds what the first one gave and does not work again."""
    first = run_stage(tmp_path, Stage.CURATE, INPUTS, write_rows)
    again = run_stage(tmp_path, Stage.CURATE, {"seed": 1, "rows": "abc"}, never)

    assert (first.is_reused, again.is_reused) == (False, True)
    assert (again.gave, again.digest, again.folder) == ({"rows": 7}, first.digest, first.folder)
    assert first.files.keys() == {"deep/rows"}


def test_other_inputs_begin_another_folder(tmp_path: Path) -> None:
    """So does another stage with the same inputs."""
    folders = {
        run_stage(tmp_path, stage, inputs, write_rows).folder
        for stage, inputs in ((Stage.CURATE, INPUTS), (Stage.CURATE, {"rows": "abd"}), (Stage.SPLIT, INPUTS))
    }

    assert len(folders) == 3
    assert [finished.stage for finished in finished_stages(tmp_path)] == [
        Stage.CURATE,
        Stage.CURATE,
        Stage.SPLIT,
    ]


def test_what_a_stage_gave_decides_what_comes_after(tmp_path: Path) -> None:
    """Equal files under equal inputs have equal digests; one byte more is another digest."""
    digests = []
    for name, content in (("a", "x"), ("b", "x"), ("c", "y")):
        finished = run_stage(
            tmp_path / name, Stage.TRAIN, INPUTS, lambda folder, content=content: _write(folder, content)
        )
        digests.append(finished.digest)

    assert digests[0] == digests[1] != digests[2]


def _write(folder: Path, content: str) -> dict[str, int]:
    (folder / "weights").write_text(content)
    return {}


def test_a_stage_that_was_killed_goes_on_in_its_folder(tmp_path: Path) -> None:
    """The checkpoint that a killed process left is what the next call finds; nothing counts as done before."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from distill.stages import Stage, run_stage\n"
        "def work(folder):\n"
        "    (folder / 'checkpoint').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_stage(pathlib.Path(sys.argv[1]), Stage.TRAIN, {'seed': 1}, work)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert finished_stages(tmp_path) == []

    def go_on(folder: Path) -> dict[str, str]:
        return {"found": (folder / "checkpoint").read_text()}

    assert run_stage(tmp_path, Stage.TRAIN, {"seed": 1}, go_on).gave == {"found": "half"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "deep" / "rows").write_text("other"), "was changed"),
        (lambda folder: (folder / "deep" / "rows").unlink(), "is gone"),
        (lambda folder: (folder / "more").write_text("x"), "is new"),
    ],
)
def test_a_finished_stage_that_was_changed_is_refused(tmp_path: Path, change, says) -> None:  # type: ignore[no-untyped-def]
    """The message names the file, what became of it and the way out."""
    folder = run_stage(tmp_path, Stage.CURATE, INPUTS, write_rows).folder
    change(folder)

    with pytest.raises(StageChanged, match=rf"{says} since the stage curate ended; remove the folder"):
        run_stage(tmp_path, Stage.CURATE, INPUTS, never)


def test_a_failed_stage_is_not_done(tmp_path: Path) -> None:
    """What was raised comes out; the next call works again."""
    with pytest.raises(OSError, match="disk full"):
        run_stage(tmp_path, Stage.CURATE, INPUTS, _disk_full)

    assert not run_stage(tmp_path, Stage.CURATE, INPUTS, write_rows).is_reused


def _disk_full(folder: Path) -> dict[str, int]:
    raise OSError("disk full")


def test_the_key_says_stage_and_inputs_alone() -> None:
    """Neither the order of the inputs nor the folder is part of it."""
    assert stage_key(Stage.TRAIN, {"a": 1, "b": 2}) == stage_key(Stage.TRAIN, {"b": 2, "a": 1})
    assert stage_key(Stage.TRAIN, {"a": 1}) != stage_key(Stage.EXPORT, {"a": 1})
