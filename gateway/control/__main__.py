"""`python -m gateway.control --config stillgate.toml`: the admin API, the status page, the rollout tick."""

import argparse
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import uvicorn
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.control.app import create_app
from gateway.control.erasing import Eraser
from gateway.control.rollout import tick
from gateway.control.webhooks import Webhook, start_webhooks
from ledger.configuration import Configuration, ConfigurationError, load
from ledger.control_file import open_control_file, open_control_file_read_only, transaction
from ledger.glance import ROLLOUT_MARK, Glance, Mark
from ledger.heartbeats import BEAT_SECONDS, leave_heartbeat
from ledger.logs import log_to_stderr
from ledger.schema import SchemaTooNew

logger = logging.getLogger("gateway.control")

TICK_SECONDS = 0.5
TICKS_PER_HEARTBEAT = int(BEAT_SECONDS / TICK_SECONDS)
Done = TypeVar("Done")
GOODBYE_SECONDS = 5  # for requests in flight when the process stops


def main() -> int:
    parser = argparse.ArgumentParser(prog="gateway.control", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("stillgate.toml"))
    path: Path = parser.parse_args().config
    log_to_stderr("control")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start and stop are said here
    try:
        configuration = load(path)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    log_to_stderr("control", configuration.deployment.log_format)
    try:
        return run(configuration)
    except (SchemaTooNew, SQLAlchemyError, OSError) as error:
        directory = configuration.deployment.data_directory
        logger.error("control cannot start in %s: %s action=start_failed", directory, error)
        return 1


def run(configuration: Configuration) -> int:
    """Serve until SIGTERM or SIGINT."""
    address = configuration.control.listen
    try:
        listener = listen(address)
    except OSError as error:
        logger.error("control cannot listen on %s: %s action=port_taken", address, error.strerror)
        return 1
    engine = open_control_file(configuration.deployment.data_directory)
    stopping = threading.Event()
    webhooks = start_webhooks(configuration, engine, stopping)
    arguments = (configuration, engine, stopping, webhooks)
    ticking = threading.Thread(target=tick_until, args=arguments, name="rollout")
    ticking.start()
    eraser = Eraser(engine, configuration.deployment.data_directory)
    erasing = threading.Thread(target=eraser.run_until, args=(stopping,), name="erasing")
    erasing.start()
    logger.info("The admin API and the status page are on http://%s/ action=started", address)
    try:
        serve(configuration, engine, listener)
    finally:
        stopping.set()
        ticking.join()
        erasing.join()
        engine.dispose()
    logger.info("control has stopped action=stopped")
    return 0


def listen(address: str) -> socket.socket:
    """Bound before anything else starts, so that a taken port is one clear line."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=128)


def serve(configuration: Configuration, engine: Engine, listener: socket.socket) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn sends itself its signal again when it has stopped
    settings = uvicorn.Config(
        create_app(configuration, engine),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        server_header=False,
    )
    uvicorn.Server(settings).run(sockets=[listener])


def tick_until(
    configuration: Configuration, engine: Engine, stopping: threading.Event, webhooks: Sequence[Webhook]
) -> None:
    """Tick until told to stop; a tick that fails is logged, and the next one tries again."""
    directory = configuration.deployment.data_directory
    reading, glance = open_control_file_read_only(directory), Glance(directory)
    number = 0
    mark: Mark | None = None
    while not stopping.wait(TICK_SECONDS):
        mark = survive(partial(tick_if_new, mark, glance, reading, engine, configuration))
        if number % TICKS_PER_HEARTBEAT == 0:
            survive(lambda: beat(engine, webhooks))
        number += 1
    glance.close()
    reading.dispose()


def tick_if_new(
    mark: Mark | None, glance: Glance, reading: Engine, engine: Engine, configuration: Configuration
) -> Mark:
    """Tick unless all that a tick looks at is as it was before the last one; the mark of what it looked at."""
    found = glance.ask(ROLLOUT_MARK)
    if found != mark:
        tick(reading, engine, configuration)
    return found


def survive(act: Callable[[], Done]) -> Done | None:
    """What it returns, or None if it failed."""
    try:
        return act()
    except Exception:
        logger.exception("A rollout tick failed and is tried again action=tick_failed")
        return None


def beat(engine: Engine, webhooks: Sequence[Webhook]) -> None:
    report = {"webhooks": {webhook.name: webhook.account() for webhook in webhooks}}
    with transaction(engine) as session:
        leave_heartbeat(session, "control", report)


if __name__ == "__main__":
    sys.exit(main())
