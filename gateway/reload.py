"""Taking over a changed configuration while requests are in flight: all of it, or nothing."""

import logging
import time
from pathlib import Path

from ledger.configuration import Configuration, ConfigurationError, load
from ledger.reload import takes_restart

log = logging.getLogger(__name__)


class Reload:
    """The configuration that is obeyed, and how the last try to replace it went."""

    def __init__(self, configuration: Configuration, path: Path | None) -> None:
        self.configuration = configuration
        self.loaded_at = time.time()
        self.refused = False  # the file as it stands now is not what is obeyed
        self._path = path

    def read(self) -> Configuration | None:
        """The configuration as it stands in the file, or None, with the reason logged, if it cannot be taken over."""
        if self._path is None:
            return None
        try:
            new = load(self._path)
        except ConfigurationError as error:
            self.refuse(str(error))
            return None
        fixed = takes_restart(self.configuration, new)
        if fixed:
            self.refuse(f"{', '.join(fixed)} changed, which takes a restart of the gateway")
            return None
        return new

    def take(self, new: Configuration) -> None:
        """It is obeyed from now on."""
        self.configuration, self.loaded_at, self.refused = new, time.time(), False
        log.info("The configuration was read again. action=configuration_reloaded")

    def refuse(self, reason: str) -> None:
        self.refused = True
        log.error("The old configuration stays: %s. action=reload_refused", reason)
