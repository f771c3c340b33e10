"""What an alarm says moved: each cause alone, in a real tick over a real record, and nothing where nothing did."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile
from ledger.heartbeats import leave_heartbeat
from ledger.observation import Observation, ObservationError
from ledger.spots import BANDS, spot_of
from ledger.tables import AlarmRow, AuditRow
from monitor.cycle import run_cycle
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import A, B, add_student, build_configuration

TICK_US = 10_000_000
QUIET, CHANGED = range(10), range(10, 20)  # ticks
A_TICK = 80  # exchanges
GOOD = {"all": (600, 570), "area=a": (300, 285), "area=z": (300, 285)}
FAILED = Observation(None, ObservationError.STUDENT_FAILED)

Shape = Callable[[int], dict[str, Any]]  # sequence -> what of exchange and answer differs from the quiet ones


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return build_configuration(tmp_path)


def quiet(sequence: int) -> dict[str, Any]:
    """Every tenth pair disagrees less often than the null allows; lengths and classes go round."""
    teacher = B if sequence % 4 == 0 else A
    return {
        "teacher": (teacher,),
        "student": (teacher,),
        "input_words": (5 + sequence % 7,),
        "attributes": {"x-area": "az"[sequence % 2]},
    }


def decayed(sequence: int) -> dict[str, Any]:
    """The same inputs; the student answers as before, and its teacher otherwise as often in both directions."""
    shape = quiet(sequence)
    flips = sequence % 8 in (0, 1, 5) and (sequence // 8) % 2 == 0
    flips = flips or sequence % 16 == 12
    return shape | {"teacher": (A if shape["teacher"] == (B,) else B,)} if flips else shape


def drive(
    engine: Engine,
    file: ExchangeFile,
    configuration: Configuration,
    artifact: str,
    ticks: range,
    shape: Shape,
    until: Collection[str] = (),
) -> None:
    """Tick by tick, up to the one in which the last of these slices has alarmed."""
    alarmed: set[str] = set()
    for number in ticks:
        exchanges, answers = [], []
        for sequence in range(number * A_TICK, (number + 1) * A_TICK):
            changes = shape(sequence)
            student = changes.pop("student")
            started = {"started_at_us": number * TICK_US + sequence % A_TICK}
            exchanges.append(build_exchange(sequence, **(started | changes)))
            if student:
                answers.append(build_answer(sequence, artifact, observations=student))
        file.append(exchanges, answers)
        report = run_cycle(engine, configuration, number * TICK_US)
        alarmed |= {alarm.slice for alarm in report.alarms}
        if until and alarmed >= set(until):
            return


def first_alarm(engine: Engine, slice_name: str = "all") -> AlarmRow:
    with Session(engine) as session:
        found = session.exec(
            select(AlarmRow).where(AlarmRow.slice == slice_name).order_by(col(AlarmRow.id))
        ).first()
    assert found is not None
    return found


def cause_after(
    engine: Engine,
    file: ExchangeFile,
    directory: Path,
    shape: Shape,
    between: Callable[[str], None] = lambda artifact: None,
    configuration: Configuration | None = None,
    until: Collection[str] = ("all",),
) -> dict[str, Any]:
    """The cause of the overall slice's first alarm when quiet traffic turns into this."""
    configuration = configuration or build_configuration(directory)
    artifact = add_student(engine, directory, GOOD).artifact
    between(artifact)
    drive(engine, file, configuration, artifact, QUIET, quiet)
    between(artifact)
    drive(engine, file, configuration, artifact, CHANGED, shape, until)
    cause = first_alarm(engine).cause
    assert cause is not None
    return cause


def finding(cause: dict[str, Any], source: str) -> dict[str, Any]:
    return next(one for one in cause["findings"] if one["source"] == source)


def outcomes(cause: dict[str, Any]) -> dict[str, str]:
    return {one["source"]: one["outcome"] for one in cause["findings"]}


