"""How long the candidate takes for a request, at the serving mix: the bar holds on each of the top patterns.

Wall time in this process, one request after another: queues and the network come on top, and whatever else keeps the
machine busy makes it longer, never shorter.
"""

import time
from collections.abc import Iterator

from distill.gating.answers import Answers
from distill.gating.bounds import quantile_upper
from distill.gating.criterion import Criterion, judged, not_judged
from distill.gating.look import Look
from distill.gating.mix import Pattern
from ledger.artifacts import CriterionVerdict
from monitor.verdict import Bar, Known

QUANTILE = 0.95
LEAST_REQUESTS = 59  # with fewer, no bound on a 95th percentile holds at 5 %


def latency_rows(look: Look, bar: float | None, setting: str) -> Iterator[CriterionVerdict]:
    """A row for each top pattern of the traffic."""
    if not look.beside.patterns:
        yield not_judged(Criterion.LATENCY, "serving mix", "the mix of requests was not measured")
    for pattern in look.beside.patterns:
        known = latency_known(look.student, pattern, look.alpha)
        if bar is None:
            yield not_judged(Criterion.LATENCY, pattern.name, f"{setting} is not set", known)
        else:
            yield judged(Criterion.LATENCY, pattern.name, known, Bar(bar, is_least=False), LEAST_REQUESTS)


def latency_known(student: Answers, pattern: Pattern, alpha: float) -> Known:
    """95th percentile with its upper bound, which holds whatever the distribution."""
    seconds = sorted(_seconds(student, pattern))
    place = min(len(seconds) - 1, int(QUANTILE * len(seconds)))
    counts = f"{len(seconds)} requests timed, {pattern.share:.0%} of the traffic"
    high = quantile_upper(seconds, QUANTILE, alpha)
    return Known(counts, len(seconds), seconds[place], None, high, " s")


def _seconds(student: Answers, pattern: Pattern) -> Iterator[float]:
    student.answer(pattern.requests[0])  # the first run of a shape allocates
    for request in pattern.requests:
        started = time.perf_counter()
        student.answer(request)
        yield time.perf_counter() - started
