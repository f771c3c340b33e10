"""`stillgate check`: what stops a start, what only warns, and the sentence for each."""

import os
import socket
from pathlib import Path

import pytest
from onnxruntime import get_available_providers as available_providers

from ledger.configuration import load
from stillgate.checks import Weight, findings_of
from stillgate.up import exclusive
from tests.gateway.control.desk import load_from
from tests.stillgate.command import run


def _said(path: Path, weight: Weight) -> list[str]:
    return [finding.sentence for finding in findings_of(load(path)) if finding.weight is weight]


def test_a_usable_configuration_is_0_with_its_warnings(tmp_path: Path) -> None:
    """A teacher that is down and an encoder that is no folder stop nothing."""
    path, _ = load_from(tmp_path)
    checked = run("check", "--config", str(path))
    assert checked.exit_code == 0
    assert "can be run, 3 warnings" in checked.stdout
    assert "teacher" in checked.stdout
    assert "'nowhere'" in checked.stdout


def test_every_mistake_of_the_file_is_named_at_once(tmp_path: Path) -> None:
    """Exit 2, with place, value and way out of each."""
    path, _ = load_from(tmp_path)
    path.write_text(
        path.read_text().replace('dialect = "huggingface"', 'dialect = "telegram"\ncolour = "red"')
    )
    checked = run("check", "--config", str(path))
    assert (checked.exit_code, checked.stdout) == (2, "")
    assert "telegram" in checked.stderr
    assert "task[0].colour" in checked.stderr


def test_a_taken_port_is_an_error_unless_it_is_ours(tmp_path: Path) -> None:
    """A running `stillgate up` of the same deployment holds its ports rightly."""
    path, configuration = load_from(tmp_path)
    host, _, port = configuration.gateway.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        checked = run("check", "--config", str(path))
        assert (checked.exit_code, configuration.gateway.listen in checked.stdout) == (2, True)
        with exclusive(configuration.deployment.data_directory):
            assert _said(path, Weight.ERROR) == []


@pytest.mark.parametrize("place", ["/dev/null/data", "/proc/data"])
def test_a_data_directory_that_cannot_be_written_is_an_error(tmp_path: Path, place: str) -> None:
    """Before anything is started."""
    path, _ = load_from(tmp_path)
    path.write_text(path.read_text().replace('"data"', f'"{place}"'))
    if place.startswith("/proc") and os.access("/proc", os.W_OK):
        path.write_text(path.read_text().replace("/proc/data", str(path / "inside")))
    (said,) = _said(path, Weight.ERROR)
    assert "data_directory" in said


FAIRNESS = """[task.fairness]
none_because = "no people"
declared_by = "olga"
declared_on = 2026-01-02
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("distillation_allowed = true", "distillation_allowed = false", "do not permit"),
        (FAIRNESS, "", "no fairness section"),
        ('inputs = "text"', 'inputs = "nothing"', "find no rows"),
        ('inputs = "text"', 'inputs = "text"\nredact = []', "as they come"),
        ('name = "news"', 'name = "posts"', "no capture.subject_header"),
        ('validator = "pete"', 'validator = "olga"', "may not approve"),
        ('validator = "pete"', 'validator = "dora"', "may not approve"),
        ('owner = "owen"', 'owner = "change me"', "governance.owner"),
        ('[[task.candidate]]\nkind = "static"\nencoder = "nowhere"\n', "", "no candidate section"),
    ],
)
def test_what_will_not_work_later_is_a_warning_now(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    """The deployment runs, and somebody knows."""
    path, _ = load_from(tmp_path)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert any(said in sentence for sentence in _said(path, Weight.WARNING))


OPENAI = """
[task.openai]
models = ["m"]
request_logprobs = true
top_logprobs = 1
"""


def test_what_a_dialect_gives_up_is_said(tmp_path: Path) -> None:
    """Asking for logprobs costs callers the teacher's untouched bytes; an odd path is probably a mistake."""
    path, _ = load_from(tmp_path)
    text = path.read_text().replace('dialect = "huggingface"', 'dialect = "openai-chat"')
    path.write_text(text.replace("[task.governance]", OPENAI + "[task.governance]"))
    said = _said(path, Weight.WARNING)
    for words in ("no longer passed on untouched", "fewer alternatives than", "is no such path"):
        assert any(words in sentence for sentence in said), words


