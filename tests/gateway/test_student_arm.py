"""Canary and full in front of real callers: who serves, what is recorded, and every way back to the teacher."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine

from ledger.certificates import VoidCause
from ledger.clock import now_us
from ledger.control_file import open_control_file, transaction
from ledger.exchange import TEACHER, Arm, Exchange, Fallback, Origin, ServedBy, Unpaired
from ledger.heartbeats import leave_heartbeat
from ledger.observation import ObservationError
from ledger.slices import OVERALL
from ledger.stages import Stage
from ledger.tables import CertifiedSliceRow
from student.wire import socket_path
from tests.artifacts import TinyArtifact, register, set_stage, tiny_artifact
from tests.gateway.running import Reply, Running, gateway, wait_until
from tests.gateway.students import (
    WireStudent,
    agree,
    doubt,
    keep_silent,
    not_a_number,
    refuse,
    student_at,
)
from tests.gateway.teachers import CLASSES, TeacherApp, entries_of

CERTIFIED = {OVERALL: 0.5, "area=north": 0.8}


class Rollout:
    """A gateway, a teacher, a student on its socket, and one registered artifact."""

    def __init__(self, process: Running, student: WireStudent, control: Engine, tiny: TinyArtifact) -> None:
        self.process, self.student, self.control = process, student, control
        self.tiny, self.artifact = tiny, tiny.artifact

    def set_stage(self, stage: Stage, share: float) -> None:
        """Change the stage and wait until the gateway obeys it."""
        revision = set_stage(self.control, self.artifact, stage, share, task="desk")
        name = 'stillgate_stage_revision{task="desk"}'
        wait_until(lambda: self.process.metrics().get(name) == revision)

    def beat(self) -> None:
        with transaction(self.control) as session:
            leave_heartbeat(session, "monitor", {})

    def predict(self, text: str, **headers: str) -> tuple[Reply, Exchange]:
        """One request and what was recorded of it."""
        reply = self.process.predict(text, **headers)
        self.process.settled()
        return reply, self.process.exchanges()[-1]


def start_rollout(stack: ExitStack, directory: Path, teacher_url: str, **changes: Any) -> Rollout:
    control = open_control_file(directory)
    stack.callback(control.dispose)
    tiny = tiny_artifact(directory, CLASSES, task="desk", thresholds=CERTIFIED)
    register(control, tiny, task="desk", stage=Stage.SHADOW)
    student = WireStudent()
    stack.enter_context(student_at(socket_path(directory), student))
    process = stack.enter_context(gateway(directory, teacher_url, **changes))
    rollout = Rollout(process, student, control, tiny)
    rollout.beat()
    wait_until(lambda: process.metrics()['stillgate_degraded{part="monitor"}'] == 0)
    return rollout


@pytest.fixture(scope="module")
def rollout(teacher_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    """Full, every served answer audited or not by the draw of a half."""
    with ExitStack() as stack:
        started = start_rollout(
            stack, tmp_path_factory.mktemp("rollout"), teacher_url, stale_seconds=600, inline_seconds=1
        )
        started.set_stage(Stage.FULL, 1.0)
        started.predict("billing", x_area="north")  # the teacher is seen to answer one text
        yield started


@pytest.fixture
def full(rollout: Rollout) -> Rollout:
    rollout.student.say = agree
    return rollout


def test_student_serves_in_the_teachers_form(full: Rollout) -> None:
    """A certain answer is served by the student: same form, same content type, our headers beside it."""
    reply, exchange = full.predict("my billing", x_area="north")
    assert orjson.loads(reply.body) == entries_of("my billing")
    assert (reply.status, reply.header("content-type")) == (200, "application/json")
    assert reply.header("x-stillgate-served-by") == "student"
    assert (exchange.served_by, exchange.arm) == (ServedBy.STUDENT, Arm.STUDENT)
    assert (exchange.artifact, exchange.fallback) == (full.artifact, None)
    assert exchange.inclusion == 0.5


def test_inline_answer_is_written_with_its_exchange(full: Rollout) -> None:
    """What the student said in front of the caller is an answer of origin inline, and it is not asked twice."""
    asked = len(full.student.asked)
    for _ in range(3):
        _, exchange = full.predict("my billing")
    (inline,) = [a for a in full.process.answers(exchange.sequence) if a.origin is Origin.INLINE]
    assert (inline.responder, inline.observations[0].probabilities) == (full.artifact, (0.9, 0.05, 0.05))
    assert len(full.student.asked) == asked + 3


def test_form_has_to_be_seen_first(full: Rollout) -> None:
    """A shape of request that this teacher was never seen to answer goes to the teacher once, then not again."""
    body = b'{"inputs":["billing","shipping"]}'
    first = full.process.ask("POST", "/predict", body)
    full.process.settled()
    assert full.process.exchanges()[-1].fallback is Fallback.FORM_UNKNOWN
    second = full.process.ask("POST", "/predict", body)
    assert second.header("x-stillgate-served-by") == "student"
    assert orjson.loads(second.body) == orjson.loads(first.body)


def test_low_confidence_falls_back(full: Rollout) -> None:
    """An uncertain answer is not served; it is kept as an inline answer, and measured only if an audit was drawn."""
    full.student.say = doubt
    reply, exchange = full.predict("billing")
    assert reply.header("x-stillgate-served-by") == "teacher"
    assert (exchange.fallback, exchange.served_by) == (Fallback.LOW_CONFIDENCE, ServedBy.TEACHER)
    assert (exchange.arm, exchange.inclusion) == (Arm.STUDENT, 1.0)
    (answer,) = full.process.answers(exchange.sequence)
    assert (answer.origin, answer.responder) == (Origin.INLINE, full.artifact)


def test_highest_threshold_of_the_slices_applies(full: Rollout) -> None:
    """A text that clears the overall threshold but not its slice's goes to the teacher."""
    certain_enough = "hello"  # 0.5: reaches the overall threshold, not 0.8
    assert full.predict(certain_enough)[0].header("x-stillgate-served-by") == "student"
    assert full.predict(certain_enough, x_area="north")[1].fallback is Fallback.LOW_CONFIDENCE


