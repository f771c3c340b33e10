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
from ledger.tables import CertifiedSliceRow
from monitor.cycle import run_cycle
from monitor.exporter import SLICES_A_TASK, ControlFileCollector
from tests.ledger.builders import build_certified_slice
from tests.monitor.world import TASK, add_student, build_configuration, shadowed

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
    order = ("task", "artifact", "slice", "reason", "gateway")
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
