"""The monitor process: `python -m monitor --config stillgate.toml`. One tick after the other until SIGTERM."""

import argparse
import logging
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from prometheus_client import CollectorRegistry, ProcessCollector
from sqlalchemy.exc import DatabaseError

from ledger.allocator import use_one_arena
from ledger.clock import now_us
from ledger.collector import calm_collector
from ledger.configuration import Configuration, ConfigurationError, load
from ledger.control_file import open_control_file, open_control_file_read_only
from ledger.logs import log_to_stderr
from ledger.processors import leave_one_free
from ledger.schema import SchemaTooNew
from monitor.cycle import run_cycle
from monitor.exporter import ControlFileCollector
from monitor.listener import listening
from monitor.ticking import tick_until

log = logging.getLogger("monitor")


def main() -> int:
    """Exit status: 0 stopped by a signal, 1 no port or no control file, 2 bad configuration."""
    parser = argparse.ArgumentParser(prog="monitor", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("stillgate.toml"))
    arguments = parser.parse_args()
    log_to_stderr("monitor")
    try:
        configuration = load(arguments.config)
    except ConfigurationError as error:
        log.error("action=configuration_refused %s", error)
        return 2
    log_to_stderr("monitor", configuration.deployment.log_format)
    return _serve(configuration)


def _serve(configuration: Configuration) -> int:
    use_one_arena()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    directory, address = configuration.deployment.data_directory, configuration.monitor.listen
    with ExitStack() as stack:
        try:
            engine = open_control_file(directory)
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            registry.register(ControlFileCollector(open_control_file_read_only(directory), configuration))
            stack.enter_context(listening(address, registry))
        except (DatabaseError, SchemaTooNew) as error:
            log.error("action=control_file_refused The control file in %s: %s", directory, error)
            return 1
        except OSError as error:
            log.error("action=port_refused monitor.listen = %s cannot be had: %s", address, error)
            return 1
        log.info("action=started Metrics at http://%s/metrics, data in %s.", address, directory)
        calm_collector()
        leave_one_free()
        tick_seconds = configuration.monitor.tick_seconds
        tick_until(stop, lambda: run_cycle(engine, configuration, now_us()), tick_seconds)
    log.info("action=stopped The monitor stops.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
