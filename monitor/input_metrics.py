"""Metrics of how far the inputs of the last hour lie from those of each student's gate, over all traffic."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlmodel import Session

from ledger.configuration import Configuration
from ledger.slices import OVERALL
from monitor.references import answering_students, references
from monitor.statistics import reference_in, shifts
from monitor.sums import SliceSums

LABELS = ("task", "artifact", "feature")


def input_metrics(
    session: Session, configuration: Configuration, slices: Iterable[tuple[str, str, str, SliceSums]]
) -> Iterator[Metric]:
    """No series for a feature that one side lacks, nor for a student whose manifest keeps no reference."""
    text = "Population stability index of the last hour's inputs, and answers to them, against the student's gate."
    stability = GaugeMetricFamily("stillgate_input_shift_nats", text, labels=LABELS)
    text = "What that index is on average where nothing has moved."
    noise = GaugeMetricFamily("stillgate_input_shift_noise_nats", text, labels=LABELS)
    classes = {task.name: len(task.classes) for task in configuration.task}
    answering = {task: answering_students(session, task) for task in classes}
    kept = references(configuration.deployment.data_directory, answering)
    for task, artifact, name, sums in slices:
        reference = reference_in(kept[task].get(artifact, {}), OVERALL)
        if name != OVERALL or reference is None:
            continue
        for feature, figures in shifts(sums, reference, classes[task]).items():
            seen, by_chance = (figures[key] for key in ("population_stability", "population_stability_noise"))
            if seen is not None and by_chance is not None:
                stability.add_metric([task, artifact, feature], seen)
                noise.add_metric([task, artifact, feature], by_chance)
    yield from (stability, noise)
