"""Replies to probes wait here until the writer has a moment for them."""

from collections import deque

from ledger.exchange_file import ExchangeFile
from ledger.probe_replies import ProbeReply, append_replies

MOST_WAITING = 1000  # the oldest go first: the next pass asks them again
AT_ONCE = 100


class ProbeRecord:
    """An upkeep of the writer; `put` is for the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[ProbeReply] = deque(maxlen=MOST_WAITING)

    def put(self, reply: ProbeReply) -> None:
        self._waiting.append(reply)

    def __call__(self, file: ExchangeFile) -> bool:
        """Write some of what waits; whether more does. Raises sqlite3.Error, with nothing lost."""
        some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        if not some:
            return False
        try:
            append_replies(file, some)
        except BaseException:
            self._waiting.extendleft(reversed(some))
            raise
        return bool(self._waiting)
