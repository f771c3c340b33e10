"""The stage watcher over a real control file."""

import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.certified import Certificates
from gateway.stages import Serving, Snapshot, StageWatcher
from ledger.certificates import DAY_US, VoidCause
from ledger.clock import now_us
from ledger.configuration import Configuration, load
from ledger.control_file import control_path, open_control_file, transaction
from ledger.gateway_beats import beat_ages
from ledger.heartbeats import leave_heartbeat
from ledger.slices import OVERALL
from ledger.stages import Stage
from ledger.tables import CertifiedSliceRow
from tests.artifacts import register, set_stage, tiny_artifact
from tests.gateway.running import write_configuration
from tests.gateway.teachers import CLASSES


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load(write_configuration(tmp_path, "http://127.0.0.1:9", stale_seconds=60)[0])


@pytest.fixture
def control(tmp_path: Path):
    engine = open_control_file(tmp_path)
    yield engine
    engine.dispose()


def poll(watcher: StageWatcher) -> Snapshot:
    watcher.poll()
    return watcher.snapshot


def test_before_there_is_a_control_file(configuration: Configuration) -> None:
    """Without a control file nothing answers and the monitor counts as stale."""
    snapshot = poll(StageWatcher(configuration))
    assert (dict(snapshot.tasks), snapshot.control_readable) == ({}, False)
    assert snapshot.fresh_until < time.monotonic()


