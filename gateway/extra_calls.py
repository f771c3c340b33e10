"""Asks whether the teacher may be called once more today, off the event loop: a disk must not hold a caller up."""

import asyncio
from collections import Counter
from pathlib import Path

from ledger.configuration import TaskSection
from ledger.extra_calls import Purpose, Refusal, take


class ExtraCalls:
    """Belongs to the event loop; its counts are of this process since its start."""

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory
        self.made: Counter[tuple[str, Purpose]] = Counter()  # by task
        self.kept_for_probes: dict[str, int] = {}  # by task, of a day's calls
        self.refused: Counter[tuple[str, Purpose, Refusal]] = Counter()

    async def take(self, task: TaskSection, purpose: Purpose) -> Refusal | None:
        """Count one call against the task's ceiling, or say why it may not be made."""
        ceiling, kept = task.extra_calls.per_day, self.kept_for_probes.get(task.name, 0)
        refusal = await asyncio.to_thread(
            take, self._directory, task.name, purpose, ceiling, kept_for_probes=kept
        )
        if refusal is None:
            self.made[task.name, purpose] += 1
        else:
            self.refused[task.name, purpose, refusal] += 1
        return refusal
