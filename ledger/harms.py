"""What a detector may watch: losses of a student, each between 0 and 1, of which only a rise is a harm."""

from enum import StrEnum


class Harm(StrEnum):
    """What one input's loss is."""

    DISAGREEMENT = "disagreement"  # 1 where its top class is not the teacher's
    TOTAL_VARIATION = "total_variation"  # of its distribution from the teacher's
    DIVERGENCE_BITS = "divergence_bits"  # Jensen-Shannon, of the same
    REGRET = "regret"  # 1 where by the true label the teacher alone is right


HARMS = (Harm.DISAGREEMENT, Harm.TOTAL_VARIATION, Harm.REGRET)  # the two distances say much the same
