"""SIGHUP: a changed file is obeyed by the next request, a bad one by none, and no connection notices."""

import http.client
import signal
import threading
from pathlib import Path

from tests.gateway.running import PATIENCE_SECONDS, Reply, Running, call_on, gateway, wait_until
from tests.gateway.teachers import TeacherApp, serving

REFUSED = 'stillgate_degraded{part="configuration"}'
LOADED = "stillgate_configuration_loaded_timestamp_seconds"
BAD_FILES = (
    b"",
    b"[gateway\n",
    b"\xff\xfe",
    b"[deployment]\nname = 7\n",
)


def change(running: Running, old: str, new: str) -> None:
    path = running.directory / "stillgate.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    running.process.send_signal(signal.SIGHUP)


def test_the_next_request_obeys_the_new_file(teacher_url: str, tmp_path: Path) -> None:
    """On the connection that the caller already holds: a limit falls, and a path belongs to a task now."""
    with gateway(tmp_path, teacher_url, gateway="max_body_bytes = 4096") as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_SECONDS)
        body = b'{"inputs":"%s"}' % (b"x" * 2000)

        def ask(path: str) -> Reply:
            return call_on(connection, "POST", path, body, {})

        assert ask("/predict").status == 200
        before = running.metrics()[LOADED]
        change(running, 'paths = ["/predict"]', 'paths = ["/predict", "/classify"]')
        wait_until(lambda: running.metrics()[LOADED] > before)
        assert ask("/classify").status == 200
        change(running, "max_body_bytes = 4096", "max_body_bytes = 1024")
        wait_until(lambda: ask("/predict").status == 413)
        running.settled()
        assert [one.task for one in running.exchanges()][:2] == ["desk", "desk"]


def test_a_request_in_flight_ends_by_the_old_file(tmp_path: Path, teacher_url: str) -> None:
    """Its teacher is no longer configured when it answers."""
    other = TeacherApp()
    with serving(other) as other_url, gateway(tmp_path, teacher_url) as running:
        replies: list[Reply] = []
        slow = threading.Thread(
            target=lambda: replies.append(running.ask("POST", "/predict?wait=1", b'{"inputs":"slow"}'))
        )
        slow.start()
        wait_until(lambda: running.metrics()["stillgate_inflight_requests"] == 1)
        before = running.metrics()[LOADED]
        change(running, teacher_url, other_url)
        wait_until(lambda: running.metrics()[LOADED] > before)
        assert running.predict("fast").status == 200
        assert len(other.seen) == 1
        slow.join(PATIENCE_SECONDS)
        assert [reply.status for reply in replies] == [200]
        assert len(other.seen) == 1


def test_bad_files_keep_the_old_configuration(teacher_url: str, tmp_path: Path) -> None:
    """Every one is refused, shown as degraded, and said with its reason; callers notice nothing."""
    with gateway(tmp_path, teacher_url) as running:
        path = running.directory / "stillgate.toml"
        good = path.read_bytes()
        for bad in (*BAD_FILES, good.replace(b"huggingface", b"telegram")):
            path.write_bytes(bad)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: running.metrics()[REFUSED] == 1)
            assert running.predict("still").status == 200
            path.write_bytes(good)
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: running.metrics()[REFUSED] == 0)
        assert running.log.read_text().count("action=reload_refused") == len(BAD_FILES) + 1
        running.settled()


def test_what_takes_a_restart_is_refused_whole(teacher_url: str, tmp_path: Path) -> None:
    """The setting is named, and nothing else of the file is obeyed either."""
    with gateway(tmp_path, teacher_url, gateway="max_body_bytes = 4096") as running:
        change(running, f"127.0.0.1:{running.port}", "127.0.0.1:1")
        wait_until(lambda: running.metrics()[REFUSED] == 1)
        change(running, "max_body_bytes = 4096", "max_body_bytes = 1024")
        assert running.predict("x" * 2000).status == 200
        assert "gateway.listen changed" in running.log.read_text()
