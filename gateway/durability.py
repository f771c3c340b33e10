"""What a deployment promises about an exchange when its caller has the response, and what that costs.

strict: the end of the response waits until the exchange is on the disk. durable: nobody waits; a killed process
or a power cut loses what ended in the last 20 ms. best_effort: nobody waits; a killed process loses what ended
in the last tenth of a second, a power cut what the kernel had not written yet, and never the file itself.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Durability:
    """How groups are written."""

    name: str
    group_seconds: float  # how long the first of a group waits for others, the commit not included
    synchronous: Literal["FULL", "NORMAL"]  # of SQLite: whether each commit ends with an fsync
    awaited: bool  # the caller's response waits for the commit


STRICT = Durability("strict", 0.002, "FULL", awaited=True)
DURABLE = Durability("durable", 0.015, "FULL", awaited=False)
BEST_EFFORT = Durability("best_effort", 0.1, "NORMAL", awaited=False)

DURABILITIES = {one.name: one for one in (STRICT, DURABLE, BEST_EFFORT)}
