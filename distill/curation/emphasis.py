"""What the incumbent gets wrong weighs more in training, by how far its answer is from the teacher's.

The gate, the dev rows and the calibration rows keep their natural weights: they have to say what traffic says.
"""

from dataclasses import replace

from distill.curation.rows import Row
from distill.curation.split import Split
from distill.gating.answers import Answers
from ledger.observation import Observation
from monitor.divergence import jensen_shannon_bits, normalised

FAILURE_SLOPE = 4.0  # per bit of divergence: a certain mistake weighs MOST_EMPHASIS, an agreement about 1
MOST_EMPHASIS = 4.0


def emphasised(split: Split, incumbent: Answers) -> Split:
    """The same split, its training rows weighed by the incumbent's divergence from the teacher."""
    observations = incumbent.answer([row.text for row in split.train])
    return replace(split, train=tuple(map(_weighed, split.train, observations)))


def _weighed(row: Row, said: Observation) -> Row:
    return replace(row, emphasis=_emphasis(row.teacher, said))


def _emphasis(teacher: Observation, student: Observation) -> float:
    if teacher.probabilities is None or student.probabilities is None:
        return MOST_EMPHASIS
    divergence = jensen_shannon_bits(normalised(teacher.probabilities), normalised(student.probabilities))
    return min(MOST_EMPHASIS, 1 + FAILURE_SLOPE * divergence)
