"""The preview over the real admin API: whose pairs, since when, and under which certificate."""

import time
from typing import Any

from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.tables import SumsRow
from monitor.sums import SliceSums
from tests.gateway.control.desk import TASK, Desk, void

PATH = f"/api/v1/tasks/{TASK}/preview"
HOUR_US = 3_600_000_000
NOW_US = int(time.time() * 1_000_000)


def give_window(desk: Desk, artifact: str, start_us: int, by_slice: dict[str, int]) -> None:
    """One window with pairs at confidence 0.5 that all differ, and as many at 0.9 of which one does."""
    with transaction(desk.engine) as session:
        for name, pairs in by_slice.items():
            sums = SliceSums(
                pairs=2 * pairs,
                agreements=pairs - 1,
                coverage_pairs=((50, pairs), (90, pairs)),
                coverage_disagreements=((50, pairs), (90, 1)),
            )
            session.add(
                SumsRow(
                    task=TASK, artifact=artifact, slice=name, window_start_us=start_us, sums=sums.to_json()
                )
            )


def ask(desk: Desk, query: str = "", person: str = "vera") -> dict[str, Any]:
    answered = desk.ask(person, "GET", f"{PATH}?{query}")
    assert answered.status_code == 200, answered.text
    document: dict[str, Any] = answered.json()
    return document


def test_it_is_about_the_windows_since_then(desk: Desk, student: str) -> None:
    """Older windows, and the sums over the whole life, are left out."""
    give_window(desk, student, NOW_US - 50 * HOUR_US, {OVERALL: 100})
    give_window(desk, student, NOW_US - HOUR_US, {OVERALL: 40})

    document = ask(desk, f"since_us={NOW_US - 10 * HOUR_US}")
    assert (document["artifact"], document["pairs"]) == (student, 80)
    assert ask(desk, f"since_us={NOW_US - 100 * HOUR_US}")["pairs"] == 280


def test_the_certified_threshold_is_marked_and_each_share_is_priced(desk: Desk, student: str) -> None:
    """Its certificate serves everything from 0.6 on: half of the pairs."""
    give_window(desk, student, NOW_US - HOUR_US, {OVERALL: 200, "area=eu": 200})

    document = ask(desk, "since_us=0&share=0.2&share=1")
    marked = [row for row in document["thresholds"] if row["is_certified"]]
    assert [row["threshold"] for row in marked] == [0.6]
    assert marked[0]["coverage"]["value"] == 0.5
    assert [at["share"] for at in marked[0]["at_shares"]] == [0.2, 1.0]
    assert marked[0]["at_shares"][0]["served"]["value"] == 0.1
    by_slice = {line["slice"]: line for line in document["slices"]}
    assert by_slice["area=eu"]["certified"] is None  # its slice has no line, so the teacher serves it
    assert document["as_certified"]["coverage"]["value"] == 0.0


def test_a_void_certificate_serves_nothing_and_says_why(desk: Desk, student: str) -> None:
    """The rows are still there to look at."""
    give_window(desk, student, NOW_US - HOUR_US, {OVERALL: 200})
    void(desk.engine, student, OVERALL)

    document = ask(desk, "since_us=0")
    assert (document["threshold"], document["as_certified"]) == (None, None)
    assert document["thresholds"]
    assert "certificate of all is void (9 of 30 disagreed)" in "\n".join(document["cannot_say"])


def test_what_is_not_there_is_refused(desk: Desk) -> None:
    """A task without students, a student that nobody knows, a share that is none: 404 and 422."""
    assert desk.ask("vera", "GET", PATH).status_code == 404
    assert desk.ask("vera", "GET", f"{PATH}?artifact=s-nix").status_code == 404
    assert desk.ask("vera", "GET", "/api/v1/tasks/nix/preview").status_code == 404
    assert desk.ask("vera", "GET", f"{PATH}?share=1.5").status_code == 422
    assert desk.ask("vera", "GET", f"{PATH}?share=nan").status_code == 422
