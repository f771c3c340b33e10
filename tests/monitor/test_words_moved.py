"""Which words moved, from the texts that the record still holds."""

from pathlib import Path

from sqlalchemy import Engine

from ledger.exchange_file import ExchangeFile, exchange_paths
from ledger.harms import Harm
from monitor.cause import Place
from monitor.explaining import Raised, words_of_alarm
from monitor.words_moved import words_moved
from tests.monitor.world import TASK, add_student, build_configuration, shadowed

PARCELS = [f"where is my parcel number {n}" for n in range(60)]
REFUNDS = [f"Refund, please; my parcel {n} is BROKEN" for n in range(40)]


def test_words_that_came_and_words_that_went() -> None:
    """The greatest change first, whatever their case; what both sides use as often is not told."""
    moved = words_moved(PARCELS, REFUNDS)

    assert {one.word for one in moved} == {"refund", "please", "broken", "where", "number"}
    assert {one.word: (one.then, one.now) for one in moved}["refund"] == (0, 40)
    assert [one.change for one in moved if one.word == "where"] == [-1.0]
    assert words_moved(PARCELS, PARCELS) == words_moved([], PARCELS) == []


def test_rare_words_and_numbers_are_not_told() -> None:
    """Four inputs that use a name are their authors'; an account number is nobody's kind of input."""
    names = [f"{'Hildegard' if n < 4 else 'somebody'} wrote 4711" for n in range(40)]

    assert {one.word for one in words_moved(PARCELS, names)} == {
        "is",
        "my",
        "number",
        "parcel",
        "somebody",
        "where",
        "wrote",
    }


def test_the_words_of_an_alarm_are_those_of_its_slice(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """A text that came twice counts once, one of another slice not at all."""
    configuration = build_configuration(tmp_path)
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}).artifact
    texts = [
        *(("a", text) for text in PARCELS),
        *(("a", text) for text in [*REFUNDS, *REFUNDS[:9]]),
        ("z", "other"),
    ]
    for number, (area, text) in enumerate(texts):
        exchange, answer = shadowed(
            number,
            True,
            artifact,
            inputs=(text,),
            input_digests=(text.ljust(32),),
            attributes={"x-area": area},
            started_at_us=10 + number,
        )
        exchanges.append([exchange], [answer])

    alarm = Raised(Place(TASK, artifact, "area=a", Harm.DISAGREEMENT), 10 + len(PARCELS), 10 + len(texts))
    moved = words_of_alarm(engine, configuration, exchange_paths(tmp_path), alarm)

    refund = next(one for one in moved if one.word == "refund")
    assert (refund.then, refund.of_then, refund.now, refund.of_now) == (0, 60, 40, 40)
    assert "other" not in {one.word for one in moved}
