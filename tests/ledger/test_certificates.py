"""What a certificate is worth now."""

from pathlib import Path

import pytest

from ledger.artifacts import Certificate
from ledger.certificates import DAY_US, VoidCause, standings, valid_thresholds, void_slices
from ledger.configuration import TaskSection
from ledger.tables import CertifiedSliceRow
from tests.ledger.builders import build_certified_slice
from tests.monitor.world import build_configuration

CERTIFICATE = Certificate(
    max_disagreement=0.1,
    delta=0.05,
    teacher_epoch="1",
    issued_at_us=0,
    slices={
        "all": build_certified_slice(0.6),
        "area=a": build_certified_slice(0.7),
        "area:small": build_certified_slice(0.8, pool=("area=b", "area=c")),
    },
    pairs={},
)
THRESHOLDS = {"all": 0.6, "area=a": 0.7, "area=b": 0.8, "area=c": 0.8}


@pytest.fixture
def task(tmp_path: Path) -> TaskSection:
    return build_configuration(tmp_path).task[0]


def row(name: str, cause: VoidCause | None = None, certified_at_us: int = 0) -> CertifiedSliceRow:
    return CertifiedSliceRow(
        task="desk",
        artifact="s-1",
        slice=name,
        certified_at_us=certified_at_us,
        voided_at_us=5 if cause else None,
        cause=cause,
        reason="because" if cause else None,
        state={},
    )


def test_a_new_certificate_holds_everywhere(task: TaskSection) -> None:
    """Members of a pool share its threshold."""
    lines = standings(CERTIFICATE, [], task, DAY_US)
    assert valid_thresholds(CERTIFICATE, lines) == CERTIFICATE.thresholds == THRESHOLDS
    assert void_slices(CERTIFICATE, lines) == frozenset()


@pytest.mark.parametrize("cause", [VoidCause.ALARM, VoidCause.AUDIT, VoidCause.TEACHER_CHANGED])
def test_what_the_monitor_voided_stays_void(task: TaskSection, cause: VoidCause) -> None:
    """The line and nothing else; of a pool all its members."""
    lines = standings(CERTIFICATE, [row("area:small", cause), row("all")], task, DAY_US)
    assert valid_thresholds(CERTIFICATE, lines) == {"all": 0.6, "area=a": 0.7}
    assert void_slices(CERTIFICATE, lines) == {"area=b", "area=c"}
    assert (lines["area:small"].cause, lines["area:small"].reason) == (cause, "because")


def test_another_pinned_teacher_voids_everything(task: TaskSection) -> None:
    """From the moment of the reload."""
    changed = task.model_copy(update={"teacher": task.teacher.model_copy(update={"version": "2"})})
    lines = standings(CERTIFICATE, [], changed, DAY_US)
    assert {line.cause for line in lines.values()} == {VoidCause.TEACHER_CHANGED}
    assert "version 2 is pinned" in (lines["all"].reason or "")


@pytest.mark.parametrize(("days", "holds"), [(29.9, True), (30.1, False)])
def test_age_voids_and_a_renewal_counts(task: TaskSection, days: float, holds: bool) -> None:
    """Thirty days by default, from the last renewal of the line."""
    now_us = int(days * DAY_US)
    assert standings(CERTIFICATE, [], task, now_us)["all"].holds is holds
    renewed = standings(CERTIFICATE, [row("all", certified_at_us=DAY_US)], task, now_us)
    assert (renewed["all"].holds, renewed["area=a"].holds) == (True, holds)


def test_without_a_limit_nothing_ages(task: TaskSection) -> None:
    """certificate_days = null, for who relies on audits alone."""
    fallback = task.fallback.model_copy(update={"certificate_days": None})
    lines = standings(CERTIFICATE, [], task.model_copy(update={"fallback": fallback}), 10_000 * DAY_US)
    assert all(line.holds for line in lines.values())
