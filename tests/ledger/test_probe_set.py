"""Frozen probes: what was frozen is what is read, and what an erasure takes out is gone."""

from pathlib import Path

import pytest

from ledger.probe_set import (
    MOST_BODY_BYTES,
    MOST_PROBES,
    Probe,
    ProbeSet,
    ProbesUnusable,
    declared_probes,
    forget_probes,
    freeze,
    kept_set,
    name_of,
    probes_path,
    remove_set,
)

TASK = "desk"
SECRET = "the secret text of ann"


def probe(number: int, text: str = "text", subject: str | None = None) -> Probe:
    body = f'{{"inputs": "{text} {number}"}}'
    return Probe(number, "/predict", "application/json", body, f"g0-{number}", subject, 100 + number)


@pytest.fixture
def frozen(tmp_path: Path) -> ProbeSet:
    probes = [probe(0), probe(1, SECRET, "ann"), probe(2, SECRET, "ann"), probe(3)]
    return freeze(tmp_path, TASK, probes, is_declared=False, now_us=7)


def test_a_set_reads_back_as_it_was_frozen(tmp_path: Path, frozen: ProbeSet) -> None:
    """Under the digest of its requests, for its owner's eyes alone."""
    assert kept_set(tmp_path, TASK) == frozen
    assert frozen.name == name_of(frozen.probes)
    assert probes_path(tmp_path, TASK).stat().st_mode & 0o777 == 0o600
    assert kept_set(tmp_path, "another") is None


def test_the_name_is_that_of_the_requests(tmp_path: Path, frozen: ProbeSet) -> None:
    """Another request makes another set; when it was frozen does not."""
    assert freeze(tmp_path, TASK, frozen.probes, is_declared=False, now_us=8).name == frozen.name
    assert freeze(tmp_path, TASK, frozen.probes[1:], is_declared=False, now_us=8).name != frozen.name


@pytest.mark.parametrize("damage", [b"text 0", b"/predict"])
def test_a_damaged_set_is_not_used(
    tmp_path: Path, frozen: ProbeSet, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped byte in a request is found by the digest, and told."""
    path = probes_path(tmp_path, TASK)
    path.write_bytes(path.read_bytes().replace(damage, damage[:-1] + b"X", 1))
    assert kept_set(tmp_path, TASK) is None
    assert "action=probes_damaged" in caplog.text


@pytest.mark.parametrize(
    ("subject", "ids", "before_us", "left"),
    [
        ("ann", (), 1000, {0, 3}),
        ("ann", (), 101, {0, 2, 3}),  # what was asked after the erasure stays
        (None, ("g0-0", "g0-9"), 1000, {1, 2, 3}),
        ("bob", (), 1000, {0, 1, 2, 3}),
    ],
)
def test_an_erasure_takes_out_what_was_drawn_from_it(
    tmp_path: Path,
    frozen: ProbeSet,
    subject: str | None,
    ids: tuple[str, ...],
    before_us: int,
    left: set[int],
) -> None:
    """The set keeps its name and its numbers, so that what is left is still compared."""
    assert forget_probes(tmp_path, TASK, subject, ids, before_us) == 4 - len(left)
    kept = kept_set(tmp_path, TASK)
    assert kept is not None
    assert (kept.name, {one.number for one in kept.probes}) == (frozen.name, left)
    assert forget_probes(tmp_path, TASK, subject, ids, before_us) == 0


def test_nothing_of_an_erased_request_is_left_in_the_file_it_stood_in(
    tmp_path: Path, frozen: ProbeSet
) -> None:
    """Whoever still holds the old file reads zeros."""
    with probes_path(tmp_path, TASK).open("rb") as old:
        assert SECRET.encode() in old.read()
        forget_probes(tmp_path, TASK, "ann", (), 1000)
        old.seek(0)
        assert set(old.read()) == {0}
    assert SECRET.encode() not in probes_path(tmp_path, TASK).read_bytes()
    remove_set(tmp_path, TASK)
    assert [path.name for path in probes_path(tmp_path, TASK).parent.iterdir()] == []


def test_declared_probes_are_the_lines_of_a_file(tmp_path: Path) -> None:
    """Each is sent as it stands there."""
    path = tmp_path / "probes.jsonl"
    path.write_text('{"inputs": "a"}\n\n{"inputs":"b"}\n')
    probes = declared_probes(path, "/predict")
    assert [(one.number, one.target, one.body) for one in probes] == [
        (0, "/predict", '{"inputs": "a"}'),
        (1, "/predict", '{"inputs":"b"}'),
    ]
    assert forget_probes(tmp_path, TASK, "ann", ["g0-0"], 1000) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has 0 requests"),
        ("{}\n" * (MOST_PROBES + 1), f"has {MOST_PROBES + 1} requests"),
        ('{"inputs": "a"}\n{"inputs"\n', "line 2 is no JSON document"),
        (f'"{"x" * MOST_BODY_BYTES}"', "line 1 has"),
        (None, "cannot be read"),
    ],
)
def test_a_declared_file_that_cannot_be_used_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    """With the line and the rule."""
    path = tmp_path / "probes.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ProbesUnusable, match=said):
        declared_probes(path, "/predict")
