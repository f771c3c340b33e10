"""py-spy's stacks become components."""

from benchmarks.profiling import OTHER, component_of, folded


def test_the_innermost_known_frame_decides() -> None:
    """What asyncio or sqlalchemy does is its caller's; a name within another path decides nothing."""
    outer = ["thread (1)", "data_received (gateway/connection.py:65)", "__call__ (gateway/app.py:90)"]
    assert component_of([*outer, "respond (gateway/guard.py:40)"]) == "guard and headers"
    assert component_of([*outer, "write (asyncio/transports.py:10)"]) == "application"
    writing = ["append (ledger/exchange_file.py:70)", "execute (sqlalchemy/engine/base.py:5)"]
    assert component_of([*outer, *writing]) == "record: write"
    assert component_of(["x (/home/student/wait.py:1)"]) == OTHER
    assert component_of(["thread (1)", "wait (threading.py:3)"]) == OTHER


def test_samples_are_added_up_by_component() -> None:
    """The last number of a line is its count; frames may hold spaces."""
    lines = [
        "main (a b.py:1);put (gateway/record.py:120) 7",
        "x;append (ledger/exchange_file.py:70) 3",
        "x 1",
    ]
    assert folded(lines) == {"record: put": 7, "record: write": 3, OTHER: 1}
