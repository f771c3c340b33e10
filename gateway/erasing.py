"""Erasing in one exchange file, a small slice at a time, by the one thread that writes it.

A new erasure waits for one turn: what was queued before it was asked for is written by then. It has ended when
nothing of it is left in the file and the write-ahead log has been emptied.
"""

from collections.abc import Callable, Sequence

from ledger.erasures import Erasure, Step
from ledger.exchange_file import ExchangeFile
from ledger.overwriting import clear, end_erasure, has_ended, overwrite_slice, uncleared

_KEPT = (Step.RECORD, Step.COUNTING, Step.COPIES)  # until then somebody has to read what was erased


class Erasing:
    """An upkeep of the writer."""

    def __init__(self, unfinished: Callable[[], Sequence[Erasure] | None]) -> None:
        self._unfinished = unfinished  # None while the control file has not been read
        self._known: frozenset[str] = frozenset()  # since an earlier turn

    def __call__(self, file: ExchangeFile) -> bool:
        """Do a slice of what is due; whether more is. Raises sqlite3.Error."""
        erasures = self._unfinished()
        if erasures is None:
            return False
        asked = [one for one in erasures if one.step is Step.RECORD and not has_ended(file, one.token)]
        due = [one for one in asked if one.token in self._known]
        self._known = frozenset(one.token for one in asked)
        if due:
            return _erase(file, due[0])
        kept = {one.token for one in erasures if one.step in _KEPT}
        return _clear(file, uncleared(file) - kept) or bool(asked)


def _erase(file: ExchangeFile, erasure: Erasure) -> bool:
    if overwrite_slice(file, erasure):
        return True
    if not file.empty_log():
        return False  # a reader was in the way: at the next turn
    end_erasure(file, erasure.token)
    return True


def _clear(file: ExchangeFile, tokens: set[str]) -> bool:
    """One at a time; whether one was."""
    return any(clear(file, token) for token in tokens)
