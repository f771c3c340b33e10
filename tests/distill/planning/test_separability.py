"""The cheap student's learning curve, and what neighbours say."""

import numpy as np

from distill.planning.separability import separability


def test_classes_that_lie_apart_are_learnt_and_their_neighbours_agree() -> None:
    """Two clouds: nearly all development rows are right, by both ways."""
    draw = np.random.default_rng(0)
    classes = draw.integers(0, 2, 400)
    rows = (np.where(classes[:, None] == 1, 1.0, -1.0) + 0.3 * draw.normal(size=(400, 8))).astype(np.float32)

    found = separability(rows[:300], classes[:300].tolist(), rows[300:], classes[300:].tolist())

    assert [point.rows for point in found.curve] == [75, 150, 225, 300]
    assert found.curve[-1].reached.agreements == sum(found.agrees) == 100
    assert found.neighbours.agreements == 100
    assert not found.rises


def test_an_encoder_that_does_not_see_the_classes_is_found_out() -> None:
    """Labels that have nothing to do with the place: about half of the rows, by both ways."""
    draw = np.random.default_rng(1)
    classes, rows = draw.integers(0, 2, 600), draw.normal(size=(600, 8)).astype(np.float32)

    found = separability(rows[:400], classes[:400].tolist(), rows[400:], classes[400:].tolist())

    assert 70 <= found.curve[-1].reached.agreements <= 130
    assert 70 <= found.neighbours.agreements <= 130


def test_one_class_alone_is_no_traceback() -> None:
    """Everything is that class."""
    rows = np.ones((20, 4), dtype=np.float32)

    found = separability(rows[:10], [1] * 10, rows[10:], [1] * 10)

    assert found.curve[-1].reached.share == 1.0