def test_a_student_that_decays_on_the_same_input_is_unattributed(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Nothing that is looked at moved, and the summary says so in honest words."""
    cause = cause_after(engine, exchanges, tmp_path, decayed)

    assert outcomes(cause) == {"teacher": "still", "student": "unknown", "serving": "still", "input": "still"}
    assert cause["moved"] == []
    assert cause["summary"].startswith("unattributed: ")
    assert cause["summary"].endswith("too little was there to look at: student")
    assert "no share can have moved by more than" in finding(cause, "input")["sentence"]


def test_longer_inputs_that_the_student_fails_are_the_input(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Length comes first, with how far it moved at least, and the student's own answers bear it out."""

    def longer(sequence: int) -> dict[str, Any]:
        long = {"input_words": (60,)} if sequence % 2 else {}
        return quiet(sequence) | long | ({"student": (B,)} if sequence % 4 == 1 else {})

    cause = cause_after(engine, exchanges, tmp_path, longer)

    first = finding(cause, "input")["evidence"]["before"][0]
    assert cause["moved"] == ["serving", "input"]  # 60 words are more than the 8 tokens that it reads
    assert (first["feature"], first["place"], first["moved"]) == ("length", "fewer than 16 words", True)
    assert first["movement"]["share_now"] == pytest.approx(0.5, abs=0.1)
    assert 0 < first["movement"]["least"] < 0.5 < first["movement"]["most"]
    assert "longer than the student reads" in finding(cause, "serving")["sentence"]


def test_another_mix_of_callers_is_the_input(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """One area floods the rest; its rule is named with the slice that grew."""

    def flooded(sequence: int) -> dict[str, Any]:
        area = "a" if sequence % 10 == 0 else "z"
        wrong = {"student": (B,), "teacher": (A,)} if sequence % 3 == 0 else {}
        return quiet(sequence) | {"attributes": {"x-area": area}} | wrong

    cause = cause_after(engine, exchanges, tmp_path, flooded)

    moved = [one for one in finding(cause, "input")["evidence"]["before"] if one["moved"]]
    assert "area" in {one["feature"] for one in moved}
    place = next(one["place"] for one in moved if one["feature"] == "area")
    assert place in ("area=a", "area=z")
    assert "input" in cause["moved"]


def test_texts_of_another_kind_are_the_input(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """Lengths, classes and callers stay; where the texts lie in the student's embedding tells."""

    def placed(sequence: int, region: int, band: int) -> dict[str, Any]:
        shape = quiet(sequence) if sequence < CHANGED.start * A_TICK else decayed(sequence)
        (student,) = shape["student"]
        return shape | {"student": (student._replace(spot=spot_of(region, band)),)}

    artifact = add_student(engine, tmp_path, GOOD).artifact
    configuration = build_configuration(tmp_path)
    drive(engine, exchanges, configuration, artifact, QUIET, lambda n: placed(n, n % 3, n % 5))
    drive(
        engine,
        exchanges,
        configuration,
        artifact,
        CHANGED,
        lambda n: placed(n, 9 if n % 2 else n % 3, BANDS - 1 if n % 2 else n % 5),
        ["all"],
    )

    cause = first_alarm(engine).cause
    assert cause is not None
    moved = {one["feature"]: one for one in finding(cause, "input")["evidence"]["before"] if one["moved"]}
    assert cause["moved"] == ["input"]
    assert set(moved) == {"embedding_region", "embedding_distance"}
    assert moved["embedding_region"]["place"] == "region 9"
    assert moved["embedding_region"]["movement"]["share_now"] == pytest.approx(0.5, abs=0.1)
    assert "embedding distance, within what holds" in cause["summary"]


def test_another_teacher_version_is_the_teacher(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """With both versions and when the new one began."""

    cause = cause_after(
        engine, exchanges, tmp_path, lambda sequence: decayed(sequence) | {"teacher_epoch": "2026-06"}
    )

    teacher = finding(cause, "teacher")
    assert cause["moved"] == ["teacher"]
    assert teacher["evidence"]["after"]["2026-06"]["first_us"] == CHANGED.start * TICK_US
    assert teacher["sentence"].startswith("the teacher changed: version 2026-06 answers since ")
    assert teacher["sentence"].endswith("before it version 1")


def test_a_teacher_that_answers_otherwise_under_the_same_version(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Its classes move while the student, a fixed function, shows that the input did not."""

    def biased(sequence: int) -> dict[str, Any]:
        return quiet(sequence) | ({"teacher": (B,)} if sequence % 4 in (1, 2) else {})

    cause = cause_after(engine, exchanges, tmp_path, biased)

    assert cause["moved"] == ["teacher"]
    assert "the teacher answers otherwise, though nothing of the input moved" in cause["summary"]
    assert "teacher classes, class b" in cause["summary"] or "teacher classes, class a" in cause["summary"]


def test_another_runtime_is_the_student(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """What its process reports is noted by the tick, with the moment of the change; its answers prove no input."""
    versions = iter(("1.22.0", "1.23.0"))

    def runs(artifact: str) -> None:
        providers = {artifact: ["CPUExecutionProvider"]}
        with transaction(engine) as session:
            leave_heartbeat(session, "student", {"onnxruntime": next(versions), "providers": providers})

    def otherwise(sequence: int) -> dict[str, Any]:
        return quiet(sequence) | ({"student": (B,)} if sequence % 4 in (1, 2) else {})

    cause = cause_after(engine, exchanges, tmp_path, otherwise, runs)

    student = finding(cause, "student")
    assert cause["moved"] == ["student"]
    assert [one["onnxruntime"] for one in student["evidence"]["runtimes"]] == ["1.22.0", "1.23.0"]
    assert student["evidence"]["runtimes"][1]["since_us"] == CHANGED.start * TICK_US
    assert "on onnxruntime 1.22.0 with CPUExecutionProvider before" in student["sentence"]


def test_failures_and_time_outs_are_serving(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """Shares before and after, only of what rose; what was there before is not told."""

    def failing(sequence: int) -> dict[str, Any]:
        if sequence % 5 == 0:
            return quiet(sequence) | {"student": (FAILED,)}
        if sequence % 5 == 1:
            return quiet(sequence) | {"student": (), "teacher": (), "outcome": "upstream_timeout"}
        return decayed(sequence)

    cause = cause_after(engine, exchanges, tmp_path, failing)

    rose = {one["reason"]: one for one in finding(cause, "serving")["evidence"]["troubles"] if one["rose"]}
    assert "serving" in cause["moved"]
    assert set(rose) == {"student_student_failed", "upstream_timeout"}
    failed = rose["student_student_failed"]
    assert failed["then"] <= 1  # the change is dated by the first pair of its tick
    assert QUIET.stop * A_TICK <= failed["of_then"] <= QUIET.stop * A_TICK + 2
    assert failed["now"] / failed["of_now"] == pytest.approx(0.2, abs=0.02)
    assert 0 < failed["least"] < 0.2 < failed["most"]


def test_repeats_of_one_input_move_nothing(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """A client that sends one long text again and again is one input, however often."""

    def repeating(sequence: int) -> dict[str, Any]:
        if sequence % 2:
            return quiet(sequence) | {"input_words": (200,), "input_digests": ("f" * 32,)}
        return quiet(sequence) | {"student": (A,), "teacher": (B,)} if sequence % 3 else quiet(sequence)

    cause = cause_after(engine, exchanges, tmp_path, repeating)

    lengths = [one for one in finding(cause, "input")["evidence"]["before"] if one["feature"] == "length"]
    assert [one["moved"] for one in lengths] == [False]


def test_the_cause_is_beside_the_receipt_and_in_the_audit_log(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """The webhook's event gets the summary; the receipt has nothing of it."""
    cause = cause_after(engine, exchanges, tmp_path, decayed)

    alarm = first_alarm(engine)
    with Session(engine) as session:
        row = session.exec(select(AuditRow).where(AuditRow.action == "alarm_raised")).first()
    assert row is not None
    assert row.details["cause"] == {"summary": cause["summary"], "moved": []}
    assert "cause" not in alarm.receipt
    assert cause["change_us"] == alarm.receipt["change_us"]


def test_a_student_that_was_bad_from_the_start_is_held_against_its_gate(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Nothing lies before the change, so serving cannot be compared; without a reference the input cannot either."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, CHANGED, decayed, ["all"])

    cause = first_alarm(engine).cause
    assert cause is not None
    assert outcomes(cause) == {
        "teacher": "still",
        "student": "unknown",
        "serving": "unknown",
        "input": "unknown",
    }
    assert "the gate saw too few rows of the slice" in finding(cause, "input")["sentence"]


def test_a_record_that_was_damaged_keeps_no_alarm_back(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, configuration: Configuration
) -> None:
    """Rows that were folded and cannot be read any more cost the cause, nothing else."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    drive(engine, exchanges, configuration, artifact, QUIET, quiet)
    with exchanges.transaction() as connection:
        connection.execute("UPDATE exchange SET attributes = '{' WHERE sequence > 700")
    drive(engine, exchanges, configuration, artifact, CHANGED, decayed, ["all"])

    cause = first_alarm(engine).cause
    assert cause is not None
    assert cause["summary"].startswith("not looked into: JSONDecodeError while the record was read")
    assert (cause["findings"], cause["moved"], cause["window"]) == ([], [], None)


def test_the_training_window_says_whether_it_suffices(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Distinct rows of the slice since the change, and when there will be enough."""
    gate = {"train_rows": 50, "rows": 30, "slice_rows": 200}
    sized = build_configuration(tmp_path, gate=gate)
    cause = cause_after(engine, exchanges, tmp_path, decayed, configuration=sized, until=["all", "area=z"])
    of_area = first_alarm(engine, "area=z").cause
    assert of_area is not None

    alarm, window = first_alarm(engine), cause["window"]
    assert (window["since_us"], window["until_us"]) == tuple(alarm.receipt["training_window_us"])
    assert (window["wanted"], window["suffices"], window["enough_at_us"]) == (80, True, None)
    assert window["rows"] >= 80
    small = of_area["window"]
    assert (small["wanted"], small["suffices"]) == (667, False)
    assert small["rows"] < 667
    assert small["enough_at_us"] > small["until_us"]
    assert small["sentence"].endswith("so it does not suffice yet")


def test_without_texts_nothing_can_be_trained_on(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """The cause is found all the same: it needs lengths, classes and digests alone."""
    silent = build_configuration(tmp_path, capture={"inputs": "nothing"})

    cause = cause_after(engine, exchanges, tmp_path, decayed, configuration=silent)

    assert (cause["window"]["rows"], cause["window"]["suffices"]) == (0, False)
    assert "no texts are stored" in cause["window"]["sentence"]
    assert outcomes(cause)["input"] == "still"
