"""nginx as the teacher, as the target of mirrored requests, as a plain proxy, and as a proxy that mirrors."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import run_first, running
from benchmarks.traffic import CHAT, CLASSIFICATION

_FRAME = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
events {{ worker_connections 2048; }}
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
    listen 127.0.0.1:{port};
    default_type application/json;
    location = {chat.path} {{ return 200 '{chat_reply}'; }}
    location = /count {{ stub_status; }}
    location / {{ return 200 '{reply}'; }}
  }}
"""

_PROXY = """
  upstream teacher {{ server 127.0.0.1:{teacher}; keepalive 64; keepalive_requests 100000000; }}
  {target}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ {mirror} proxy_pass http://teacher; }}
    {mirrored}
  }}
"""


@contextmanager
def answering_nginx(folder: Path, name: str, port: int) -> Iterator[int]:
    """A server that gives the teacher's answer to everything; yields its pid."""
    body = _ANSWERING.format(
        port=port, chat=CHAT, chat_reply=CHAT.reply.decode(), reply=CLASSIFICATION.reply.decode()
    )
    with _running(folder, name, port, body) as pid:
        run_first(pid)
        yield pid


@contextmanager
def mirroring_nginx(folder: Path, port: int, teacher: int, target: int) -> Iterator[int]:
    """A proxy in front of the teacher that sends each request to the target as well."""
    upstream = f"upstream target {{ server 127.0.0.1:{target}; keepalive 64; keepalive_requests 100000000; }}"
    mirrored = "location = /mirrored { internal; proxy_pass http://target$request_uri; }"
    body = _PROXY.format(
        port=port,
        teacher=teacher,
        target=upstream,
        mirror="mirror /mirrored; mirror_request_body on;",
        mirrored=mirrored,
    )
    with _running(folder, "mirroring", port, body) as pid:
        yield pid


@contextmanager
def plain_nginx(folder: Path, port: int, teacher: int) -> Iterator[int]:
    """A proxy in front of the teacher and nothing else."""
    body = _PROXY.format(port=port, teacher=teacher, target="", mirror="", mirrored="")
    with _running(folder, "plain", port, body) as pid:
        yield pid


def counting(port: int) -> Callable[[], int]:
    """How many requests an answering server has got so far, without those of this count itself."""
    asked = 0

    def requests() -> int:
        nonlocal asked
        asked += 1
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=10) as response:
            found = re.search(rb"requests\s+\d+ \d+ (\d+)", response.read())
        if found is None:
            raise RuntimeError(f"nginx on port {port} does not say how many requests it saw (stub_status)")
        return int(found[1]) - asked

    return requests


@contextmanager
def _running(folder: Path, name: str, port: int, body: str) -> Iterator[int]:
    path = folder / f"{name}.conf"
    path.write_text(_FRAME.format(folder=folder, name=name, body=body))
    command = ["nginx", "-c", str(path), "-e", str(folder / f"{name}.log")]
    with running(command, folder / f"{name}.out", port) as pid:
        yield pid
