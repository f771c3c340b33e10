"""What trains, and how much each row counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from distill.curation.curating import Beside, Untrained, curated, curated_split
from distill.curation.embedded import embedded, lexical
from distill.curation.live_match import LEAST_FACTOR, MOST_FACTOR, Cells, live_factors
from distill.curation.review import Answer, Decision, Doubt
from distill.curation.rows import Row, Source
from distill.curation.semantic import semantic_duplicates
from distill.curation.split import GateRow, Split
from distill.curation.teacher_errors import doubtful_rows
from distill.curation.weighing import MOST_WEIGHT, failure_factor, weighed, within_shares
from ledger.configuration import CurationSection, TaskSection
from ledger.observation import Observation, ObservationError
from tests.distill.curation.words import build_text_row, write_text

SETTINGS = CurationSection()


def rows_of(task: TaskSection, count: int, start: int = 0, **changes: object) -> list[Row]:
    return [build_text_row(task, start + number, (start + number) % 2, **changes) for number in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("incumbent", "factor"),
    [
        (None, 1.0),
        (Observation((0.9, 0.1)), 1.0),
        (Observation((0.0, 1.0)), 2.5),
        (Observation(None, ObservationError.STUDENT_FAILED), 3.0),
    ],
)
def test_the_incumbents_failures_count_more(incumbent: Observation | None, factor: float) -> None:
    """By how far its answer is from the teacher's, up to the limit; an answer that failed is a mistake."""
    found = failure_factor(Observation((0.9, 0.1)), incumbent, SETTINGS)
    assert found == pytest.approx(factor, abs=0.1)


def test_weights_have_mean_one_and_stay_within_limits(task: TaskSection) -> None:
    """Repeats count by their square root, one caller's flood does not rule."""
    rows = [build_text_row(task, number) for number in range(400)]
    rows[0] = replace(rows[0], repeats=10_000)
    rows[1] = replace(rows[1], repeats=4)
    trained, summary = weighed(rows, np.ones(400), SETTINGS, {})
    weights = [row.weight for row in trained]
    assert np.mean(weights) == pytest.approx(1.0)
    assert weights[1] == pytest.approx(2 * weights[2])
    assert weights[0] == max(weights) == summary.most
    assert summary.most <= MOST_WEIGHT * 1.02
    assert summary.effective == pytest.approx(sum(weights) ** 2 / sum(weight**2 for weight in weights))
    assert not summary.wants_rows


def test_rows_rarely_asked_about_stand_for_more(task: TaskSection) -> None:
    """An audit share of one half doubles the weight."""
    rows = [build_text_row(task, number, inclusion=0.5 if number == 0 else 1.0) for number in range(300)]
    trained, _ = weighed(rows, np.ones(300), SETTINGS, {})
    assert trained[0].weight == pytest.approx(2 * trained[1].weight)


def test_replayed_rows_have_their_share_of_the_weight(task: TaskSection) -> None:
    """However many or few they are."""
    rows = [*rows_of(task, 300), *rows_of(task, 150, 300, source=Source.REPLAY)]
    _, summary = weighed(rows, np.ones(450), SETTINGS, {})
    assert summary.replay_share == pytest.approx(SETTINGS.replay_share)


def test_no_caller_has_more_than_its_share_of_the_weight(task: TaskSection) -> None:
    """Also where each of its rows is a failure of the incumbent that counts thrice."""
    rows = [
        build_text_row(task, number, principals=("mallory" if number < 20 else f"p{number}",))
        for number in range(500)
    ]
    wrong = {row.digest: Observation((0.0, 1.0)) for row in rows[:20]}
    _, summary = weighed(rows, np.ones(500), SETTINGS, wrong)
    assert summary.largest_principal_share == pytest.approx(SETTINGS.principal_share, rel=0.01)
    nobody = [replace(row, principals=("",)) for row in rows]
    assert (within_shares(np.ones(500), nobody, 0.02) == 1.0).all()


def test_training_is_matched_to_live_traffic() -> None:
    """By hand: one cell has a fifth of the training rows and half of the traffic."""
    code = np.array([[0] * 20 + [1] * 80])
    live = np.where(code[0] == 0, 4.0, 1.0)
    factors = live_factors(Cells(code, (("a", "b"),)), live, np.ones(100), np.ones(100, dtype=bool))
    assert factors[code[0] == 0].sum() / factors.sum() == pytest.approx(0.5, abs=0.01)
    assert factors.mean() == pytest.approx(1.0)


def test_a_factor_has_limits() -> None:
    """A single row does not stand for half of the traffic."""
    code = np.array([[0] + [1] * 999])
    live = np.where(code[0] == 0, 999.0, 1.0)
    factors = live_factors(Cells(code, (("a", "b"),)), live, np.ones(1000), np.ones(1000, dtype=bool))
    assert LEAST_FACTOR <= factors.min() <= factors.max() <= MOST_FACTOR
    none = live_factors(Cells(code, (("a", "b"),)), np.zeros(1000), np.ones(1000), np.ones(1000, dtype=bool))
    assert (none == 1.0).all()


