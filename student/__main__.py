"""`python -m student --config stillgate.toml`: answers for every artifact whose stage lets it answer."""

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from ledger.allocator import keep_what_is_freed, use_one_arena
from ledger.configuration import Configuration, ConfigurationError, StudentSection, load
from ledger.logs import log_to_stderr
from ledger.processors import leave_one_free

NICENESS = 5  # the gateway, which callers wait for, goes first
COLLECTOR_THRESHOLDS = (20_000, 20, 100)

log = logging.getLogger("student")


def main() -> int:
    """0 after SIGTERM or SIGINT, 1 when it cannot run here, 2 when the configuration cannot be used:
    wrong, or asking for a provider that is not installed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the event loop takes over
    parser = argparse.ArgumentParser(prog="python -m student", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="stillgate.toml")
    arguments = parser.parse_args()
    log_to_stderr("student")
    try:
        configuration = load(arguments.config)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201  # not a line of the log: it is for a person
        return 2
    log_to_stderr("student", configuration.deployment.log_format)
    use_one_arena()
    keep_what_is_freed()
    _stay_within(configuration.student)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(configuration))


async def _serve(configuration: Configuration) -> int:
    """Imported late: the native libraries read the limits of the process when they load."""
    from student.providers import ProviderMissing, providers_of

    try:
        providers = providers_of(configuration.student.providers)
    except ProviderMissing as error:
        log.error("The student process cannot run: %s. action=refused", error)
        return 2
    from student.server import AlreadyRunning, serve
    from student.wire import socket_path

    log.info("ONNX Runtime runs on %s. action=providers", ", ".join(providers))
    _calm_collector()
    path = socket_path(configuration.deployment.data_directory)
    serving = asyncio.create_task(serve(configuration, path))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("The student process stops. action=stopped")
    except (AlreadyRunning, OSError) as error:
        log.error("The student process cannot run: %s. action=refused", error)
        return 1
    return 0


def _stay_within(settings: StudentSection) -> None:
    """Low priority, few threads, and a ceiling on memory at which one request fails instead of the machine.

    The ceiling counts what the process may write (RLIMIT_DATA), not its address space, of which ONNX Runtime
    and the allocator reserve several times what they use. CUDA reserves more than any sensible ceiling.
    """
    os.nice(NICENESS)
    leave_one_free(settings.threads)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(settings.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    if settings.providers == ("cpu",):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = settings.memory_limit_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _calm_collector() -> None:
    """Inputs that wait outlive many others, and cycles are rare: the collector need not walk the libraries."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


if __name__ == "__main__":
    sys.exit(main())