def test_uncertified_slice_falls_back(full: Rollout) -> None:
    """A slice without a threshold belongs to the teacher, and the student is not even asked in line."""
    _, exchange = full.predict("billing", x_area="south")
    assert exchange.fallback is Fallback.UNCERTIFIED_SLICE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", Fallback.UNPARSED),
        (b'{"inputs":7}', Fallback.UNPARSED),
        (b'{"inputs":"billing","parameters":{"top_k":1}}', Fallback.PARAMETERS),
        (b'{"inputs":"billing %s"}' % (b"x" * 2**20), Fallback.UNPARSED),
    ],
)
def test_what_a_student_cannot_give_falls_back(full: Rollout, body: bytes, reason: Fallback) -> None:
    """Unreadable requests, those larger than what is recorded, and those that ask for something else than a
    distribution are the teacher's."""
    full.process.ask("POST", "/predict", body)
    full.process.settled()
    assert full.process.exchanges()[-1].fallback is reason


def test_nan_falls_back_and_is_kept_as_an_error(full: Rollout) -> None:
    """NaN is never served; the answer that is kept says not finite."""
    full.student.say = not_a_number
    reply, exchange = full.predict("billing")
    assert reply.header("x-stillgate-served-by") == "teacher"
    assert exchange.fallback is Fallback.STUDENT_FAILED
    (answer,) = full.process.answers(exchange.sequence)
    assert [observation.error for observation in answer.observations] == [ObservationError.NOT_FINITE]


def test_refusing_student_falls_back(full: Rollout) -> None:
    """A student that has not loaded the artifact costs the caller nothing."""
    full.student.say = refuse
    assert full.predict("billing")[1].fallback is Fallback.STUDENT_FAILED


def test_silent_student_falls_back_at_the_deadline(full: Rollout) -> None:
    """A student that does not answer in time: the teacher does."""
    full.student.say = keep_silent
    reply, exchange = full.predict("billing")
    assert reply.status == 200
    assert exchange.fallback is Fallback.DEADLINE


