"""Texts a second of one transformer student on texts of mixed length, by how they are put into batches.

The texts are posts of 20 Newsgroups, the student two layers of MiniLM exported as distill does (untrained: only
time counts), cut at the encoder's own limit. One thread each, in turns, medians. Ours is the real student process
over its socket, in groups as the gateway's shadow sends them; its baselines run the same file in this process.
"""

import argparse
import asyncio
import datetime
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the library is loaded

from benchmarks import mlserver, packages
from benchmarks.processor import machine_line, processor_seconds
from distill.training.export import export_student
from distill.training.transformer_student import load_encoder, transformer_student
from examples.helpdesk.corpus import fetch_corpus, fetch_encoder, load_posts
from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE
from ledger.configuration import StudentSection
from ledger.control_file import open_control_file
from student.client import StudentClient
from student.session import Student
from student.tokens import tokenize
from student.wire import Refusal, socket_path
from tests.artifacts import TinyArtifact, artifact_of, register

CLASSES = ("comp", "rec", "sci", "talk")
LAYERS = (0, 5)
NAIVE_ROWS = 32  # of a batch that is padded to its longest row
GROUP_INPUTS = 64  # as gateway.shadow sends them
OUTSTANDING = 4
OURS = "stillgate's student process"
PATIENCE_SECONDS = 600.0

