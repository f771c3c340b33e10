"""wrk as the closed-loop load: connections that send again as soon as they were answered."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.traffic import Traffic

CONNECTIONS = 32
TIMEOUT_SECONDS = 30

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{{"requests":%d,"seconds":%f,"errors":%d,"p50_us":%d,"p99_us":%d}}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What wrk saw; its latencies start when a request is sent, not when it was due."""

    requests: int
    seconds: float
    errors: int
    p50_us: float
    p99_us: float


def load(folder: Path, port: int, traffic: Traffic, headers: Mapping[str, str], seconds: float) -> Loaded:
    """Raises CalledProcessError when wrk cannot run."""
    script = folder / "wrk.lua"
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(_SCRIPT.format(body=traffic.body.decode(), headers=lines))
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_SECONDS}s"]
    command = ["wrk", *options, "-s", str(script), f"http://127.0.0.1:{port}{traffic.path}"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return Loaded(**orjson.loads(printed.splitlines()[-1]))
