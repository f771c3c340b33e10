"""Texts whose words tell their class, and rows of them."""

import numpy as np

from distill.curation.rows import Row
from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import Subject, slices_of

TELLING = {
    0: [f"{stem}{number}" for stem in ("disk", "screen", "driver", "kernel") for number in range(10)],
    1: [f"{stem}{number}" for stem in ("goal", "match", "player", "referee") for number in range(10)],
}
SILENT = [f"word{number}" for number in range(400)]


def write_text(number: int, label: int, words: int = 20) -> str:
    """Half of its words tell the class; no two texts are near one another."""
    draw = np.random.default_rng(number)
    telling = draw.choice(TELLING[label], words // 2).tolist()
    return " ".join(draw.permutation([*telling, *draw.choice(SILENT, words - words // 2)]))


def build_text_row(task: TaskSection, number: int, label: int = 0, area: str = "x", **changes: object) -> Row:
    """The teacher is 90 % sure of the label unless the changes say otherwise."""
    teacher = changes.pop("teacher", None) or Observation((0.9, 0.1) if label == 0 else (0.1, 0.9))
    assert isinstance(teacher, Observation)
    subject = Subject({"x-area": area}, 20, task.classes[teacher.top])
    fields: dict[str, object] = {
        "digest": f"{number:032x}",
        "exchange_id": f"g0-{number}",
        "input_index": 0,
        "at_us": number,
        "text": write_text(number, label),
        "teacher": teacher,
        "slices": slices_of(task.rules, subject),
        "inclusion": 1.0,
        "repeats": 1,
        "live": 1.0,
    }
    return Row(**(fields | changes))  # type: ignore[arg-type]  # a test changes what it is about