def test_audit_is_drawn_before_the_student_answers(full: Rollout, teacher: TeacherApp) -> None:
    """A drawn audit asks the teacher off the path, and its answer is kept; without one the teacher is not asked."""
    exchanges = []
    for _ in range(40):
        exchanges.append(full.predict("my billing")[1])
    measured = [exchange for exchange in exchanges if exchange.measured]
    wait_until(lambda: all(len(full.process.answers(e.sequence)) == 2 for e in measured))
    assert 0 < len(measured) < len(exchanges)
    assert {exchange.unpaired for exchange in measured} == {None}
    assert {e.unpaired for e in exchanges if not e.measured} == {Unpaired.NOT_ASKED}
    answers = {answer.origin: answer for answer in full.process.answers(measured[0].sequence)}
    assert answers[Origin.AUDIT].responder == TEACHER
    assert answers[Origin.AUDIT].observations == answers[Origin.INLINE].observations
    assert all(len(full.process.answers(e.sequence)) == 1 for e in exchanges if not e.measured)


def test_open_inference_reply(full: Rollout) -> None:
    """In Open Inference the student's reply has the teacher's names and echoes the id."""
    tensor = {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["my shipping"]}
    tiny = tiny_artifact(full.process.directory, CLASSES, task="wire", thresholds=CERTIFIED, seed=2)
    register(full.control, tiny, task="wire", stage=Stage.FULL, share=1.0)
    wait_until(lambda: full.process.metrics().get('stillgate_stage_revision{task="wire"}') == 1)
    replies = []
    for number in range(2):
        body = orjson.dumps({"id": f"q{number}", "inputs": [tensor]})
        replies.append(full.process.ask("POST", "/v2/models/desk/infer", body))
        full.process.settled()
    assert [reply.header("x-stillgate-served-by") for reply in replies] == ["teacher", "student"]
    first, second = (orjson.loads(reply.body) for reply in replies)
    assert second == {**first, "id": "q1"}


def test_canary_share_and_sessions(teacher_url: str, tmp_path: Path) -> None:
    """At a share of a half both arms see traffic, a session stays in its arm, and abort ends it at once."""
    with ExitStack() as stack:
        rollout = start_rollout(stack, tmp_path, teacher_url)
        rollout.process.predict("billing")
        rollout.set_stage(Stage.CANARY, 0.5)
        served = [rollout.process.predict("billing").header("x-stillgate-served-by") for _ in range(60)]
        assert set(served) == {"teacher", "student"}
        for session in ("ann", "bob", "cid", "dan"):
            replies = [rollout.process.predict("billing", x_session=session) for _ in range(5)]
            assert len({reply.header("x-stillgate-served-by") for reply in replies}) == 1
        rollout.set_stage(Stage.ROLLED_BACK, 0.0)
        reply, exchange = rollout.predict("billing")
        assert reply.header("x-stillgate-served-by") == "teacher"
        assert (exchange.arm, exchange.stage_revision) == (Arm.CONTROL, 3)


def test_dead_man_rule(teacher_url: str, tmp_path: Path) -> None:
    """Without a sign of life of the monitor the teacher serves everything; with one the student is back."""
    with ExitStack() as stack:
        rollout = start_rollout(stack, tmp_path, teacher_url, stale_seconds=1.5)
        rollout.process.predict("billing")
        rollout.set_stage(Stage.FULL, 1.0)
        stale = 'stillgate_degraded{part="monitor"}'
        wait_until(lambda: rollout.process.metrics()[stale] == 1)
        assert rollout.predict("billing")[1].fallback is Fallback.MONITOR_STALE
        rollout.beat()
        wait_until(lambda: rollout.process.metrics()[stale] == 0)
        assert rollout.process.predict("billing").header("x-stillgate-served-by") == "student"


