"""Whether one of those who answer changed: the teacher, by its version or its answers, or what runs the student."""

from collections.abc import Iterator
from dataclasses import asdict

from ledger.clock import iso
from monitor.features import ALPHA
from monitor.findings import NEAR_US, Facts, Finding, Outcome, Source
from monitor.input_moved import OF_THE_TEACHER, Features, told
from monitor.intervals import more_often_p_value


def teacher_finding(facts: Facts, features: Features, given: Finding) -> Finding:
    evidence = {
        "before": {name: asdict(version) for name, version in facts.before.versions.items()},
        "after": {name: asdict(version) for name, version in facts.after.versions.items()},
        "learnt_version": facts.learnt_version,
    }
    if not facts.after.versions:
        return Finding(
            Source.TEACHER, Outcome.UNKNOWN, "the teacher has answered nothing since the change", evidence
        )
    changed = list(_changed_versions(facts))
    if changed:
        return Finding(Source.TEACHER, Outcome.MOVED, f"the teacher changed: {'; '.join(changed)}", evidence)
    answers = [one for one in features.before or () if one.moved and one.feature in OF_THE_TEACHER]
    if answers and given.outcome is not Outcome.MOVED:
        sentence = f"the teacher answers otherwise, though nothing of the input moved: {told(answers)}"
        return Finding(Source.TEACHER, Outcome.MOVED, sentence, evidence)
    versions = ", ".join(sorted(facts.after.versions))
    other = (
        ""
        if facts.learnt_version in (None, versions)
        else f"; the student learnt from {facts.learnt_version}"
    )
    return Finding(
        Source.TEACHER, Outcome.STILL, f"the teacher is the same, version {versions}{other}", evidence
    )


def _changed_versions(facts: Facts) -> Iterator[str]:
    """Versions that answer more since the change than before it, and began with it or shortly before."""
    before, after = facts.before.versions, facts.after.versions
    of_before, of_after = (sum(one.exchanges for one in side.values()) for side in (before, after))
    for name, version in after.items():
        others = sorted(before.keys() - {name})
        earlier = before.get(name)
        first_us = version.first_us if earlier is None else earlier.first_us
        told = f"version {name} answers since {iso(first_us)}, {version.exchanges} of {of_after} exchanges"
        if not before and facts.learnt_version not in (None, name):
            yield f"{told}; the student learnt from version {facts.learnt_version}"
        if not others or first_us < facts.change_us - NEAR_US:
            continue
        counts = 0 if earlier is None else earlier.exchanges, of_before, version.exchanges, of_after
        if more_often_p_value(*counts) <= ALPHA:
            yield f"{told}; before it version {', '.join(others)}"


def student_finding(facts: Facts) -> Finding:
    evidence = {"runtimes": [asdict(runtime) for runtime in facts.runtimes], "gate": facts.gate_runtime}
    if not facts.runtimes:
        return Finding(
            Source.STUDENT, Outcome.UNKNOWN, "the student process has not said what it runs on", evidence
        )
    now = facts.runtimes[-1]
    before = facts.runtimes[-2] if len(facts.runtimes) > 1 else None
    if before is not None and now.since_us >= facts.change_us - NEAR_US:
        sentence = f"the student runs on {now.words} since {iso(now.since_us)}, on {before.words} before"
        return Finding(Source.STUDENT, Outcome.MOVED, sentence, evidence)
    sentence = f"the student is the same artifact on {now.words} since {iso(now.since_us)}"
    if facts.gate_runtime is not None and now.onnxruntime != facts.gate_runtime:
        sentence = f"{sentence}; its gate ran on onnxruntime {facts.gate_runtime}"
        return Finding(Source.STUDENT, Outcome.MOVED_EARLIER, sentence, evidence)
    return Finding(Source.STUDENT, Outcome.STILL, sentence, evidence)
