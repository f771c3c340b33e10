"""Whether more went wrong on the way of exchanges since an alarm's change than before it."""

from dataclasses import asdict

from monitor.features import ALPHA
from monitor.findings import Facts, Finding, Outcome, Source
from monitor.troubles import Trouble, risen

LONG_INPUT = "longer_than_the_student_reads"


def serving_finding(facts: Facts) -> Finding:
    before, after = facts.before, facts.after
    troubles = risen(before.troubles, before.exchanges, after.troubles, after.exchanges, ALPHA / 2)
    troubles += risen(
        {LONG_INPUT: before.long_inputs},
        before.sums.pairs,
        {LONG_INPUT: after.long_inputs},
        after.sums.pairs,
        ALPHA / 2,
    )
    evidence = {
        "troubles": [asdict(trouble) for trouble in troubles],
        "before": {"exchanges": before.exchanges, "inputs": before.sums.pairs},
        "after": {"exchanges": after.exchanges, "inputs": after.sums.pairs},
    }
    if not before.exchanges or not after.exchanges:
        sentence = "serving cannot be compared: the record has nothing from before the change"
        return Finding(Source.SERVING, Outcome.UNKNOWN, sentence, evidence)
    rose = [trouble for trouble in troubles if trouble.rose]
    if rose:
        sentence = f"serving went wrong more often: {', '.join(map(_trouble_sentence, rose))}"
        return Finding(Source.SERVING, Outcome.MOVED, sentence, evidence)
    sentence = f"nothing went wrong more often: {after.exchanges} exchanges since the change, {before.exchanges} before"
    return Finding(Source.SERVING, Outcome.STILL, sentence, evidence)


def _trouble_sentence(trouble: Trouble) -> str:
    return (
        f"{trouble.reason.replace('_', ' ')} {100 * trouble.then / trouble.of_then:.1f} % ->"
        f" {100 * trouble.now / trouble.of_now:.1f} %"
    )