def test_no_student_process(teacher_url: str, tmp_path: Path) -> None:
    """With nobody on the socket every request gets the teacher's answer, and the loss is counted."""
    with ExitStack() as stack:
        control = open_control_file(tmp_path)
        stack.callback(control.dispose)
        tiny = tiny_artifact(tmp_path, CLASSES, task="desk", thresholds=CERTIFIED)
        register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
        with transaction(control) as session:
            leave_heartbeat(session, "monitor", {})
        process = stack.enter_context(gateway(tmp_path, teacher_url))
        assert process.predict("billing").status == 200
        process.settled()  # from now on the form of the teacher's answers is known
        assert [process.predict("billing").status for _ in range(4)] == [200] * 4
        process.settled()
        fallbacks = [exchange.fallback for exchange in process.exchanges()]
        assert fallbacks[-1] is Fallback.STUDENT_FAILED
        down = 'stillgate_shadow_dropped_total{reason="student_down"}'
        wait_until(lambda: process.metrics().get(down) == 5)


def test_artifact_that_was_tampered_with_serves_nothing(teacher_url: str, tmp_path: Path) -> None:
    """A changed file in the artifact: no threshold counts, the teacher serves, and the gauge says so."""
    with ExitStack() as stack:
        control = open_control_file(tmp_path)
        stack.callback(control.dispose)
        tiny = tiny_artifact(tmp_path, CLASSES, task="desk", thresholds=CERTIFIED)
        (tiny.folder / "tokenizer.json").write_bytes(b"{}")
        register(control, tiny, task="desk", stage=Stage.FULL, share=1.0)
        with transaction(control) as session:
            leave_heartbeat(session, "monitor", {})
        process = stack.enter_context(gateway(tmp_path, teacher_url))
        for _ in range(2):
            assert process.predict("billing").header("x-stillgate-served-by") == "teacher"
            process.settled()
        assert process.exchanges()[-1].fallback is Fallback.UNCERTIFIED_SLICE
        assert process.metrics()['stillgate_degraded{part="certificate"}'] == 1


def test_a_voided_slice_is_served_by_the_teacher(teacher_url: str, tmp_path: Path) -> None:
    """In front of callers and with a reason of its own, while the student goes on where its certificate holds."""
    with ExitStack() as stack:
        rollout = start_rollout(stack, tmp_path, teacher_url, stale_seconds=600, inline_seconds=5)
        rollout.set_stage(Stage.FULL, 1.0)
        rollout.predict("billing", x_area="north")  # the teacher is seen to answer one text
        assert rollout.predict("my billing", x_area="north")[1].served_by is ServedBy.STUDENT
        with transaction(rollout.control) as session:
            session.add(
                CertifiedSliceRow(
                    task="desk",
                    artifact=rollout.artifact,
                    slice="area=north",
                    certified_at_us=now_us(),
                    voided_at_us=now_us(),
                    cause=VoidCause.AUDIT,
                    reason="a test says so",
                    state={},
                )
            )
            leave_heartbeat(session, "monitor", {})
        wait_until(lambda: rollout.predict("my billing", x_area="north")[1].fallback is not None)
        reply, exchange = rollout.predict("my billing", x_area="north")
        assert exchange.fallback is Fallback.CERTIFICATE_VOID
        assert reply.header("x-stillgate-served-by") == "teacher"
        assert rollout.predict("my billing")[1].served_by is ServedBy.STUDENT
        assert rollout.predict("my billing", x_area="south")[1].fallback is Fallback.UNCERTIFIED_SLICE


def test_shadow_answers_follow(teacher_url: str, tmp_path: Path) -> None:
    """In shadow every paired exchange gets the student's answer, one row for each artifact that answers."""
    with ExitStack() as stack:
        rollout = start_rollout(stack, tmp_path, teacher_url)
        second = tiny_artifact(tmp_path, CLASSES, task="desk", thresholds=CERTIFIED, seed=3)
        register(rollout.control, second, task="desk", stage=Stage.SHADOW)
        wait_until(lambda: rollout.process.metrics().get('stillgate_stage_revision{task="desk"}') == 2)
        reply, exchange = rollout.predict("my billing")
        wait_until(lambda: len(rollout.process.answers(exchange.sequence)) == 2)
        answers = rollout.process.answers(exchange.sequence)
        assert reply.header("x-stillgate-served-by") == "teacher"
        assert {answer.responder for answer in answers} == {rollout.artifact, second.artifact}
        assert {answer.origin for answer in answers} == {Origin.SHADOW}
        assert {answer.observations for answer in answers} == {exchange.teacher}