def test_semantic_duplicates_go_but_never_below_the_quota(task: TaskSection) -> None:
    """Within one answer and one cluster alone, of which there are eight."""
    rows = rows_of(task, 100)
    vectors = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0]]), 50, axis=0)
    space = embedded(rows, vectors + 1e-3 * np.arange(100)[:, None])
    assert 100 - 2 * 8 <= len(semantic_duplicates(rows, space, 0.95, quota=0)) <= 100 - 2 * 2
    assert (
        len(semantic_duplicates(rows, space, 0.95, quota=40)) == 2 * 10
    )  # each answer is a slice of 50 rows
    assert not semantic_duplicates(rows, lexical(rows), 0.95, quota=0)


def test_the_teachers_mistakes_are_set_aside_within_their_share(task: TaskSection) -> None:
    """Of 600 rows 12 have the wrong answer: most are found, few others with them, none beyond the share."""
    wrong = set(range(0, 600, 50))
    texts = [write_text(number, number % 2) for number in range(600)]
    noisy = [
        build_text_row(task, number, (number + (number in wrong)) % 2, text=text)
        for number, text in enumerate(texts)
    ]
    found = {entry.digest for entry in doubtful_rows(noisy, task.classes, lexical(noisy), 0.05)}
    truly = {noisy[place].digest for place in wrong}
    assert len(found & truly) >= 9
    assert len(found) <= 0.05 * 600
    assert not doubtful_rows(noisy, task.classes, lexical(noisy), 0.0)


@pytest.mark.parametrize(
    ("count", "label"), [(0, None), (10, None), (400, 0)], ids=["no rows", "few rows", "one class"]
)
def test_nothing_is_doubted_where_nothing_can_be_learnt(
    task: TaskSection, count: int, label: int | None
) -> None:
    """A clean answer, not an exception of a library."""
    rows = [build_text_row(task, number, number % 2 if label is None else label) for number in range(count)]
    assert doubtful_rows(rows, task.classes, lexical(rows), 0.05) == ()
    assert len(curated(rows, rows, task, lexical(rows)).rows) == count


def test_equal_texts_are_no_trouble(task: TaskSection) -> None:
    """Every row in one point of the space."""
    rows = [build_text_row(task, number, number % 2, text="the same") for number in range(300)]
    assert len(curated(rows, rows, task, lexical(rows)).rows) == 300


def test_what_a_near_text_contradicts_is_shown_and_trains(task: TaskSection) -> None:
    """Which of two answers is wrong, people say."""
    rows = rows_of(task, 4)
    often = replace(rows[0], group="g", repeats=3)
    rarely = replace(rows[1], group="g")
    (entry,) = doubtful_rows([often, rarely, *rows[2:]], task.classes, lexical(rows), 0.05)
    assert (entry.digest, entry.doubt, entry.set_aside) == (rarely.digest, Doubt.INCONSISTENT, False)
    assert (entry.teacher_class, entry.suggested_class) == ("b", "a")


def test_what_people_said_holds(task: TaskSection) -> None:
    """Dropped rows are gone, relabelled ones have that class."""
    rows = rows_of(task, 300)
    said = {
        rows[0].digest: Answer(Decision.DROP, "ann", 1),
        rows[1].digest: Answer(Decision.RELABEL, "ann", 1, "a"),
    }
    found = curated(rows, rows, task, lexical(rows), Beside(answers=said))
    by_digest = {row.digest: row for row in found.rows}
    assert rows[0].digest not in by_digest
    assert by_digest[rows[1].digest].truth == 0
    assert found.left_out[Untrained.DROPPED] == 1
    assert len(found.rows) + sum(found.left_out.values()) == len(rows)


def test_the_same_rows_give_the_same_weights(task: TaskSection) -> None:
    """To the last bit."""
    rows = [*rows_of(task, 300), *rows_of(task, 60, 300, area="rare")]
    first, second = (curated(rows, rows, task, lexical(rows)) for _ in range(2))
    assert [row.weight for row in first.rows] == [row.weight for row in second.rows]


class Incumbent:
    """Says what the teacher said of the texts that it knows, and nothing of others."""

    def __init__(self, known: dict[str, Observation]) -> None:
        self._known = known

    def answer(self, texts: Sequence[str]) -> list[Observation]:
        failed = Observation(None, ObservationError.STUDENT_FAILED)
        return [self._known.get(text, failed) for text in texts]


def test_only_the_training_part_of_a_split_is_changed(task: TaskSection) -> None:
    """The incumbent is asked about training rows alone; gate, dev and calibration keep their natural weights."""
    rows = rows_of(task, 320)
    split = Split((GateRow(rows[0], None),), tuple(rows[20:]), tuple(rows[1:10]), tuple(rows[10:20]))
    incumbent = Incumbent({row.text: row.teacher for row in rows[30:]})

    after, found = curated_split(split, rows, task, lexical(rows), incumbent)

    assert (after.gate, after.dev, after.calibration) == (split.gate, split.dev, split.calibration)
    assert after.train == found.rows
    by_digest = {row.digest: row.weight for row in after.train}
    assert by_digest[rows[20].digest] > 1.5 * by_digest[rows[100].digest]
    assert len(after.train) + sum(found.left_out.values()) == len(split.train)
