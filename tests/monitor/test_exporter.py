"""Prometheus metrics over the control file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from ledger.certificates import VoidCause
from ledger.clock import now_us
from ledger.control_file import open_control_file_read_only, transaction
from ledger.exchange_file import ExchangeFile
from ledger.gateway_beats import beat_path, leave_beat
from ledger.heartbeats import leave_heartbeat
from ledger.jobs import JobCause, JobStatus, claim_job, create_job, finish_job
from ledger.stages import Stage
from ledger.tables import AlarmRow, CertifiedSliceRow
from monitor.cycle import run_cycle
from monitor.exporter import SLICES_A_TASK, ControlFileCollector
from monitor.statistics import shifts
from monitor.sums import SliceSums, merged
from tests.ledger.builders import build_answer, build_certified_slice, build_exchange
from tests.monitor.world import TASK, A, add_student, build_configuration, build_pair, set_stage, shadowed

EMBEDDING = {"embedding_region", "embedding_distance"}  # that these students do not tell
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def registry(tmp_path: Path, engine: Engine) -> Iterator[CollectorRegistry]:
    reader = open_control_file_read_only(tmp_path)
    registry = CollectorRegistry()
    registry.register(ControlFileCollector(reader, build_configuration(tmp_path)))
    yield registry
    reader.dispose()


def scraped(registry: CollectorRegistry) -> Samples:
    """Every exposed value by metric name and label values (task, artifact, slice), as a scraper reads it."""
    order = ("task", "artifact", "slice", "reason", "gateway", "status", "feature")
    return {
        (sample.name, tuple(sample.labels[name] for name in order if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_before_the_first_tick_there_are_no_slices(registry: CollectorRegistry) -> None:
    """An empty control file is exposed without ratios, and without a tick age that could look fresh."""
    found = scraped(registry)

    assert found["stillgate_slices", ("desk",)] == 0
    assert ("stillgate_detector_log_threshold", ("desk",)) in found
    assert not any(name == "stillgate_monitor_tick_age_seconds" for name, _ in found)


def test_inputs_are_held_against_the_students_gate(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, registry: CollectorRegistry
) -> None:
    """Each feature with what chance makes of it; those that the student does not tell, or without a reference, are
    not there."""
    same, other = (merged(SliceSums.of_pair(build_pair(A, A, words=w)) for _ in range(200)) for w in (2, 900))
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}, reference={"all": other}).artifact
    bare = add_student(engine, tmp_path, {"all": (600, 570)}, registered_at_us=2).artifact
    now = now_us()
    exchanges.append(
        [build_exchange(n, started_at_us=now) for n in range(200)],
        [build_answer(n, name) for n in range(200) for name in (artifact, bare)],
    )
    run_cycle(engine, build_configuration(tmp_path), now)

    found = scraped(registry)
    shown = {labels[1:] for name, labels in found if name == "stillgate_input_shift_nats"}
    assert {artifact for artifact, _ in shown} == {artifact}
    assert {feature for _, feature in shown} == set(shifts(same, other, 2)) - EMBEDDING
    assert found["stillgate_input_shift_nats", (TASK, artifact, "words")] > 1
    assert found["stillgate_input_shift_nats", (TASK, artifact, "teacher_classes")] == 0
    assert found["stillgate_input_shift_noise_nats", (TASK, artifact, "words")] == 0.01


def test_slices_alarms_and_ticks_are_exposed(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, registry: CollectorRegistry
) -> None:
    """Fidelity, pairs, evidence and alarms of the student that answers."""
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}).artifact
    recent = now_us()
    for sequence in range(100):
        exchange, answer = shadowed(sequence, sequence >= 60, artifact, started_at_us=recent)
        exchanges.append([exchange], [answer])
    run_cycle(engine, build_configuration(tmp_path), now_us())

    found = scraped(registry)

    assert found["stillgate_slice_fidelity_ratio", ("desk", artifact, "all")] == 0.4
    assert found["stillgate_slice_pairs", ("desk", artifact, "area=a")] == 100
    assert found["stillgate_slice_divergence_bits", ("desk", artifact, "all")] > 0
    assert found["stillgate_slice_calibration_error_ratio", ("desk", artifact, "all")] > 0
    assert found["stillgate_alarms_total", ("desk", "all")] == 1
    assert found["stillgate_detector_null_ratio", ("desk", artifact, "area=a")] == pytest.approx(0.2)
    assert found["stillgate_monitor_pairs_total", ()] == 100
    assert 0 <= found["stillgate_monitor_tick_age_seconds", ()] < 60
    assert not any(name == "stillgate_slice_accuracy_ratio" for name, _ in found)


def test_the_number_of_exported_slices_is_bounded(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, registry: CollectorRegistry
) -> None:
    """Those with most pairs, the overall one among them; how many there are is told beside."""
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}).artifact
    recent = now_us()
    for sequence in range(SLICES_A_TASK + 20):
        attributes = {"x-area": f"area {sequence}"}
        exchange, answer = shadowed(
            sequence, True, artifact, attributes=attributes, started_at_us=recent, input_words=(60,)
        )
        exchanges.append([exchange], [answer])
    run_cycle(engine, build_configuration(tmp_path), now_us())

    found = scraped(registry)

    exported = {labels[2] for name, labels in found if name == "stillgate_slice_pairs"}
    assert len(exported) == SLICES_A_TASK
    assert {"all", "length=50+", "desk=a"} <= exported
    assert found["stillgate_slices", ("desk",)] == SLICES_A_TASK + 23


def test_the_age_of_a_gateways_last_sign_of_life_is_exposed(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    """For an alert on gateways that died; one that was told to stop is not among them."""
    assert not any(name == "stillgate_gateway_beat_age_seconds" for name, _ in scraped(registry))
    leave_beat(beat_path(tmp_path, "g0"))

    assert 0 <= scraped(registry)["stillgate_gateway_beat_age_seconds", ("g0",)] < 60


def test_jobs_that_ended_and_people_who_wait_are_exposed(
    tmp_path: Path, engine: Engine, registry: CollectorRegistry
) -> None:
    """Every ending is there at zero before the first; ages exist only while something is open."""
    before = scraped(registry)
    assert before["stillgate_last_job_failed", ("desk",)] == 0
    assert not any(name == "stillgate_open_job_age_seconds" for name, _ in before)
    with transaction(engine) as session:
        job = create_job(session, "desk", JobCause.BY_HAND, "olga")
        assert job.id is not None
        claim_job(session, "w")
    assert 0 <= scraped(registry)["stillgate_open_job_age_seconds", ("desk",)] < 60
    with transaction(engine) as session:
        finish_job(session, job.id, "w", JobStatus.FAILED, ["too few rows"])

    after = scraped(registry)
    assert after["stillgate_last_job_failed", ("desk",)] == 1
    assert not any(name == "stillgate_open_job_age_seconds" for name, _ in after)
    endings = {
        labels: value for (name, labels), value in after.items() if name == "stillgate_jobs_ended_total"
    }
    assert sorted(endings.values()) == [0, 0, 1]


def test_an_alarm_stands_while_its_student_answers(
    tmp_path: Path, engine: Engine, registry: CollectorRegistry
) -> None:
    """Its slices are counted once each; a student that is rolled back has no series."""
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}).artifact
    with transaction(engine) as session:
        for name in ("all", "all", "area=a"):
            alarm = AlarmRow(
                task="desk", slice=name, artifact=artifact, at_us=1, decision="cooldown", receipt={}
            )
            session.add(alarm)
    assert scraped(registry)["stillgate_standing_alarms", ("desk", artifact)] == 2
    set_stage(engine, artifact, Stage.ROLLED_BACK)
    assert not any(name == "stillgate_standing_alarms" for name, _ in scraped(registry))


def test_webhooks_are_exposed_as_the_control_process_tells(
    engine: Engine, registry: CollectorRegistry
) -> None:
    """With every reason of a drop."""
    account = {"delivered": 3, "dropped": {"full": 2, "expired": 0}, "waiting": 1, "failing_seconds": 4.5}
    with transaction(engine) as session:
        leave_heartbeat(session, "control", {"webhooks": {"pager": account}})
    text = generate_latest(registry).decode()
    assert 'stillgate_webhook_delivered_total{webhook="pager"} 3.0' in text
    assert 'stillgate_webhook_dropped_total{reason="full",webhook="pager"} 2.0' in text
    assert 'stillgate_webhook_failing_seconds{webhook="pager"} 4.5' in text


def test_the_states_of_a_certificate_are_exposed(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, registry: CollectorRegistry
) -> None:
    """Lines by state, every state of every student that answers, so that an alert has something to look at."""
    lines = {"all": build_certified_slice(0.7), "area=a": build_certified_slice(0.8)}
    artifact = add_student(
        engine, tmp_path, {"all": (600, 570)}, registered_at_us=now_us(), lines=lines
    ).artifact
    exchange, answer = shadowed(1, True, artifact, started_at_us=now_us())
    exchanges.append([exchange], [answer])
    run_cycle(engine, build_configuration(tmp_path), now_us())
    with transaction(engine) as session:
        row = session.get(CertifiedSliceRow, (TASK, artifact, "area=a"))
        assert row is not None
        row.cause, row.reason = VoidCause.AUDIT, "a test says so"

    text = generate_latest(registry).decode()

    name = f'stillgate_certified_slices{{artifact="{artifact}",state='
    found = {
        line.split('state="')[1].split('"')[0]: line for line in text.splitlines() if line.startswith(name)
    }
    counts = {state: float(line.rsplit(" ", 1)[1]) for state, line in found.items()}
    assert counts == {"holds": 1, "audit": 1, "alarm": 0, "teacher_changed": 0, "expired": 0}
