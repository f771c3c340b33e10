"""The certificate benchmark's own arithmetic: profiles, rules and floors."""

import numpy as np
import pytest

from benchmarks import certificates
from benchmarks.certificates import Outcome, Plan, profiles
from monitor.certificate import HeldOut
from monitor.sums import SliceSums


def test_oracles_of_the_profiles() -> None:
    """The coverage that the true disagreement allows."""
    found = {profile.name: profile.oracle for profile in profiles()}
    assert found == pytest.approx({"steep": 0.523, "flat": 0.642, "dip": 0.5589}, abs=1e-3)


def test_bisection_finds_where_disagreement_begins() -> None:
    """Three thousand sure answers agree, as many unsure ones do not; and where all disagree there is nothing."""
    answers = [(0.9 - index * 1e-6, False) for index in range(3000)]
    answers += [(0.5 - index * 1e-6, True) for index in range(3000)]
    threshold = certificates.bisection(HeldOut(SliceSums.empty(), tuple(answers)), 0.02)
    assert threshold is not None
    assert 0.49 < threshold < 0.9
    assert certificates.bisection(HeldOut(SliceSums.empty(), tuple(answers[3000:])), 0.02) is None


def test_a_sample_is_the_same_in_both_forms() -> None:
    """The grid's counts are those of the answers."""
    generator = np.random.default_rng(1)
    sample = certificates.Sample(np.sort(generator.random(500))[::-1], generator.random(500) < 0.1)
    held_out = sample.held_out()
    accepted, disagreements = held_out.sums.accepted[50]
    above = [disagrees for confidence, disagrees in held_out.answers if confidence >= 0.5]
    assert (accepted, disagreements) == (len(above), sum(above))


def test_a_rule_that_is_wrong_too_often_misses_its_floor() -> None:
    """And one that certifies too little misses the other."""
    by_name = {profile.name: profile for profile in profiles()}
    rules = dict.fromkeys(certificates.RULES, Outcome(wrong=0, repetitions=400, coverage=0.5))
    good = certificates.report_of({("steep", 20_000): rules}, by_name)
    wrong = rules | {"Stillgate": Outcome(wrong=41, repetitions=400, coverage=0.5)}
    shy = rules | {"Stillgate": Outcome(wrong=0, repetitions=400, coverage=0.4)}
    assert good.holds
    assert not certificates.report_of({("steep", 20_000): wrong}, by_name).holds
    assert not certificates.report_of({("steep", 20_000): shy}, by_name).holds


def test_a_short_run_has_every_rule_in_both_tables() -> None:
    """Two samples of each profile."""
    report = certificates.measure(Plan(2, (1_000,)))
    assert [len(table.rows) for table in report.tables] == [3, 3]
    assert report.tables[0].header[1:] == tuple(certificates.RULES)
