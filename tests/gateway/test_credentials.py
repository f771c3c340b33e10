"""The teacher's own key: put in place of the caller's, read again at a reload, and shown nowhere."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.upstream.credentials import credentials_of
from gateway.upstream.unusable import CredentialUnusable
from ledger.configuration import CredentialSection
from tests.gateway.raw_cases import get
from tests.gateway.running import PATIENCE_SECONDS, gateway, wait_until, write_configuration
from tests.gateway.teachers import TeacherApp
from tests.gateway.test_tls import make_certificate, secured

SECRET = "sk-canary-5f1c0de"
SECTION = """
withhold = ["Cookie"]
[[task.teacher.credential]]
header = "Authorization"
prefix = "Bearer "
file = "{file}"
[task.capture]
inputs = "text\""""


def with_credential(text: str, file: Path) -> str:
    return text.replace('\n[task.capture]\ninputs = "text"', SECTION.format(file=file), 1)


def test_the_teacher_gets_ours_and_nobody_else_does(
    teacher: TeacherApp, teacher_url: str, tmp_path: Path
) -> None:
    """The caller's own is replaced, its cookie withheld; ours is in no log, metric, reply or file of the record."""
    key = tmp_path / "key"
    key.write_text(SECRET + "\n")
    with gateway(tmp_path, teacher_url) as running:
        path = tmp_path / "stillgate.toml"
        path.write_text(with_credential(path.read_text(), key))
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration_reloaded" in running.log.read_text())
        teacher.seen.clear()
        reply = running.predict("billing", authorization="Bearer caller", cookie="a=b", x_other="kept")
        sent = dict(teacher.seen[0][3])
        assert (sent[b"authorization"], sent[b"x-other"]) == (b"Bearer " + SECRET.encode(), b"kept")
        assert b"cookie" not in sent
        assert SECRET not in str(reply)
        key.write_text("sk-rotated")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.log.read_text().count("configuration_reloaded") == 2)
        running.predict("billing")
        assert dict(teacher.seen[1][3])[b"authorization"] == b"Bearer sk-rotated"
        key.unlink()
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload_refused" in running.log.read_text())
        assert running.predict("billing").status == 200
        running.settled()
        shown = running.log.read_text() + str(running.metrics())
        assert SECRET not in shown
        assert running.stop() == 0
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file


def test_a_reload_is_whole_or_nothing(teacher: TeacherApp, teacher_url: str, tmp_path: Path) -> None:
    """With a certificate that cannot be read the new credential waits too, until both are good."""
    key, trusted = tmp_path / "key", make_certificate(tmp_path, "first")[0].read_text()
    key.write_text("first")
    settings = 'tls_certificate = "gateway.pem"\ntls_key = "gateway.key"'
    with gateway(tmp_path, teacher_url, gateway=settings) as running:

        def credential() -> bytes:
            teacher.seen.clear()
            with secured(running, trusted) as caller:
                caller.send(get())
                assert caller.answer().status == 200
            return dict(teacher.seen[0][3])[b"authorization"]

        path, pem = tmp_path / "stillgate.toml", tmp_path / "gateway.pem"
        path.write_text(with_credential(path.read_text(), key))
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration_reloaded" in running.log.read_text())
        good = pem.read_text()
        pem.write_text("no certificate")
        key.write_text("second")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload_refused" in running.log.read_text())
        assert credential() == b"Bearer first"
        pem.write_text(good)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.log.read_text().count("configuration_reloaded") == 2)
        assert credential() == b"Bearer second"


def test_without_credentials_the_callers_own_passes(
    teacher: TeacherApp, teacher_url: str, tmp_path: Path
) -> None:
    """Byte for byte; the record holds no trace of it."""
    with gateway(tmp_path, teacher_url) as running:
        teacher.seen.clear()
        running.predict("billing", authorization=f"Bearer {SECRET}")
        assert dict(teacher.seen[0][3])[b"authorization"] == f"Bearer {SECRET}".encode()
        running.settled()
        assert running.stop() == 0
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        ("", "is empty"),
        ("a\nb", "a byte that no header field may have"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: str | None, problem: str) -> None:
    """The file and the rule are named, never the content."""
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CredentialUnusable, match=problem):
        credentials_of([CredentialSection(header="authorization", file=file)])


def test_a_variable_that_is_not_set(tmp_path: Path, teacher_url: str) -> None:
    """The gateway does not start, and says which variable it misses."""
    path, _, _ = write_configuration(tmp_path, teacher_url)
    section = SECTION.format(file="x").replace('file = "x"', 'environment = "NO_SUCH_VARIABLE_HERE"')
    path.write_text(path.read_text().replace('\n[task.capture]\ninputs = "text"', section, 1))
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 1
    assert "NO_SUCH_VARIABLE_HERE" in ran.stderr
