"""Settings by which logged rows are chosen and weighed for training."""

from pydantic import Field

from ledger.configuration.fields import OpenShare, Section, Share


class CurationSection(Section):
    """Which logged rows a student learns from, and how much each of them counts."""

    window_days: float = Field(
        90, gt=0
    )  # the record's last so many days; an alarm's change point extends them
    live_days: float = Field(7, gt=0)  # of these the last, without an alarm: what training is matched to
    near_duplicate: OpenShare = 0.8  # Jaccard similarity of texts from which two of one answer are one row
    semantic_duplicate: OpenShare = 0.95  # cosine of embeddings, likewise, within a cluster; training alone
    slice_quota: int = Field(
        200, ge=0
    )  # rows of a slice that are kept, however much they resemble each other
    leak_jaccard: OpenShare = 0.7  # a row this near to a row of the gate does not train ...
    leak_cosine: OpenShare = 0.9  # ... nor one whose embedding is
    principal_share: OpenShare = 0.02  # of rows and of weight that one caller may give
    failure_slope: float = Field(2.0, ge=0)  # weight that a certain mistake of the incumbent adds
    failure_limit: float = Field(3.0, ge=1)  # the most that its mistakes multiply a row's weight by
    replay_share: Share = 0.2  # of weight, from rows of earlier accepted jobs beyond the window
    doubtful_share: Share = 0.05  # of a class in a slice that is set aside as the teacher's mistakes, at most
