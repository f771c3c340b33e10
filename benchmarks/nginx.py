"""The three nginx servers of a run: the teacher, the target of the mirrored requests, and the measured proxy."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import EXPECTED_BODY
from benchmarks.ports import wait_until_listening

_FRAME = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
{body}
}}
"""

_ANSWERING = """
  server {{
    listen 127.0.0.1:{port} reuseport;
    default_type application/json;
    location / {{ return 200 '{answer}'; }}
  }}
"""

_MIRRORING = """
  upstream teacher {{ server 127.0.0.1:{teacher}; keepalive 64; keepalive_requests 100000000; }}
  upstream student {{ server 127.0.0.1:{student}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ mirror /mirrored; mirror_request_body on; proxy_pass http://teacher; }}
    location = /mirrored {{ internal; proxy_pass http://student$request_uri; }}
  }}
"""


@contextmanager
def answering_nginx(folder: Path, name: str, port: int) -> Iterator[int]:
    """A server that gives the teacher's answer to everything; yields its pid."""
    with _running(folder, name, port, _ANSWERING.format(port=port, answer=EXPECTED_BODY.decode())) as pid:
        yield pid


@contextmanager
def mirroring_nginx(folder: Path, port: int, teacher: int, student: int) -> Iterator[int]:
    """A proxy in front of the teacher that sends each request to the student's port as well."""
    with _running(
        folder, "mirroring", port, _MIRRORING.format(port=port, teacher=teacher, student=student)
    ) as pid:
        yield pid


@contextmanager
def _running(folder: Path, name: str, port: int, body: str) -> Iterator[int]:
    path = folder / f"{name}.conf"
    path.write_text(_FRAME.format(folder=folder, name=name, body=body))
    process = subprocess.Popen(["nginx", "-c", str(path), "-e", str(folder / f"{name}.log")])
    try:
        wait_until_listening(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)
