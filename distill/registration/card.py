"""What a model card says: its headline, the figures that a reader looks for first, and its sections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from distill.gating.criterion import Criterion
from distill.registration.card_sections import CardSection, sections_of
from ledger.artifacts import CriterionVerdict, Manifest, SliceVerdict
from ledger.slices import OVERALL
from monitor.drawing.words import number, percent
from monitor.sums import SliceSums


@dataclass(frozen=True, slots=True)
class Card:
    """The whole card; `headline` says the outcome, `figures` what a reader looks for first."""

    title: str
    outcome: str
    headline: str
    figures: tuple[tuple[str, str], ...]
    sections: tuple[CardSection, ...]


def card_of(manifest: Manifest, sums: Mapping[str, SliceSums], sizes: Mapping[str, int]) -> Card:
    """`sums` are those of the gate's rows by slice, `sizes` bytes by file name."""
    return Card(
        title=f"{manifest.task}: a {manifest.kind} student, {manifest.precision}",
        outcome=manifest.gate.outcome,
        headline=_headline(manifest),
        figures=tuple(_figures(manifest, sizes)),
        sections=tuple(sections_of(manifest, sums)),
    )


def _headline(manifest: Manifest) -> str:
    gate = manifest.gate
    if gate.outcome == "pass":
        judged = sum(row.outcome == "pass" for row in gate.criteria)
        slices = sum(verdict.outcome == "pass" for verdict in gate.verdicts)
        return f"passed its gate: {slices} slices and {judged} further rows were proven on locked rows"
    return f"its gate says {gate.outcome}: {'; '.join(gate.reasons)}"


def _figures(manifest: Manifest, sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    overall = _overall(manifest)
    if overall is not None and overall.pairs:
        yield "agreement with the teacher", percent(overall.agreements / overall.pairs)
        yield "of it proven, at least", percent(overall.lower_bound)
    error = _row(manifest, Criterion.CALIBRATION, OVERALL)
    if error is not None and error.value is not None:
        yield "calibration error", number(error.value)
    if manifest.certificate.drawn:
        yield "may serve, of all traffic", percent(manifest.certificate.served / manifest.certificate.drawn)
    yield "processor time an answer", f"{manifest.milliseconds_per_answer:.2f} ms"
    yield "on disk", f"{sum(sizes.values()) / 1e6:.1f} MB"


def _overall(manifest: Manifest) -> SliceVerdict | None:
    return next((verdict for verdict in manifest.gate.verdicts if verdict.slice == OVERALL), None)


def _row(manifest: Manifest, criterion: Criterion, name: str) -> CriterionVerdict | None:
    return next((r for r in manifest.gate.criteria if (r.criterion, r.name) == (criterion, name)), None)
