"""What the task view says of the teacher beside its address: what it was asked for our own sake."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from ledger.configuration import TaskSection
from ledger.extra_calls import today, used


def extra_calls_view(data_directory: Path, task: TaskSection) -> dict[str, Any]:
    """`used` by purpose; null where the day's count cannot be read."""
    counts: dict[str, int] | None = None
    with suppress(OSError):
        counts = {str(purpose): count for purpose, count in used(data_directory, task.name).items()}
    return {"day": today().isoformat(), "per_day": task.extra_calls.per_day, "used": counts}
