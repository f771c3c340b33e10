"""The null of a slice: from the gate's counts, else its bar, else the overall slice."""

import pytest

from ledger.configuration import GateSection, TriggerSection
from ledger.slices import SliceRule
from monitor.baseline import null_of
from monitor.intervals import upper_bound
from tests.monitor.world import gate_report

RULES = (
    SliceRule("area", "header", "x-area", critical=True, bar=0.85),
    SliceRule("length", "words", word_edges=(50,)),
)
GATE, TRIGGER = GateSection(bar=0.8), TriggerSection(reference_pairs=200, tolerance=0.02)
REPORT = gate_report({"all": (600, 570), "area=a": (200, 190), "area=b": (199, 199), "length=50+": (50, 0)})


@pytest.mark.parametrize(
    ("slice_name", "m0", "source", "rate"),
    [
        ("all", upper_bound(30, 600, 0.05 / 4) + 0.02, "gate", 0.05),
        ("area=a", upper_bound(10, 200, 0.05 / 4) + 0.02, "gate", 0.05),
        ("area=b", 0.15, "bar", None),
        ("area=new", 0.15, "bar", None),
        ("length=50+", upper_bound(30, 600, 0.05 / 4) + 0.02, "parent", 0.05),
        ("undeclared=x", upper_bound(30, 600, 0.05 / 4) + 0.02, "parent", 0.05),
    ],
)
def test_the_null_of_a_slice(slice_name: str, m0: float, source: str, rate: float | None) -> None:
    """Its bound is exact and shared over the slices of the report, plus the harm tolerated."""
    null = null_of(slice_name, REPORT, RULES, GATE, TRIGGER)

    assert null.m0 == pytest.approx(m0)
    assert (null.source, null.rate) == (source, rate)


def test_without_a_report_the_overall_null_is_the_bar_of_the_gate() -> None:
    """And it is what slices without a bar inherit."""
    assert null_of("all", None, RULES, GATE, TRIGGER).m0 == pytest.approx(0.2)
    assert null_of("length=0-49", None, RULES, GATE, TRIGGER).m0 == pytest.approx(0.2)


def test_a_hopeless_reference_still_leaves_something_to_contradict() -> None:
    """A null of 1 could never be exceeded."""
    report = gate_report({"all": (600, 0)})

    assert null_of("all", report, RULES, GATE, TRIGGER).m0 == 0.99
