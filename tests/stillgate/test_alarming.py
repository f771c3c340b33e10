"""Alarms shown and computed again, and the trigger's promise in words."""

import json
from typing import Any

import pytest

from ledger.configuration import TriggerSection
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.harms import Harm
from ledger.observation import Observation
from ledger.tables import AlarmRow, DetectorRow, LabelWatchRow, StudentRow, SumsRow
from monitor.baseline import Null
from monitor.detector import Detector, new_detector, terms_for, update
from monitor.receipt import receipt_of
from monitor.reports import WHOLE_LIFE
from monitor.sums import SliceSums
from monitor.watch import Watched
from tests.gateway.control.desk import TASK, Desk, raise_alarm
from tests.ledger.builders import build_exchange
from tests.stillgate.command import run, run_as

GATE = Null(0.1, "gate", "30 of 600 pairs of the gate disagreed", rate=0.05)
BAR = Null(0.2, "bar", "the gate's bar 0.8 of the overall slice")
HOUR_US = 3_600_000_000


def _alarmed() -> Detector:
    return update(new_detector(terms_for(0.1)), 1.0, (40, 60), at_us=HOUR_US)


def _raise(desk: Desk, student: str, **changes: Any) -> dict[str, Any]:
    receipt = receipt_of(_alarmed(), None, GATE, TriggerSection(), 10.0) | changes
    with transaction(desk.engine) as session:
        session.add(
            AlarmRow(
                task=TASK, slice="all", artifact=student, at_us=1, decision="job_opened", receipt=receipt
            )
        )
    return receipt


def test_an_alarm_is_shown_and_computed_again(desk: Desk, student: str) -> None:
    """The receipt's own counts lead to the same evidence."""
    receipt = _raise(desk, student)

    shown = run_as(desk, "vera", "alarm", "show", "1")

    assert shown.exit_code == 0
    assert "log_wealth, replayed" in shown.stdout
    assert shown.stdout.count(str(receipt["log_wealth"])) == 2
    assert json.loads(run_as(desk, "vera", "alarm", "show", "1", "-o", "json").stdout)["receipt"] == receipt


def test_an_alarm_says_what_moved(desk: Desk, student: str) -> None:
    """Source by source, with the stretch to train a successor on."""
    raise_alarm(desk.engine, student)

    shown = run_as(desk, "vera", "alarm", "show", "1").stdout
    status = run_as(desk, "vera", "status").stdout

    assert "the teacher changed" in shown
    assert "nothing of the input moved" in shown
    assert "suggested training window" in shown
    assert "the teacher changed: version 2" in status


def test_the_words_of_an_alarm_come_from_the_files_alone(desk: Desk, student: str) -> None:
    """Those that moved first, for people and for scripts; an alarm that is not there is a mistake of the caller."""
    raise_alarm(desk.engine, student, "all")
    change_us = 1_700_000_000_000_000
    with transaction(desk.engine) as session:
        registered = session.get_one(StudentRow, student)
        registered.registered_at_us = change_us - 1000
    file = ExchangeFile(exchange_path(desk.data_directory, "g9"))
    for number in range(80):
        changes = {"task": TASK, "inputs": (f"{'a lost parcel' if number < 40 else 'the refund'} {number}",)}
        file.append(
            [
                build_exchange(
                    number,
                    started_at_us=change_us - 40 + number,
                    teacher=(Observation((0.9, 0.1)),),
                    **changes,
                )
            ],
            [],
        )
    file.close()

    shown = run("alarm", "words", "1", "--config", str(desk.path))
    document = json.loads(run("alarm", "words", "1", "-o", "json", "--config", str(desk.path)).stdout)
    unknown = run("alarm", "words", "9", "--config", str(desk.path))

    assert [(one["word"], one["then"], one["now"]) for one in document["words"]] == [
        ("lost", 40, 0),
        ("parcel", 40, 0),
        ("refund", 0, 40),
        ("the", 0, 40),
    ]
    assert "40 of 40" in shown.stdout
    assert (unknown.exit_code, "there is no alarm 9" in unknown.stderr) == (2, True)


def test_an_alarm_with_a_receipt_of_another_release_is_shown_without_replay(desk: Desk, student: str) -> None:
    """An old receipt is still worth reading, and `replay` says that it cannot."""
    raise_alarm(desk.engine, student)

    shown = run_as(desk, "vera", "alarm", "show", "1")
    replayed = run_as(desk, "vera", "alarm", "replay", "1")

    assert (shown.exit_code, "replayed" in shown.stdout) == (0, False)
    assert run_as(desk, "vera", "alarm", "show", "2").exit_code == 2
    assert (replayed.exit_code, "the release that wrote it" in replayed.stderr) == (1, True)


def test_a_replay_says_same_and_exits_0(desk: Desk, student: str) -> None:
    """For people and for scripts."""
    receipt = _raise(desk, student)

    replayed = run_as(desk, "vera", "alarm", "replay", "1")
    document = json.loads(run_as(desk, "vera", "alarm", "replay", "1", "-o", "json").stdout)

    assert (replayed.exit_code, "alarm 1: same" in replayed.stdout) == (0, True)
    assert document["same"] is True
    assert document["found"] == document["replayed"]
    assert document["replayed"]["log_wealth"] == receipt["log_wealth"]