_CONFIGURATION = """
[deployment]
name = "benchmark"
data_directory = "state"

[[task]]
name = "topics"
classes = ["comp", "rec", "sci", "talk"]
dialect = "huggingface"
paths = ["/topics"]
teacher = { url = "http://127.0.0.1:9", version = "1" }
capture = { inputs = "text" }
governance = { owner = "a", sponsor = "b", driver = "c", validator = "d", operator = "e" }
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have all texts answered, and the process whose time counts."""

    answer_all: Callable[[Sequence[str]], None]
    pid: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.student_throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(".demo"), help="of the corpus and the encoder")
    parser.add_argument("--without-mlserver", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.texts, arguments.rounds = 24, 2
    print(f"{datetime.date.today()}; {machine_line()}; seed {arguments.seed}", flush=True)
    texts = _texts(arguments.cache, arguments.texts, arguments.seed)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        tiny = _artifact(folder, arguments.cache, arguments.max_tokens)
        student = Student.load(tiny.folder, tiny.manifest_digest, StudentSection())
        ways = {
            "one by one": Way(lambda texts: _in_batches(student, texts, 1), os.getpid()),
            f"naive batches of {NAIVE_ROWS}": Way(
                lambda texts: _in_batches(student, texts, NAIVE_ROWS), os.getpid()
            ),
            OURS: stack.enter_context(_ours(folder, tiny)),
        }
        if not arguments.without_mlserver:
            _add_mlserver(ways, stack, folder, tiny, arguments.max_tokens)
        lengths = [len(row) for row in student.tokenize(texts)]
        print(
            f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, median {statistics.median(lengths):g},"
            f" mean {statistics.mean(lengths):.0f}; {arguments.rounds} rounds in turns"
        )
        rates = _measure(ways, texts, arguments.rounds)
    return _report(rates)


def _measure(
    ways: Mapping[str, Way], texts: Sequence[str], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Way -> (texts a second, texts a processor second) of each round."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        way.answer_all(texts[:8])
    for number in range(rounds):
        order = list(ways)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            began, used = time.perf_counter(), processor_seconds(ways[name].pid)
            ways[name].answer_all(texts)
            used = processor_seconds(ways[name].pid) - used
            rates[name].append((len(texts) / (time.perf_counter() - began), len(texts) / used))
    return rates


def _report(rates: Mapping[str, Sequence[tuple[float, float]]]) -> int:
    """Print the table; 1 if what it is held to does not hold."""
    naive = statistics.median(rate[1] for rate in rates[f"naive batches of {NAIVE_ROWS}"])
    to_one, to_naive = _paired(rates, "one by one"), _paired(rates, f"naive batches of {NAIVE_ROWS}")
    print(f"\n{'':30}{'texts/s':>9}{'texts a processor s':>21}{'least':>8}{'most':>8}{'to naive':>10}")
    for name, of in rates.items():
        wall = statistics.median(rate[0] for rate in of)
        processor = [rate[1] for rate in of]
        median = statistics.median(processor)
        print(
            f"{name:30}{wall:9.1f}{median:21.1f}{min(processor):8.1f}{max(processor):8.1f}{median / naive:9.2f}x"
        )
    holds = to_naive >= 2 and to_one >= 1
    print(
        f"\nours to naive {to_naive:.2f} (at least 2), ours to one by one {to_one:.2f} (at least 1;"
        " ours includes its socket and its looks at the stages), medians of the rounds' ratios:"
        f" {'holds' if holds else 'DOES NOT HOLD'}"
    )
    return 0 if holds else 1


def _paired(rates: Mapping[str, Sequence[tuple[float, float]]], baseline: str) -> float:
    """Median over the rounds of our texts a processor second to those of a baseline in the same round."""
    return statistics.median(
        ours[1] / other[1] for ours, other in zip(rates[OURS], rates[baseline], strict=True)
    )


def _texts(cache: Path, count: int, seed: int) -> list[str]:
    posts = list(load_posts(fetch_corpus(cache)))
    return [post.text for post in random.Random(seed).sample(posts, count)]


def _artifact(folder: Path, cache: Path, max_tokens: int) -> TinyArtifact:
    encoder = fetch_encoder(cache)
    building = folder / "building"
    building.mkdir()
    student = transformer_student(load_encoder(str(encoder)), LAYERS, len(CLASSES))
    export_student(student, 1.0, building / MODEL_FILE)
    shutil.copy(encoder / TOKENIZER_FILE, building / TOKENIZER_FILE)
    return artifact_of(building, folder / "state", CLASSES, max_tokens=max_tokens)


def _in_batches(student: Student, texts: Sequence[str], rows: int) -> None:
    """In order of arrival, whole texts tokenised, padded to the longest row of each batch."""
    for start in range(0, len(texts), rows):
        student.infer(tokenize(student.tokens.tokenizer, texts[start : start + rows]))


@contextmanager
def _ours(folder: Path, tiny: TinyArtifact) -> Iterator[Way]:
    configuration = folder / "stillgate.toml"
    configuration.write_text(_CONFIGURATION)
    control = open_control_file(folder / "state")
    register(control, tiny)
    control.dispose()
    path = socket_path(folder / "state")
    with (folder / "student.log").open("wb") as log:
        command = [sys.executable, "-m", "student", "--config", str(configuration)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        asyncio.run(_until_loaded(path, tiny.artifact))
        yield Way(lambda texts: asyncio.run(_ask_all(path, tiny.artifact, texts)), process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def _until_loaded(path: Path, artifact: str) -> None:
    client = StudentClient(path)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while isinstance(await client.ask(artifact, ["a"], 10), Refusal):
            await asyncio.sleep(0.1)
    await client.close()


async def _ask_all(path: Path, artifact: str, texts: Sequence[str]) -> None:
    client, room = StudentClient(path), asyncio.Semaphore(OUTSTANDING)

    async def ask(group: Sequence[str]) -> None:
        async with room:
            said = await client.ask(artifact, group, PATIENCE_SECONDS)
            if isinstance(said, Refusal) or any(one.error is not None for one in said):
                raise RuntimeError(f"the student did not answer: {said}")

    groups = [texts[start : start + GROUP_INPUTS] for start in range(0, len(texts), GROUP_INPUTS)]
    await asyncio.gather(*map(ask, groups))
    await client.close()


def _add_mlserver(
    ways: dict[str, Way], stack: ExitStack, folder: Path, tiny: TinyArtifact, max_tokens: int
) -> None:
    """A peer that cannot be had is said, and left out."""
    try:
        python = packages.mlserver()
        port, pid = stack.enter_context(
            mlserver.running(python, tiny.folder, folder / "mlserver", max_tokens)
        )
    except (mlserver.Unavailable, packages.NotInstalled) as error:
        print(f"MLServer is left out: {error}", flush=True)
        return
    name = f"MLServer, batches to {mlserver.BATCH_ROWS}"
    ways[name] = Way(lambda texts: mlserver.ask_all(port, texts), pid)


if __name__ == "__main__":
    sys.exit(main())
