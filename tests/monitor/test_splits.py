"""Any split of the same traffic over gateways, ticks and restarts leads to the same sums, bit for bit."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from ledger.control_file import open_control_file
from ledger.exchange import exchange_id
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from ledger.tables import DetectorRow, SumsRow
from monitor.cycle import run_cycle
from tests.ledger.builders import build_answer, build_exchange
from tests.monitor.world import add_student, build_configuration, send_label

Ask = tuple[float, float, str, int, str]  # teacher, student, area, start, label: one exchange
Place = tuple[int, int]  # gateway, tick

SLOW = settings(max_examples=8, suppress_health_check=list(HealthCheck))
GOOD = {"all": (600, 570)}


def asks() -> st.SearchStrategy[list[Ask]]:
    share, start = st.floats(0, 1), st.integers(0, 150_000_000)
    one = st.tuples(share, share, st.sampled_from("az"), start, st.sampled_from(["a", "b", ""]))
    return st.lists(one, min_size=1, max_size=12)


@SLOW
@given(asks(), st.data())
def test_any_split_gives_the_same_sums(many: list[Ask], draw: st.DataObject) -> None:
    """Of one gateway in one tick, or of three in four, with a restart between any two."""
    place = st.tuples(st.integers(0, 2), st.integers(0, 3))
    places = draw.draw(st.lists(place, min_size=len(many), max_size=len(many)))

    assert sums_after(many, [(0, 0)] * len(many)) == sums_after(many, places)


@SLOW
@given(asks(), st.data())
def test_a_request_that_comes_again_is_no_evidence(many: list[Ask], draw: st.DataObject) -> None:
    """However often the same inputs come within one tick, and through whichever gateway: detectors stay as they are."""
    again = draw.draw(st.lists(st.integers(0, len(many) - 1), max_size=8))
    gateways = draw.draw(st.lists(st.integers(0, 2), min_size=len(again), max_size=len(again)))
    repeated = [*many, *(many[index] for index in again)]
    digests = [*range(len(many)), *again]
    places = [(0, 0)] * len(many) + [(gateway, 0) for gateway in gateways]

    assert detectors_after(many, [(0, 0)] * len(many), list(range(len(many)))) == detectors_after(
        repeated, places, digests
    )


def sums_after(many: Sequence[Ask], places: Sequence[Place]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        play(Path(directory), many, places, list(range(len(many))))
        engine = open_control_file(Path(directory))
        with Session(engine) as session:
            rows = [(row.slice, row.window_start_us, row.sums) for row in session.exec(select(SumsRow))]
        engine.dispose()
    return orjson.dumps(sorted(rows))


def detectors_after(many: Sequence[Ask], places: Sequence[Place], digests: Sequence[int]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        play(Path(directory), many, places, digests)
        engine = open_control_file(Path(directory))
        with Session(engine) as session:
            rows = [(row.slice, row.state) for row in session.exec(select(DetectorRow))]
        engine.dispose()
    assert rows
    return orjson.dumps(sorted(rows, key=repr))


def play(directory: Path, many: Sequence[Ask], places: Sequence[Place], digests: Sequence[int]) -> None:
    """Each exchange in its gateway's file before its tick, labels first; another process, as it were, each tick."""
    configuration = build_configuration(directory)
    for tick in sorted({tick for _, tick in places}):
        engine = open_control_file(directory)
        artifact = add_student(engine, directory, GOOD).artifact if tick == min(t for _, t in places) else ""
        artifact = artifact or next((directory / "artifacts").iterdir()).name
        for number, (gateway, at) in enumerate(places):
            if at == tick:
                write(directory, f"g{gateway}", number, digests[number], many[number], artifact)
                if many[number][4]:
                    send_label(engine, exchange_id(f"g{gateway}", number), many[number][4])
        run_cycle(engine, configuration, (tick + 1) * 10_000_000)
        engine.dispose()


def write(directory: Path, gateway: str, number: int, digest: int, ask: Ask, artifact: str) -> None:
    teacher, student, area, start, _ = ask
    exchange = build_exchange(
        number,
        exchange_id=exchange_id(gateway, number),
        teacher=(Observation((teacher, 1 - teacher)),),
        attributes={"x-area": area},
        started_at_us=start,
        input_digests=(str(digest),),
    )
    file = ExchangeFile(exchange_path(directory, gateway))
    file.append(
        [exchange], [build_answer(number, artifact, observations=(Observation((student, 1 - student)),))]
    )
    file.close()
