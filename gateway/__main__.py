"""The gateway process: its configuration, its sockets, and an exit status that says how it ended."""

import argparse
import asyncio
import logging
import socket
import sys
from pathlib import Path

import uvloop

from gateway.process import GatewayProcess, TracingUnavailable
from gateway.server import AddressTaken, bind
from gateway.store import StoreTaken
from gateway.tls import CertificateUnusable
from gateway.upstream import UpstreamUnusable
from ledger.allocator import use_one_arena
from ledger.configuration import Configuration, ConfigurationError, load
from ledger.logs import log_to_stderr
from ledger.schema import SchemaTooNew

SWITCH_SECONDS = 0.0001  # so long a request may wait for the recorder thread to give the interpreter up

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("stillgate.toml"))
    log_to_stderr("gateway")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a peer that resets is no error of ours
    path: Path = parser.parse_args().config
    try:
        configuration = load(path)
    except ConfigurationError as error:
        return _complain(error, 2)
    log_to_stderr("gateway", configuration.deployment.log_format)
    sys.setswitchinterval(SWITCH_SECONDS)
    use_one_arena()
    try:
        listeners = _listeners(configuration)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(configuration, *listeners, path))
    except (
        AddressTaken,
        CertificateUnusable,
        StoreTaken,
        SchemaTooNew,
        UpstreamUnusable,
        TracingUnavailable,
    ) as error:
        return _complain(error, 1)
    return 0


async def run(
    configuration: Configuration, listener: socket.socket, operations: socket.socket, path: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; SIGHUP reads the file again.

    Raises CertificateUnusable, StoreTaken, SchemaTooNew, UpstreamUnusable or
    TracingUnavailable.
    """
    process = GatewayProcess(configuration, path)
    try:
        process.start()
        await process.serve(listener, operations)
    finally:
        await process.stop()
    log.info("The gateway has stopped. action=stopped")


def _listeners(configuration: Configuration) -> tuple[socket.socket, socket.socket]:
    section = configuration.gateway
    listener = bind("gateway.listen", section.listen)
    try:
        return listener, bind("gateway.operations_listen", section.operations_listen)
    except AddressTaken:
        listener.close()
        raise


def _complain(error: Exception, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
