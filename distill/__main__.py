"""python -m distill --config stillgate.toml: claim distillation jobs until stopped."""

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from distill.worker import Worker
from ledger.configuration import ConfigurationError, load
from ledger.control_file import open_control_file
from ledger.logs import log_to_stderr


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m distill")
    parser.add_argument("--config", type=Path, default=Path("stillgate.toml"))
    options = parser.parse_args(arguments)
    log_to_stderr("distill")
    try:
        configuration = load(options.config)
    except ConfigurationError as error:
        logging.getLogger("distill").error("%s", error)
        return 2
    log_to_stderr("distill", configuration.deployment.log_format)
    engine = open_control_file(configuration.deployment.data_directory)
    worker = Worker(configuration, options.config.resolve(), engine, f"{socket.gethostname()}-distill")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