def test_serving_artifact_with_its_certificate(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """Revision, who answers, who serves with which share and thresholds, and the monitor's freshness."""
    shadow = tiny_artifact(tmp_path, CLASSES, task="desk", seed=1)
    canary = tiny_artifact(tmp_path, CLASSES, task="desk", seed=2, thresholds={OVERALL: 0.7})
    register(control, shadow, task="desk", stage=Stage.SHADOW)
    register(control, canary, task="desk", stage=Stage.CANARY, share=0.2)
    with transaction(control) as session:
        leave_heartbeat(session, "monitor", {})
    snapshot = poll(StageWatcher(configuration))
    task = snapshot.tasks["desk"]
    assert (task.revision, task.answering) == (2, (shadow.artifact, canary.artifact))
    assert task.serving is not None
    assert (task.serving.artifact, task.serving.share) == (canary.artifact, 0.2)
    assert task.serving.thresholds == {OVERALL: 0.7}
    assert 50 < snapshot.fresh_until - time.monotonic() <= 60


def test_unreadable_control_file_keeps_the_stages(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """The last stages stay; the monitor's freshness is not renewed."""
    tiny = tiny_artifact(tmp_path, CLASSES, task="desk")
    register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
    watcher = StageWatcher(configuration)
    before = poll(watcher)
    control.dispose()
    control_path(tmp_path).write_bytes(b"this is no database" * 100)
    after = poll(watcher)
    assert (after.tasks, after.fresh_until) == (before.tasks, before.fresh_until)
    assert (before.control_readable, after.control_readable) == (True, False)


def test_stage_of_an_unregistered_artifact(configuration: Configuration, control: Engine) -> None:
    """A stage for what was never registered serves nothing."""
    set_stage(control, "s-unknown", Stage.FULL, 1.0, task="desk")
    snapshot = poll(StageWatcher(configuration))
    serving = snapshot.tasks["desk"].serving
    assert serving is not None
    assert serving.thresholds == {}
    assert "not registered" in snapshot.problems["s-unknown"]


def test_certificate_for_other_classes(configuration: Configuration, tmp_path: Path) -> None:
    """An artifact made for other classes has no thresholds here."""
    tiny = tiny_artifact(tmp_path, ("x", "y"), task="desk")
    certificates = Certificates(tmp_path)
    assert certificates.certificate(tiny.artifact, tiny.manifest_digest, configuration.task[0]) is None
    assert "classes" in certificates.problems[tiny.artifact]


def serving(watcher: StageWatcher) -> Serving:
    """What serves after the next poll."""
    found = poll(watcher).tasks["desk"].serving
    assert found is not None
    return found


def void(control: Engine, artifact: str, slice_name: str, cause: VoidCause) -> None:
    """As the monitor writes it down, with its sign of life."""
    with transaction(control) as session:
        session.add(
            CertifiedSliceRow(
                task="desk",
                artifact=artifact,
                slice=slice_name,
                certified_at_us=now_us(),
                voided_at_us=now_us(),
                cause=cause,
                reason="a test says so",
                state={},
            )
        )
        leave_heartbeat(session, "monitor", {})


def test_a_voided_slice_loses_its_threshold(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """With the monitor's next sign of life; the other slices keep theirs."""
    tiny = tiny_artifact(tmp_path, CLASSES, task="desk", thresholds={OVERALL: 0.7, "area=north": 0.8})
    register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
    watcher = StageWatcher(configuration)
    assert serving(watcher).thresholds == {OVERALL: 0.7, "area=north": 0.8}
    void(control, tiny.artifact, "area=north", VoidCause.AUDIT)
    after = serving(watcher)
    assert (after.thresholds, after.void) == ({OVERALL: 0.7}, {"area=north"})


def test_a_certificate_that_is_too_old_serves_nothing(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """Forty days, where thirty are allowed; it needs no monitor to be noticed."""
    tiny = tiny_artifact(tmp_path, CLASSES, task="desk", issued_at_us=now_us() - 40 * DAY_US)
    register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
    found = serving(StageWatcher(configuration))
    assert (found.thresholds, found.void) == ({}, {OVERALL})


def test_another_teacher_version_serves_nothing(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """From the reload that pins it, and only as long as it is pinned."""
    tiny = tiny_artifact(tmp_path, CLASSES, task="desk")
    register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
    watcher = StageWatcher(configuration)
    task = configuration.task[0]
    newer = task.model_copy(update={"teacher": task.teacher.model_copy(update={"version": "2"})})
    for pinned, void_slices in ((task, set()), (newer, {OVERALL}), (task, set())):
        watcher.obey(configuration.model_copy(update={"task": (pinned,)}))
        assert serving(watcher).void == void_slices


def test_it_reads_only_what_is_new(configuration: Configuration, control: Engine, tmp_path: Path) -> None:
    """Other writes to the control file cost nothing; a stage change and the monitor's sign of life are obeyed."""
    tiny = tiny_artifact(tmp_path, CLASSES, task="desk")
    register(control, tiny, task="desk", stage=Stage.SHADOW)
    watcher = StageWatcher(configuration)
    first = poll(watcher)
    with transaction(control) as session:
        leave_heartbeat(session, "distill", {})
    assert poll(watcher) is first

    with transaction(control) as session:
        leave_heartbeat(session, "monitor", {})
    beaten = poll(watcher)
    assert first.fresh_until < time.monotonic() < beaten.fresh_until

    set_stage(control, tiny.artifact, Stage.ROLLED_BACK, 0.0, task="desk")
    assert poll(watcher).tasks["desk"].answering == ()


def test_a_changed_configuration_is_obeyed_by_the_next_poll(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """Although the control file is as it was."""
    with transaction(control) as session:
        leave_heartbeat(session, "monitor", {})
    watcher = StageWatcher(configuration)
    before = poll(watcher)
    folder = tmp_path / "changed"
    folder.mkdir()
    watcher.obey(load(write_configuration(folder, "http://127.0.0.1:9", stale_seconds=600)[0]))

    assert poll(watcher).fresh_until > before.fresh_until + 500


def test_a_gateway_leaves_signs_of_life_until_it_is_told_to_stop(
    configuration: Configuration, control: Engine, tmp_path: Path
) -> None:
    """In a file of its own; a killed one leaves its last sign behind, which grows old."""
    watcher = StageWatcher(configuration)
    assert beat_ages(tmp_path) == {}
    watcher.start()
    assert beat_ages(tmp_path)[configuration.gateway.name] < 60
    watcher.stop()

    assert beat_ages(tmp_path) == {}
