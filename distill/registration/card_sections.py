"""The sections of a model card: sentences, one table and drawings each, from the manifest and the gate's sums."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from distill.gating.criterion import NOT_JUDGED, Criterion
from ledger.artifacts import CriterionVerdict, Manifest, SliceVerdict
from ledger.slices import OVERALL
from monitor.drawing.charts import reliability_chart, risk_chart
from monitor.drawing.curves import slice_curves
from monitor.drawing.interval_chart import IntervalLine, interval_chart
from monitor.drawing.markup import Markup
from monitor.drawing.words import NONE, count, moment, percent, words
from monitor.intervals import INTERVAL_ALPHA, lower_bound, upper_bound
from monitor.sums import SliceSums

DRAWN = 24  # slices in the chart; the table has every one
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class CardSection:
    """A heading with what stands beneath it. Columns that end in > hold numbers."""

    name: str
    title: str
    sentences: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: Rows = ()
    told: Rows = ()  # further rows of the same columns, that nothing is decided by
    charts: tuple[Markup, ...] = ()  # as wide as the page
    diagrams: tuple[Markup, ...] = ()  # small ones, side by side


def sections_of(manifest: Manifest, sums: Mapping[str, SliceSums]) -> Iterator[CardSection]:
    """In the order in which a reader asks."""
    yield _use(manifest)
    yield _slices(manifest)
    yield _calibration(manifest, sums)
    yield _serving(manifest, sums)
    yield from _criteria(manifest)
    yield _training(manifest)
    yield _people(manifest)
    yield _limits(manifest)


def _use(manifest: Manifest) -> CardSection:
    sentences = [
        (
            f"It answers texts with one of {len(manifest.classes)} classes: {', '.join(manifest.classes)}. It reads the"
            f" first {manifest.max_tokens} tokens of a text."
        ),
        (
            f"It imitates version {manifest.lineage.teacher_epoch} of its teacher on the traffic of this task, and is"
            " meant for that traffic alone. Agreement is with the teacher, which may be wrong too."
        ),
        (
            "Behind Stillgate it serves only the slices of its certificate, from the confidence that stands there;"
            " everything else is the teacher's."
        ),
    ]
    if manifest.play is not None:
        numbers = {name: value for name, value in manifest.play.items() if name != "kind"}
        sentences.append(f"It was made for the {manifest.play['kind']} play: {_told(numbers)}.")
    return CardSection("use", "What it does", tuple(sentences))


def _told(numbers: Mapping[str, object]) -> str:
    return ", ".join(f"{words(name)} {value}" for name, value in numbers.items() if value is not None)


def _slices(manifest: Manifest) -> CardSection:
    verdicts = sorted(manifest.gate.verdicts, key=_rank)
    chart = interval_chart("slices-chart", "Agreement by slice", [_line(one) for one in verdicts[:DRAWN]])
    sentences = (
        (
            "Dots are the share of locked rows on which student and teacher agree, lines exact 95 % intervals, upright"
            " marks the bars. A slice passes when the bound of the gate, which is one-sided, reaches its bar; one"
            " that is not provable with its rows stays with the teacher."
        ),
        "Rows that were drawn because of one rule count for that rule's slices alone.",
    )
    columns = ("slice", "verdict", "agreement>", "proven at least>", "bar>", "rows>", "why")
    rows = tuple(
        (
            one.slice + (" *" if one.critical else ""),
            "no bar" if one.bar is None else _said(one.outcome),
            percent(one.agreements / one.pairs) if one.pairs else NONE,
            percent(one.lower_bound),
            percent(one.bar, 0),
            count(one.pairs),
            one.reason,
        )
        for one in verdicts
    )
    charts = (chart,) if verdicts else ()
    return CardSection("slices", "Slice by slice", sentences, columns, rows, charts=charts)


def _said(outcome: str) -> str:
    return "not provable" if outcome == "inconclusive" else words(outcome)


def _rank(verdict: SliceVerdict) -> tuple[bool, bool, bool, int]:
    return verdict.slice != OVERALL, verdict.outcome != "fail", not verdict.critical, -verdict.pairs


def _line(one: SliceVerdict) -> IntervalLine:
    return IntervalLine(
        one.slice,
        one.agreements / one.pairs if one.pairs else 0.0,
        lower_bound(one.agreements, one.pairs, INTERVAL_ALPHA / 2),
        upper_bound(one.agreements, one.pairs, INTERVAL_ALPHA / 2),
        one.bar,
        one.outcome,
        one.reason,
    )


CRITERIA: Sequence[tuple[Criterion, str, str]] = (
    (Criterion.PLAY, "Success", "What it was made for, checked with its own numbers."),
    (
        Criterion.FLIPS,
        "Negative flips",
        "Rows that the incumbent answered as the teacher, and this one does not.",
    ),
    (
        Criterion.ACCURACY,
        "Accuracy on verified labels",
        "Against labels that people verified, not the teacher.",
    ),
    (
        Criterion.LATENCY,
        "Latency at the serving mix",
        "95th percentile of requests as they come, one at a time.",
    ),
    (Criterion.FAIRNESS, "Protected groups", "How far each group lies below the rest: above 0 is worse."),
    (Criterion.TEACHER, "What the teacher does", "The same on the teacher: failures here are inherited."),
    (
        Criterion.ROBUSTNESS,
        "Robustness",
        "Answers that stay the same when texts change in ways that mean nothing.",
    ),
    (Criterion.BEHAVIOUR, "Behavioural tests", "The task's own tests, by tag."),
    (Criterion.QUANTIZATION, "Quantization", "Against the artifact that it was quantized from."),
)


def _criteria(manifest: Manifest) -> Iterator[CardSection]:
    for criterion, title, sentence in CRITERIA:
        rows = [row for row in manifest.gate.criteria if row.criterion == criterion]
        if rows:
            yield _criterion(str(criterion), title, sentence, rows)


def _criterion(name: str, title: str, sentence: str, rows: Sequence[CriterionVerdict]) -> CardSection:
    said = tuple(_why(row) for row in rows if row.outcome == NOT_JUDGED and row.value is None)
    columns = ("what", "verdict", "value>", "between>", "bar>", "of>", "why")
    return CardSection(name, title, (sentence, *said), columns, *_judged_and_told(rows))


def _judged_and_told(rows: Sequence[CriterionVerdict]) -> tuple[Rows, Rows]:
    judged = [row for row in rows if row.outcome != NOT_JUDGED]
    told = [row for row in rows if row.outcome == NOT_JUDGED and row.value is not None]
    return tuple(map(_criterion_row, judged)), tuple(map(_criterion_row, told))


def _why(row: CriterionVerdict) -> str:
    return row.reason.removeprefix("not judged: ")


def _criterion_row(row: CriterionVerdict) -> tuple[str, ...]:
    return (
        row.name,
        _said(row.outcome),
        _plain(row.value),
        "" if row.low is None and row.high is None else f"{_plain(row.low)} to {_plain(row.high)}",
        _plain(row.bar),
        count(row.count),
        _why(row),
    )


def _plain(value: float | None) -> str:
    """A share to a tenth of a point; seconds and days to three digits."""
    if value is None:
        return NONE
    return f"{value:.3f}" if 0.1 <= abs(value) <= 1 or value == 0 else f"{value:.3g}"


def _calibration(manifest: Manifest, sums: Mapping[str, SliceSums]) -> CardSection:
    rows = [row for row in manifest.gate.criteria if row.criterion == Criterion.CALIBRATION]
    overall = sums.get(OVERALL)
    diagrams: tuple[Markup, ...] = ()
    if overall is not None and overall.pairs:
        curves = slice_curves(OVERALL, overall, None, None)
        diagrams = (reliability_chart("reliability", OVERALL, "the teacher", curves.reliability),)
    sentences = (
        (
            f"Temperature {manifest.temperature:.3f}, {words(manifest.calibration)}; it is in the graph. Points on the"
            " dashed diagonal are calibrated, and a point inside its band shows nothing wrong with so few rows."
        ),
    )
    columns = ("slice", "verdict", "error>", "between>", "bar>", "rows>", "why")
    judged, told = _judged_and_told(rows)
    return CardSection("calibration", "Calibration", sentences, columns, judged, told, diagrams=diagrams)


def _serving(manifest: Manifest, sums: Mapping[str, SliceSums]) -> CardSection:
    certificate = manifest.certificate
    line = certificate.slices.get(OVERALL)
    overall = sums.get(OVERALL)
    diagrams: tuple[Markup, ...] = ()
    if overall is not None and overall.pairs:
        threshold = line.confidence if line else None
        curves = slice_curves(OVERALL, overall, threshold, certificate.max_disagreement)
        diagrams = (risk_chart("risk", curves),)
    rows = tuple(
        (
            name,
            f"{one.confidence:.2f}",
            f"{count(one.accepted)} of {count(one.pairs)}",
            count(one.disagreements),
            f"{percent(one.coverage_low)} to {percent(one.coverage_high)}",
            ", ".join(one.pool),
        )
        for name, one in sorted(certificate.slices.items())
    )
    sentences = (
        (
            f"Where it serves, it disagrees with the teacher in at most {percent(certificate.max_disagreement)} of"
            f" cases: with confidence {percent(1 - certificate.delta)} for all lines at once. A request needs each of"
            " its slices to have a line, and a confidence that reaches the highest of them."
        ),
    )
    columns = (
        "line",
        "from confidence>",
        "rows accepted>",
        "disagree>",
        "would serve>",
        "slices of the pool",
    )
    return CardSection("serving", "Where it may serve", sentences, columns, rows, diagrams=diagrams)


def _successor(parent: str | None) -> str:
    return f", as a successor of {parent}" if parent else ", the first of its task"


def _training(manifest: Manifest) -> CardSection:
    lineage = manifest.lineage
    rows = tuple((f"{name} rows", count(value)) for name, value in lineage.rows.items())
    libraries = tuple((name, release) for name, release in sorted(lineage.libraries.items()))
    why = f"job {lineage.job_id}, opened by {words(lineage.cause)}"
    why += f" {lineage.alarm_id}" if lineage.alarm_id is not None else ""
    sentences = (
        (
            f"Made by {why}{_successor(lineage.parent)}, with"
            f" seed {lineage.seed} on {lineage.threads} threads."
        ),
        (
            "It learnt from the task's own logged exchanges that the pinned teacher answered completely. Their texts"
            " lie in the record alone; data.manifest.json names them by digest, lineage.json and run.json the rest."
        ),
        "The exported file was compared with the trained student: "
        + ", ".join(f"{words(name)} {value:.3g}" for name, value in manifest.parity.items())
        + ".",
    )
    origin = f"Its weights are those of {lineage.quantized_from} as {manifest.precision}."
    said = sentences if lineage.quantized_from is None else (*sentences, origin)
    return CardSection("training", "How it was made", said, ("what", "value>"), (*rows, *libraries))


def _people(manifest: Manifest) -> CardSection:
    licence, signature, fairness = manifest.licence, manifest.signature or {}, manifest.fairness or {}
    sentences = [
        (
            f"The teacher's terms permit distillation, as {licence.get('decided_by')} decided on"
            f" {licence.get('decided_on')}: {licence.get('terms')}."
        )
    ]
    if signature:
        on = f" on {signature['signed_on']}" if signature.get("signed_on") else ""
        sentences.append(
            f"The gate was signed by {signature['signed_by']}{on} ({signature['policy']} policy of"
            f" {signature['source']}); {signature['driver']} is behind automatic jobs."
        )
    if fairness.get("none_because"):
        sentences.append(
            f"There are no protected groups, as {fairness['declared_by']} declared on {fairness['declared_on']}:"
            f" {fairness['none_because']}."
        )
    elif fairness.get("protected"):
        sentences.append(f"Protected groups are the values of {', '.join(fairness['protected'])}.")
    return CardSection("people", "Who answers for it", tuple(sentences))


def _limits(manifest: Manifest) -> CardSection:
    unjudged = dict.fromkeys(
        words(row.criterion)
        for row in manifest.gate.criteria
        if not any(o.criterion == row.criterion and o.outcome != NOT_JUDGED for o in manifest.gate.criteria)
    )
    unproven = [one.slice for one in manifest.gate.verdicts if one.bar and one.outcome == "inconclusive"]
    sentences = []
    if unjudged:
        sentences.append(
            f"Not judged, because no bar is set or nothing was there to judge by: {', '.join(unjudged)}."
        )
    if unproven:
        sentences.append(f"Not provable with the rows there were: {', '.join(unproven)}.")
    sentences.append(
        "Nothing is known of texts unlike those of the task's traffic, of other languages than it has, or of a teacher"
        f" other than version {manifest.lineage.teacher_epoch}. The locked rows are of"
        f" {moment(manifest.certificate.issued_at_us)} UTC and before; drift since then is the monitor's to find."
    )
    return CardSection("limits", "What it does not say", tuple(sentences))
