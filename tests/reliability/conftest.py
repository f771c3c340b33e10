"""What every row gets: a seed that is printed, and a place for its figures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.rows import Row
from tests.reliability.scale import seed_of_run

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.reliability)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """`STILLGATE_SEED=<what was printed>` runs it again."""
    row = Row(seed_of_run())
    print(f"seed {row.seed}")  # noqa: T201  # pytest shows it when the row fails
    yield row
    node = request.node
    node.user_properties += [("seed", row.seed), ("size", row.size), ("figures", dict(row.figures))]
    print(", ".join(f"{name} {value}" for name, value in row.figures.items()))  # noqa: T201
