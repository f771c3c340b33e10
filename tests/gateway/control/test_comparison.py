"""The comparison of two students over the admin API."""

from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from tests.gateway.control.desk import TASK, Desk
from tests.ledger.builders import build_answer, build_exchange


def test_the_pairs_of_two_students_are_counted(desk: Desk) -> None:
    """Both answered one exchange, and only the new one agreed with the teacher."""
    classes = len(desk.configuration.task[0].classes)
    teacher, other = (
        Observation(tuple(0.7 if place == top else 0.3 / (classes - 1) for place in range(classes)))
        for top in (0, 1)
    )
    file = ExchangeFile(exchange_path(desk.configuration.deployment.data_directory, "g0"))
    answers = [build_answer(0, "old", observations=(other,)), build_answer(0, "new", observations=(teacher,))]
    file.append([build_exchange(0, task=TASK, teacher=(teacher,))], answers)
    file.close()

    response = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/comparison?old=old&new=new")

    assert response.status_code == 200, response.text
    overall = response.json()["slices"][0]
    assert (overall["slice"], overall["inputs"], overall["losses"], overall["gains"]) == ("all", 1, 0, 1)


def test_an_unknown_task_is_said_to_be_unknown(desk: Desk) -> None:
    """A sentence, not a traceback."""
    response = desk.ask("vera", "GET", "/api/v1/tasks/nobody/comparison?old=a&new=b")

    assert response.status_code == 404
    assert "nobody" in response.json()["error"]
