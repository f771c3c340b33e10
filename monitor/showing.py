"""What one tick shows a task's detectors, put together before the control file is locked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.configuration import TriggerSection
from ledger.harms import Harm
from monitor.columns import PairColumns
from monitor.distances import DISTANCES
from monitor.distinct import Bins, Counts, bins_by_slice, counts_by_slice, distinct
from monitor.label_evidence import Labels, labels_by_slice, pairs_by_slice
from monitor.references import Reference
from monitor.trigger import Slice
from monitor.truths import Told


@dataclass(frozen=True, slots=True)
class Shown:
    """Of one task."""

    counts: Mapping[Slice, Counts]  # identical inputs once
    distances: Mapping[Harm, Bins]  # those that are watched
    references: Mapping[str, Reference]  # by student, where its artifact can be read
    pairs: Mapping[Slice, int]  # repeated inputs too, beside which labels are counted
    labels: Mapping[Slice, Labels]


def shown_of(
    pages: Sequence[PairColumns], told: Told, trigger: TriggerSection, references: Mapping[str, Reference]
) -> Shown:
    """`pages` are the new pairs of the task, `told` what labels said of its pairs in this tick."""
    found, watches_labels = distinct(pages), Harm.REGRET in trigger.harms
    return Shown(
        counts=counts_by_slice(found),
        distances={harm: bins_by_slice(found, harm) for harm in DISTANCES if harm in trigger.harms},
        references=references,
        pairs=pairs_by_slice(pages) if watches_labels else {},
        labels=labels_by_slice(told) if watches_labels else {},
    )
