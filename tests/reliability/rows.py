"""A row of docs/reliability.md: its seed, its size, and what was counted."""

import random
from dataclasses import dataclass, field

Figure = int | float | str


@dataclass
class Row:
    """Handed to every test here; what it notes stands in the table."""

    seed: int
    size: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def note(self, **figures: Figure) -> None:
        self.figures |= figures

    def raise_to(self, **figures: int | float) -> None:
        """Keep the largest of several looks at the same figure."""
        for name, value in figures.items():
            before = self.figures.get(name, value)
            assert not isinstance(before, str)
            self.figures[name] = max(before, value)

    def add(self, **figures: int) -> None:
        for name, value in figures.items():
            before = self.figures.get(name, 0)
            assert isinstance(before, int)
            self.figures[name] = before + value
