"""What the demo says of alarms."""

from io import StringIO

import pytest
from rich.console import Console

from examples.helpdesk.narrator import Narrator

MOVED = {"summary": "the input moved: length", "moved": ["input"]}


@pytest.mark.parametrize("cause", [None, MOVED])
def test_an_alarm_is_told_with_what_it_led_to(cause: dict[str, object] | None) -> None:
    """Also one that opened no job: the decision and its reason."""
    said = StringIO()
    alarm = {"id": 3, "slice": "area=sci.space", "harm": "total_variation", "cause": cause}
    decided = {"decision": "cooldown", "decision_reason": "a job ended 4 s ago"}

    Narrator(Console(file=said, width=200)).alarm(alarm | decided, 0.689, 0.871)

    told = said.getvalue()
    assert "ALARM 3 on area=sci.space, total variation: fidelity there 68.9%" in told
    assert "cooldown: a job ended 4 s ago" in told
    assert ("what moved: the input moved: length" in told) == (cause is not None)
