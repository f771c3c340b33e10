"""What is counted of the shadow, by slice."""

import re
from contextlib import ExitStack
from pathlib import Path

from gateway.coverage import MAX_SLICES, OTHER, Coverage
from gateway.shadow import ShadowDrop
from ledger.control_file import open_control_file
from ledger.coverage_file import read_coverage
from ledger.stages import Stage
from student.wire import socket_path
from tests.artifacts import register, tiny_artifact
from tests.gateway.running import gateway, wait_until
from tests.gateway.students import WireStudent, refuse, student_at
from tests.gateway.teachers import CLASSES

COUNTED = re.compile(r'stillgate_shadow_(eligible|answered)_total\{.*slice="([^"]+)",task="desk"\}')


def counts(metrics: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Slice -> (eligible, answered)."""
    found: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if matched := COUNTED.match(name):
            found.setdefault(matched[2], {})[matched[1]] = value
    return {name: (both["eligible"], both["answered"]) for name, both in found.items()}


def test_slices_are_bounded() -> None:
    """A header that takes any value cannot fill the memory: after fifty slices the rest is one."""
    coverage = Coverage()
    for number in range(500):
        coverage.eligible("desk", "s-1", ("all", f"area={number}", f"user={number}")).answered()
    ((_, _, student),) = coverage
    assert len(student.slices) == MAX_SLICES + 1
    assert student.slices["all"].eligible == 500
    wholly_listed = sum(1 for name in student.slices if name.startswith("user="))
    assert student.slices[OTHER].eligible == student.slices[OTHER].answered == 500 - wholly_listed


def test_coverage_by_slice_in_front_of_a_real_gateway(teacher_url: str, tmp_path: Path) -> None:
    """Answered, refused, unread and unsampled exchanges: each eligible one is answered or skipped for its reason,
    in the slices it belongs to, in /metrics and in the report for the status document."""
    with ExitStack() as stack:
        control = open_control_file(tmp_path)
        stack.callback(control.dispose)
        tiny = tiny_artifact(tmp_path, CLASSES, task="desk")
        register(control, tiny, task="desk", stage=Stage.SHADOW)
        student = WireStudent()
        stack.enter_context(student_at(socket_path(tmp_path), student))
        process = stack.enter_context(gateway(tmp_path, teacher_url))
        wait_until(lambda: process.metrics().get('stillgate_stage_revision{task="desk"}') == 1)
        for _ in range(4):
            process.predict("billing", x_area="north")
        wait_until(lambda: counts(process.metrics()).get("area=north") == (4, 4))
        student.say = refuse
        process.predict("billing", x_area="south")
        process.ask("POST", "/predict", b'{"inputs":[]}', x_area="south")
        wait_until(lambda: counts(process.metrics()).get("area=south") == (2, 0))
        assert counts(process.metrics())["all"] == (6, 4)
        dropped = 'stillgate_shadow_dropped_total{reason="%s"}'
        wait_until(lambda: process.metrics().get(dropped % ShadowDrop.NOT_LOADED) == 1)
        assert process.metrics()[dropped % ShadowDrop.UNPARSED] == 1
        assert process.stop() == 0, process.log.read_text()
        (report,) = read_coverage(tmp_path)
        (entry,) = report["students"]
        assert (report["gateway"], entry["task"], entry["artifact"]) == ("g0", "desk", tiny.artifact)
        assert entry["slices"]["all"] == [6, 4]
        assert entry["skipped"] == {"not_loaded": 1, "unparsed": 1}


def test_a_sampled_shadow(teacher_url: str, tmp_path: Path) -> None:
    """At a share of a half some exchanges are answered, with that probability beside the answer, and the others
    are counted as not sampled; callers notice nothing."""
    with ExitStack() as stack:
        control = open_control_file(tmp_path)
        stack.callback(control.dispose)
        tiny = tiny_artifact(tmp_path, CLASSES, task="desk")
        register(control, tiny, task="desk", stage=Stage.SHADOW)
        stack.enter_context(student_at(socket_path(tmp_path), WireStudent()))
        process = stack.enter_context(gateway(tmp_path, teacher_url, shadow_share=0.5))
        assert [process.predict("billing").status for _ in range(40)] == [200] * 40
        name = 'stillgate_shadow_dropped_total{reason="not_sampled"}'
        wait_until(lambda: sum(counts(process.metrics()).get("all", (0, 0))) > 40)
        process.settled()
        skipped = process.metrics()[name]
        wait_until(lambda: counts(process.metrics())["all"] == (40, 40 - skipped))
        assert 0 < skipped < 40
        wait_until(lambda: process.metrics()["stillgate_shadow_answers_total"] == 40 - skipped)
        answers = [
            answer for exchange in process.exchanges() for answer in process.answers(exchange.sequence)
        ]
        assert {answer.inclusion for answer in answers} == {0.5}
