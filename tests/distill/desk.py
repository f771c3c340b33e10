"""A small task, written as its users would, and rows of it."""

from pathlib import Path

from distill.curation.rows import Row
from ledger.configuration import Configuration, TaskSection, load
from ledger.observation import Observation
from ledger.slices import Subject, slices_of

TEXT = """
[deployment]
name = "desk"
data_directory = "data"

[[task]]
name = "desk"
classes = ["a", "b"]
dialect = "huggingface"
paths = ["/predict"]
teacher = { url = "http://127.0.0.1:9", version = "1" }
capture = { inputs = "text" }
governance = { owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "p" }
fairness = { none_because = "no people", declared_by = "o", declared_on = 2026-01-02 }
licence = { distillation_allowed = true, decided_by = "o", decided_on = "2026-01-02", terms = "ours" }

[task.gate]
bar = 0.8
rows = 100
slice_rows = 40
train_rows = 200
collect_seconds = 0

[task.fallback]
max_disagreement = 0.2
delta = 0.1

[[task.slice]]
name = "area"
header = "x-area"
critical = true
bar = 0.7

[[task.slice]]
name = "desk"
teacher_class = true

[[task.candidate]]
kind = "static"
encoder = "encoder"
"""

CERTAIN = {"a": Observation((0.9, 0.1)), "b": Observation((0.2, 0.8))}


def write_configuration(folder: Path, text: str = TEXT) -> Path:
    path = folder / "stillgate.toml"
    path.write_text(text)
    return path


def configuration_of(folder: Path, text: str = TEXT) -> Configuration:
    return load(write_configuration(folder, text))


def build_row(task: TaskSection, number: int, area: str = "x", teacher: str = "a") -> Row:
    subject = Subject({"x-area": area}, 2, teacher)
    return Row(
        digest=f"{area}-{number}",
        exchange_id=f"g0-{number}",
        input_index=0,
        at_us=number,
        text=f"{teacher} {number}",
        teacher=CERTAIN[teacher],
        slices=slices_of(task.rules, subject),
        inclusion=1.0,
        repeats=1,
    )
