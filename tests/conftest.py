"""How all tests run: which files begin first, and how property tests draw.

A busy machine may take its time with any example, and with drawing one. Each run draws others, twenty of a property;
STILLGATE_SCALE=reliability draws three hundred.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

PATIENT = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("patient", PATIENT)
settings.register_profile("thorough", PATIENT, max_examples=300)
settings.load_profile("thorough" if "STILLGATE_SCALE" in os.environ else "patient")

LONG = ("reliability", "distill", "end_to_end", "deploy", "examples", "clients", "monitor", "stillgate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that at the end no worker is left alone with one of them."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    package = item.nodeid.split("/")[1]
    return LONG.index(package) if package in LONG else len(LONG)