@pytest.mark.parametrize(
    "changes",
    [
        {"log_wealth": 12.5},  # another wealth than the counts lead to
        {"change_us": 0},
        {"false_alarms": 0.001, "log_threshold": 19.37},  # a budget within which this was no alarm
        {"ticks": [[1.0, HOUR_US, 41, 59]]},
    ],
)
def test_a_replay_of_an_altered_receipt_differs_and_exits_1(
    desk: Desk, student: str, changes: dict[str, Any]
) -> None:
    """Whatever was changed: counts, outcome or budget."""
    _raise(desk, student, **changes)

    replayed = run_as(desk, "vera", "alarm", "replay", "1")

    assert (replayed.exit_code, "alarm 1: differs" in replayed.stdout) == (1, True)


def test_the_budget_is_explained_before_there_is_a_student(desk: Desk) -> None:
    """What A is, and that nothing is watched yet."""
    explained = run(*_explain(desk))

    assert explained.exit_code == 0
    for said in (f"task {TASK}: at most 1 false alarm expected in 30 days", "A = 5,184,000 / 1 = 5,184,000"):
        assert said in explained.stdout
    assert "No student answers yet" in explained.stdout
    assert run(*_explain(desk, "nix")).exit_code == 2


def test_nulls_and_delays_are_explained_slice_by_slice(desk: Desk, student: str) -> None:
    """From the gate's rate or the live one; hours at the traffic so far; what the tolerance hides is said."""
    _watch(desk, student, "all", GATE, pairs=7200, disagreements=360)
    _watch(desk, student, "area=us", BAR, pairs=0, disagreements=0)

    explained = run(*_explain(desk, TASK))
    task = json.loads(run(*_explain(desk, TASK, "-o", "json")).stdout)[0]
    overall, area = task["slices"]

    assert explained.exit_code == 0
    for said in ("30 of 600 pairs of the gate disagreed", "never", "+20 points", "2 detectors watch"):
        assert said in explained.stdout
    assert (overall["slice"], overall["rate"], overall["rate_source"]) == ("all", 0.05, "gate")
    assert overall["pairs_an_hour"] == pytest.approx(3600)
    requests = [delay["requests"] for delay in overall["delays"]]
    assert requests[:2] == [None, None]  # 7 % and 10 % lie within the null of 10 %
    assert requests[2] > requests[3] > 0
    assert overall["delays"][3]["hours"] == pytest.approx(requests[3] / 3600)
    assert (area["rate"], area["rate_source"], area["pairs_an_hour"]) == (0.2, "null", None)
    assert area["delays"][3]["hours"] is None


def test_every_harm_is_explained_and_so_are_labels_that_are_too_few(desk: Desk, student: str) -> None:
    """A table for each harm of each student, and how many slices still learn what is normal."""
    labels = Null(0.12, "labels", "9 of the first 200 labels", rate=0.045)
    _watch(desk, student, "all", GATE, pairs=7200, disagreements=360)
    _watch(desk, student, "all", labels, pairs=0, disagreements=0, harm=Harm.REGRET)
    with transaction(desk.engine) as session:
        state = {"learnt": [2**20 * 7, 2**20 * 7, 0], "before": [0, 0, 0], "flows": []}
        session.add(LabelWatchRow(task=TASK, artifact=student, slice="area=us", state=state))

    explained = run(*_explain(desk, TASK))
    task = json.loads(run(*_explain(desk, TASK, "-o", "json")).stdout)[0]

    assert explained.exit_code == 0
    for said in ("disagreement with the teacher", "the teacher alone is right", "by its first labels"):
        assert said in explained.stdout
    assert "1 slices have fewer than 200 labels" in explained.stdout
    assert [line["harm"] for line in task["slices"]] == ["disagreement", "regret"]
    assert task["learning"] == [{"artifact": student, "slice": "area=us", "labels": 7.0}]


def test_a_refused_alarm_is_shown_with_its_reason_and_degrades_nothing(desk: Desk, student: str) -> None:
    """In the status and beside the alarm; the student has not drifted because of it."""
    why = "labels came for 50.0% of the slice's pairs before, and for 5.0% since"
    receipt = receipt_of(_alarmed(), None, GATE, TriggerSection(), 10.0) | {"decision_reason": why}
    with transaction(desk.engine) as session:
        session.add(
            AlarmRow(
                task=TASK,
                slice="all",
                artifact=student,
                at_us=1,
                harm="regret",
                decision="labels_moved",
                receipt=receipt,
            )
        )

    status = run_as(desk, "vera", "status").stdout
    shown = run_as(desk, "vera", "alarm", "show", "1").stdout

    assert "refused: labels came for 50.0%" in " ".join(status.split())
    assert "has drifted" not in status
    assert "regret in slice all" in " ".join(shown.split())
    assert why in " ".join(shown.split())


def _explain(desk: Desk, *arguments: str) -> list[str]:
    return ["trigger", "explain", *arguments, "--config", str(desk.path)]


def _watch(
    desk: Desk,
    student: str,
    slice_name: str,
    null: Null,
    pairs: int,
    disagreements: int,
    harm: Harm = Harm.DISAGREEMENT,
) -> None:
    """A detector, and two hours of pairs."""
    sums = SliceSums(pairs=pairs, agreements=pairs - disagreements).to_json()
    watched = Watched(null, new_detector(terms_for(null.m0)))
    with transaction(desk.engine) as session:
        names = {"task": TASK, "artifact": student, "slice": slice_name}
        session.add(DetectorRow(**names, harm=harm, state=watched.plain()))
        for start in (WHOLE_LIFE, 0, 2 * HOUR_US - 6_000_000) if pairs else ():
            session.merge(
                SumsRow(task=TASK, artifact=student, slice=slice_name, window_start_us=start, sums=sums)
            )
