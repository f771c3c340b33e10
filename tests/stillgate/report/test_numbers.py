"""The numbers of a report equal those of an independent count over the same exchanges."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.certificates import VoidCause, certified_rows
from ledger.control_file import transaction
from ledger.exchange import TEACHER, Answer, Exchange, Origin, Outcome, ServedBy, Unpaired
from ledger.stages import Stage
from monitor.criteria import Criterion
from monitor.intervals import confidence_sequence
from monitor.reports import merged_sums
from monitor.statistics import statistics_of
from tests.artifacts import set_stage
from tests.gateway.control.desk import CLASSES, TASK
from tests.ledger.builders import build_answer
from tests.stillgate.report.stopped import SECOND_US, START_US, Stopped, moment, some_traffic

Rows = list[tuple[Exchange, Answer]]


def of_area(rows: Rows, area: str | None) -> Rows:
    return [row for row in rows if area is None or row[0].attributes["x-area"] == area]


def agreements(rows: Rows) -> int:
    return sum(exchange.teacher[0].top == answer.observations[0].top for exchange, answer in rows)


def line_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    (line,) = (line for line in document["slices"] if line["report"]["slice"] == name)
    found: dict[str, Any] = line
    return found


@pytest.fixture
def rows(stopped: Stopped) -> Rows:
    """Folded traffic of one student, 400 exchanges in 400 seconds."""
    rows = some_traffic(400, stopped.add_student())
    stopped.write(rows)
    stopped.tick()
    return rows


@pytest.mark.parametrize(("name", "area"), [("all", None), ("area=old", "old"), ("area=new", "new")])
def test_a_slice_is_what_its_exchanges_say(stopped: Stopped, rows: Rows, name: str, area: str | None) -> None:
    """Pairs, fidelity with its interval, reliability bins and the risk of every threshold."""
    own = of_area(rows, area)
    document = stopped.document()
    line = line_of(document, name)["report"]
    assert (line["pairs"], line["agreements"]) == (len(own), agreements(own))
    assert (line["fidelity_low"], line["fidelity_high"]) == confidence_sequence(
        agreements(own), len(own), 0.05
    )
    (curves,) = (curves for curves in document["curves"] if curves["slice"] == name)
    for one in curves["reliability"]:
        inside = [row for row in own if one["low"] <= row[1].observations[0].confidence < one["high"]]
        assert (one["count"], one["right_share"]) == (len(inside), agreements(inside) / len(inside))
        assert one["band_low"] <= one["mean_confidence"] <= one["band_high"]
    for point in curves["risk_coverage"]:
        accepted = [row for row in own if row[1].observations[0].confidence >= point["threshold"]]
        assert point["accepted"] == len(accepted)
        assert point["disagreements"] == len(accepted) - agreements(accepted)


def test_a_part_of_the_time_counts_that_part_alone(stopped: Stopped, rows: Rows) -> None:
    """Sums, pairs in the files and requests of the same whole windows, and what is left of them is said."""
    since, until = START_US + 60 * SECOND_US, START_US + 180 * SECOND_US
    inside = [row for row in rows if since <= row[0].started_at_us < until]
    document = stopped.document("--from", moment(since), "--to", moment(until))
    overall = line_of(document, "all")["report"]
    assert (overall["pairs"], overall["agreements"]) == (len(inside), agreements(inside))
    assert len(inside) == 120
    found = document["disagreements"]
    assert (found["pairs"], found["agreements"]) == (len(inside), agreements(inside))
    assert document["coverage"]["requests"] == document["coverage"]["answered"] == len(inside)
    windows = document["windows"]
    assert (windows["count"], windows["first_start_us"], windows["last_end_us"]) == (20, since, until)


def test_the_course_holds_every_pair_once(stopped: Stopped, rows: Rows) -> None:
    """The bins over time add up to the whole, for all traffic and for a slice."""
    course = stopped.document()["course"]
    for line, own in ((course["overall"][0], rows), (course["slices"][0], of_area(rows, "new"))):
        assert sum(point["pairs"] for point in line["points"]) == len(own)
        assert sum(point["agreements"] for point in line["points"]) == agreements(own)
    assert len(course["overall"][0]["points"]) <= 60


def test_worst_disagreements_are_the_furthest_apart(stopped: Stopped, rows: Rows) -> None:
    """In order, each with both classes, its text and its label; the latest by time; three of each slice."""
    apart = {
        exchange.exchange_id: sum(
            abs(p - q)
            for p, q in zip(
                exchange.teacher[0].probabilities or (),
                answer.observations[0].probabilities or (),
                strict=True,
            )
        )
        / 2
        for exchange, answer in rows
        if exchange.teacher[0].top != answer.observations[0].top
    }
    worst_id = max(apart, key=lambda name: apart[name])
    worst_exchange = next(exchange for exchange, _ in rows if exchange.exchange_id == worst_id)
    stopped.label(worst_exchange, "Business")
    found = stopped.document()["disagreements"]
    assert [one["total_variation"] for one in found["worst"]] == pytest.approx(
        sorted(apart.values(), reverse=True)[:12], abs=1e-9
    )
    first = found["worst"][0]
    assert (first["exchange_id"], first["text"], first["label"]) == (
        worst_id,
        worst_exchange.inputs[0],
        "Business",
    )
    assert first["teacher_probability"] == worst_exchange.teacher[0].confidence
    times = [one["at_us"] for one in found["latest"]]
    assert (
        times
        == sorted((exchange.started_at_us for exchange, _ in rows if exchange.exchange_id in apart))[:-13:-1]
    )
    assert {name: len(some) for name, some in found["by_slice"].items()} == {"area=new": 3, "area=old": 3}


def test_identical_inputs_are_listed_once(stopped: Stopped) -> None:
    """A caller that repeats itself does not fill the list."""
    stopped.write(some_traffic(100, stopped.add_student(), input_digests=("same",)))
    stopped.tick()
    found = stopped.document()["disagreements"]
    assert (found["pairs"], len(found["worst"])) == (100, 1)


def test_coverage_counts_what_was_not_compared(stopped: Stopped) -> None:
    """Of 100 requests, 10 are unreadable, 20 have no answer of the student, 5 never ended: 65 of 85 compared."""
    rows = some_traffic(100, stopped.add_student())
    changed = [
        (row[0]._replace(unpaired=Unpaired.REQUEST_NOT_JSON, teacher=()), None)
        if place < 10
        else (row[0], None)
        if place < 30
        else (row[0]._replace(outcome=Outcome.CLIENT_DISCONNECT, unpaired=Unpaired.INCOMPLETE), row[1])
        if place < 35
        else row
        for place, row in enumerate(rows)
    ]
    stopped.write(changed)
    stopped.tick()
    coverage = stopped.document()["coverage"]
    assert (coverage["requests"], coverage["eligible"], coverage["answered"]) == (100, 85, 65)
    assert coverage["eligible_share"] == 65 / 85
    assert coverage["unpaired"] == {"request_not_json": 10, "incomplete": 5}
    areas = Counter(exchange.attributes["x-area"] for exchange, _ in rows)
    assert line_of(stopped.document(), "area=new")["requests"] == areas["new"]


def test_what_the_student_served_is_counted_and_its_audits_are_compared(stopped: Stopped) -> None:
    """Of 100 requests it served 30, and the teacher was asked afterwards about 10 of those."""
    artifact = stopped.add_student()
    rows, audits = [], []
    for place, (exchange, answer) in enumerate(some_traffic(100, artifact)):
        if place < 30:
            audited = place < 10
            served = {"served_by": ServedBy.STUDENT, "artifact": artifact, "teacher": (), "measured": audited}
            unpaired = None if audited else Unpaired.NOT_ASKED
            rows.append((exchange._replace(**served, unpaired=unpaired), answer))
            if audited:
                audits.append(
                    build_answer(place, TEACHER, origin=Origin.AUDIT, observations=exchange.teacher)
                )
        else:
            rows.append((exchange, answer))
    stopped.write(rows)
    stopped.exchanges.append([], audits)
    stopped.tick()
    document = stopped.document()
    coverage, overall = document["coverage"], line_of(document, "all")
    assert (coverage["served_by"], overall["served_share"]) == ({"teacher": 70, "student": 30}, 0.3)
    assert coverage["eligible"] == coverage["answered"] == overall["report"]["pairs"] == 80
    assert document["disagreements"]["pairs"] == 80
    assert all(one["teacher_probability"] for one in document["disagreements"]["worst"])


def test_lost_requests_count_against_the_coverage(stopped: Stopped) -> None:
    """All that a run of the gateway lost while the time lasted, whatever its task."""
    first = stopped.exchanges.open_block()
    stopped.write(some_traffic(50, stopped.add_student()))
    stopped.exchanges.close_block(first, 60, {"store_failed": 10})
    stopped.tick()
    coverage = stopped.document()["coverage"]
    assert (coverage["lost"], coverage["lost_by_reason"]) == (10, {"store_failed": 10})
    assert coverage["eligible_share"] == 50 / 60


def test_requests_before_its_time_are_not_the_students(stopped: Stopped) -> None:
    """What came after it was retired is not eligible either."""
    artifact = stopped.add_student()
    stopped.write(some_traffic(40, artifact))
    stopped.tick()
    set_stage(stopped.engine, artifact, Stage.ROLLED_BACK)
    later = some_traffic(40, artifact, first=100, spacing_us=120 * SECOND_US)
    stopped.write([(exchange, None) for exchange, _ in later])
    coverage = stopped.document()["coverage"]
    assert (coverage["requests"], coverage["eligible"], coverage["answered"]) == (80, 40, 40)


def test_a_file_that_cannot_be_read_is_told_and_left_out(stopped: Stopped, rows: Rows) -> None:
    """The rest of the report stands."""
    Path(stopped.directory / "exchanges" / "g1.sqlite").write_bytes(b"this is no database" * 100)
    document = stopped.document()
    assert document["coverage"]["requests"] == len(rows)
    assert any("g1.sqlite cannot be read" in problem for problem in document["problems"])
    assert any("what g1.sqlite lost cannot be counted" in problem for problem in document["problems"])


def test_the_statistics_of_a_slice_are_those_of_the_api(stopped: Stopped, rows: Rows) -> None:
    """The slices that the page shows carry every statistic, from the same sums and the same code."""
    document = stopped.document()
    artifact = document["student"]
    with transaction(stopped.engine) as session:
        sums = merged_sums(session, TASK, artifact)
    for name in ("all", "area=new"):
        found = line_of(document, name)["statistics"]
        assert found == orjson.loads(orjson.dumps(statistics_of(sums[name], None, len(CLASSES))))
    page = stopped.page()
    error = line_of(document, "all")["statistics"]["calibration"]
    for figure in ("error", "noise", "error_debiased", "error_smooth"):
        assert f"{error[figure]:.3f}" in page


def test_risk_and_coverage_have_bounds_that_hold_at_every_look(stopped: Stopped, rows: Rows) -> None:
    """Of each threshold of the curve, and of what lies above the certified one."""
    document = stopped.document()
    (curves,) = (curves for curves in document["curves"] if curves["slice"] == "all")
    for point in curves["risk_coverage"]:
        bounds = confidence_sequence(point["disagreements"], point["accepted"], 0.05)
        assert (point["risk_low_share"], point["risk_high_share"]) == bounds
    above = line_of(document, "all")["above_threshold"]
    assert (above["low"], above["high"]) == confidence_sequence(above["part"], len(rows), 0.05)


def test_every_criterion_of_every_slice_has_its_line(stopped: Stopped, rows: Rows) -> None:
    """The page tells what is judged and what is not; the document has value, bounds, bar and counts."""
    document = stopped.document()
    for name in ("all", "area=old"):
        criteria = line_of(document, name)["criteria"]
        assert [one["criterion"] for one in criteria] == list(Criterion)
        assert criteria[0]["count"] == line_of(document, name)["report"]["pairs"]
    assert "not judged: verdict.max_regret is not set" in stopped.page()


def test_a_voided_threshold_is_not_shown_as_one_that_serves(stopped: Stopped, rows: Rows) -> None:
    """The report says from where the student may serve now, as the status does."""
    artifact = stopped.document()["student"]
    assert line_of(stopped.document(), "all")["threshold"] == 0.6
    with transaction(stopped.engine) as session:
        for row in certified_rows(session, TASK, artifact):
            row.cause, row.reason = VoidCause.AUDIT, "9 of 30 disagreed"
    assert line_of(stopped.document(), "all")["threshold"] is None