def test_without_licence_no_job_can_run(tmp_path: Path) -> None:
    """It is said before somebody waits for a student."""
    path, _ = load_from(tmp_path)
    text = path.read_text()
    licence = text[text.index("[task.licence]") : text.index("[task.governance]")]
    path.write_text(text.replace(licence, ""))
    assert any("no licence section" in sentence for sentence in _said(path, Weight.WARNING))


def test_an_admin_api_that_is_reachable_from_outside_is_a_warning(tmp_path: Path) -> None:
    """It speaks plain HTTP, and keys travel over it."""
    path, configuration = load_from(tmp_path)
    port = configuration.control.listen.rpartition(":")[2]
    path.write_text(path.read_text().replace(configuration.control.listen, f"0.0.0.0:{port}"))
    assert any("plain HTTP" in sentence for sentence in _said(path, Weight.WARNING))


def test_a_teacher_that_answers_is_not_mentioned(tmp_path: Path) -> None:
    """Silence is good news."""
    path, configuration = load_from(tmp_path)
    host, _, port = configuration.task[0].teacher.url.removeprefix("http://").rpartition(":")
    with socket.create_server((host, int(port))):
        assert not any("teacher at" in sentence for sentence in _said(path, Weight.WARNING))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_installed_is_an_error(tmp_path: Path, provider: str) -> None:
    """It is named with those there and the way out: nothing falls back to the CPU in silence."""
    if "CUDAExecutionProvider" in available_providers():
        pytest.skip("this onnxruntime has CUDA")
    path, _ = load_from(tmp_path)
    path.write_text(f'{path.read_text()}\n[student]\nproviders = ["{provider}", "cpu"]\n')
    (said,) = _said(path, Weight.ERROR)
    assert provider in said
    assert "CPUExecutionProvider" in said
    assert "stillgate[gpu]" in said
    assert run("check", "--config", str(path)).exit_code == 2


def test_a_certificate_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    """With the task, the setting and the path."""
    path, configuration = load_from(tmp_path)
    url = configuration.task[0].teacher.url
    secure = f'url = "{url.replace("http:", "https:")}"\nca_file = "absent.pem"'
    path.write_text(path.read_text().replace(f'url = "{url}"', secure))
    (sentence,) = _said(path, Weight.ERROR)
    assert "task.teacher.ca_file" in sentence
    assert str(tmp_path / "absent.pem") in sentence


def test_a_webhook_whose_secret_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    """The sentence says how to make one."""
    path, _ = load_from(tmp_path)
    (tmp_path / "secret").write_text("hunter2")
    section = '\n[[webhook]]\nname = "pager"\nurl = "http://127.0.0.1:1/"\nsecret_file = "secret"\n'
    path.write_text(path.read_text() + section)
    (said,) = [sentence for sentence in _said(path, Weight.WARNING) if "pager" in sentence]
    assert "whsec_" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("lines", "settings", "said"),
    [
        ('{"inputs": "a"}\n{"question": "b"}\n', "", "line 2 is no request of this task: request_not_text"),
        ('{"inputs"\n', "", "line 1 is no JSON document"),
        ('{"inputs": "a"}\n', "every_hours = 0.001", "are 24000 calls a day"),
    ],
)
def test_declared_probes_are_checked(tmp_path: Path, lines: str, settings: str, said: str) -> None:
    """As the gateway would find them, line by line."""
    path, _ = load_from(tmp_path)
    (tmp_path / "probes.jsonl").write_text(lines)
    section = f'[task.probe]\nfile = "probes.jsonl"\n{settings}\n[task.licence]'
    path.write_text(path.read_text().replace("[task.licence]", section))
    assert [sentence for sentence in _said(path, Weight.ERROR) if said in sentence]


def test_a_ceiling_of_nothing_is_warned_of(tmp_path: Path) -> None:
    """Audits could not be made."""
    path, _ = load_from(tmp_path)
    section = "[task.extra_calls]\nper_day = 0\n[task.licence]"
    path.write_text(path.read_text().replace("[task.licence]", section))
    assert [sentence for sentence in _said(path, Weight.WARNING) if "refuses every audit" in sentence]
