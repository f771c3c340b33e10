"""The state in one word: what makes it healthy, drifting, or unsayable."""

import pytest
from sqlalchemy import text

from tests.gateway.control.desk import raise_alarm
from tests.stillgate.report.stopped import START_US, Stopped, moment, observed, some_traffic


def agreeing(stopped: Stopped, count: int = 300, share: float = 1.0) -> str:
    """A student that agrees with its teacher on that share of the inputs."""
    artifact = stopped.add_student()
    rows = []
    for place, (exchange, answer) in enumerate(some_traffic(count, artifact)):
        top = exchange.teacher[0].top
        student = top if place < share * count else 1 - top
        rows.append((exchange, answer._replace(observations=(observed(student, 0.9),))))
    stopped.write(rows)
    stopped.tick()
    return artifact


def test_a_proven_bar_without_alarms_is_healthy(stopped: Stopped) -> None:
    """It says the fidelity, the bar, and what it rests on."""
    agreeing(stopped)
    state = stopped.document()["state"]
    assert state["health"] == "healthy"
    assert "100.0 %" in state["why"]
    assert state["basis"].startswith("Based on 100.0 % of eligible traffic (300 of 300 requests)")


def test_an_alarm_is_drift_whatever_the_average_says(stopped: Stopped) -> None:
    """The alarm is named with its slice."""
    number = raise_alarm(stopped.engine, agreeing(stopped), "area=new")
    state = stopped.document()["state"]
    assert state["health"] == "drifting"
    assert f"on area=new: alarm {number}, 2023-" in state["why"]


def test_an_alarm_of_another_time_or_student_is_none_of_this_one(stopped: Stopped) -> None:
    """What fired before the time of the report is not in it."""
    raise_alarm(stopped.engine, agreeing(stopped), "area=new")  # in 2023
    raise_alarm(stopped.engine, "s-another", "area=new")
    assert stopped.document("--since", "2h")["state"]["health"] == "healthy"


def test_a_refuted_bar_is_drift_too(stopped: Stopped) -> None:
    """Half of the answers agree, and the bar is 80 %; the alarm came after the time of the report."""
    agreeing(stopped, share=0.5)
    state = stopped.document("--to", moment(START_US + 3_000_000_000))["state"]
    assert (state["health"], "is below the bar 0.800" in state["why"]) == ("drifting", True)


def test_few_pairs_prove_nothing(stopped: Stopped) -> None:
    """Neither health nor drift."""
    agreeing(stopped, count=20)
    state = stopped.document()["state"]
    assert (state["health"], "not proven yet" in state["why"]) == ("cannot say", True)


def test_answers_that_nobody_folded_make_it_unsayable(stopped: Stopped) -> None:
    """The monitor stopped: the newest answers could say anything."""
    artifact = agreeing(stopped)
    stopped.write(some_traffic(100, artifact, first=1000))
    document = stopped.document()
    assert document["state"]["health"] == "cannot say"
    assert document["coverage"]["unfolded_answers"] == 100
    assert document["coverage"]["unfolded_share"] == 0.25
    assert any("100 answers" in problem for problem in document["problems"])
    assert stopped.document("--to", moment(START_US + 300_000_000))["state"]["health"] == "healthy"


def test_traffic_that_was_hardly_compared_makes_it_unsayable(stopped: Stopped) -> None:
    """The student did not answer most of what it had to."""
    artifact = agreeing(stopped)
    stopped.write([(exchange, None) for exchange, _ in some_traffic(400, artifact, first=1000)])
    state = stopped.document()["state"]
    assert (state["health"], "no answer" in state["why"]) == ("cannot say", True)


def test_an_alarm_that_does_not_follow_from_its_receipt_is_told(stopped: Stopped) -> None:
    """Somebody changed the receipt: the page says so before anything else."""
    artifact = stopped.add_student()
    rows = some_traffic(600, artifact)
    wrong = [(observed(1 - exchange.teacher[0].top, 0.9),) for exchange, _ in rows]
    stopped.write(
        [(row[0], row[1]._replace(observations=other)) for row, other in zip(rows, wrong, strict=True)]
    )
    stopped.tick()
    assert stopped.document()["alarms"][0]["replay"]["replayed"]["log_wealth"] > 0
    assert not stopped.document()["problems"]
    with stopped.engine.begin() as connection:
        connection.execute(text("UPDATE alarm SET receipt = json_set(receipt, '$.log_wealth', 99.5)"))
    assert any("does not follow from its receipt" in problem for problem in stopped.document()["problems"])


LONG_AGO = ("--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z")


@pytest.mark.parametrize("arguments", [("--since", "1s"), LONG_AGO])
def test_a_time_without_pairs_is_said(stopped: Stopped, arguments: tuple[str, ...]) -> None:
    """Nothing is extrapolated from before or after."""
    agreeing(stopped)
    document = stopped.document(*arguments)
    assert (document["state"]["health"], document["slices"], document["windows"]["count"]) == (
        "cannot say",
        [],
        0,
    )
    assert "no pairs" in document["state"]["why"]
