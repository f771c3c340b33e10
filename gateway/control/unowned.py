"""Exchange files that no gateway runs on: of one that was renamed, or that is stopped."""

import fcntl
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from gateway.erasing import Erasing
from gateway.store import STORE_ERRORS
from ledger.erasures import Erasure
from ledger.exchange_file import ExchangeFile
from ledger.schema import SchemaTooNew

logger = logging.getLogger(__name__)


def erase_in_unowned(path: Path, unfinished: Callable[[], Sequence[Erasure]]) -> None:
    """Erase in a file under its gateway's lock; nothing happens while a gateway holds it."""
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            with closing(ExchangeFile(path)) as file:
                erasing = Erasing(unfinished)
                while erasing(file):
                    pass
        except (*STORE_ERRORS, SchemaTooNew) as error:
            logger.warning("%s cannot be erased in: %s action=erasure_waits", path, error)
