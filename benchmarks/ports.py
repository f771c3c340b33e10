"""Free ports, and waiting for somebody to listen on one."""

import socket
import subprocess
import time

START_SECONDS = 30.0


def free_ports(count: int) -> list[int]:
    """So many different ports on which nobody listened a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises RuntimeError when the process ends first, or takes too long."""
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}; its log says why")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port} after {START_SECONDS} s")
