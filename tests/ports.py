"""Ports for servers that tests start, and start again."""

import random
import socket
from contextlib import ExitStack

# Below what the kernel gives to outgoing connections (ip_local_port_range), one of which could otherwise hold the
# port of a server that a test has killed and starts anew.
LOWEST, HIGHEST = 10_240, 32_767


def free_ports(count: int) -> list[int]:
    """So many different ports on which nobody listens now."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = random.SystemRandom().randint(LOWEST, HIGHEST)
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]
