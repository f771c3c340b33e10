"""The benchmark's array kernel is the shipped detector; its oracle, windows and tuning do what their names say."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from benchmarks.detectors import comparator_runtime, equal, equal_table, nulls, plots
from benchmarks.detectors.changes import CHANGES, EVERY, Change, Sizes, draw
from benchmarks.detectors.delays import Delays, measured_delays, ratio_interval
from benchmarks.detectors.equal import Row, tuned_threshold
from benchmarks.detectors.kernel import (
    Codes,
    alarm_counts,
    first_alarms,
    new_detectors,
    oracle_wagers,
    wagers_of,
)
from benchmarks.detectors.streams import EVALUATION, TUNING, abrupt, bernoulli, beta, diurnal, generator, ramp
from benchmarks.detectors.windows import chi_square, first_steps, kolmogorov_smirnov, psi
from benchmarks.report import text
from monitor.detector import Terms, lower_edges, new_detector, terms_for, update

LEVEL = 300.0


def shipped_alarms(terms: Terms, codes: Sequence[int], level: float) -> list[int]:
    """Steps, from 1, at which the detector that the monitor runs would alarm."""
    detector, found = new_detector(terms), []
    for step, code in enumerate(codes, 1):
        counts = [0] * len(terms.losses)
        counts[code] = 1
        detector = update(detector, 1.0, counts, 0)
        if detector.log_wealth >= math.log(level):
            found.append(step)
            detector = new_detector(terms)
    return found


def array_alarms(terms: Terms | list[Terms], block: Codes, level: float) -> list[list[int]]:
    detectors = new_detectors(wagers_of(terms), block.shape[1], level)
    found: list[list[int]] = [[] for _ in range(block.shape[1])]
    for step, codes in enumerate(block, 1):
        for stream in np.flatnonzero(detectors.step(detectors.wagers.evidence(codes))):
            found[stream].append(step)
    return found


def test_the_kernel_raises_the_alarms_of_the_shipped_detector() -> None:
    """Request by request, disagreements above their null, several alarms a stream."""
    block = np.concatenate(list(bernoulli(generator(TUNING, 1), 4, 1500, 0.12)))

    shipped = [shipped_alarms(terms_for(0.08), block[:, stream].tolist(), LEVEL) for stream in range(4)]

    assert array_alarms(terms_for(0.08), block, LEVEL) == shipped
    assert all(len(alarms) > 1 for alarms in shipped)


def test_the_kernel_does_so_for_losses_in_bins_and_for_terms_of_each_stream() -> None:
    """Beta losses in 64 bins, three streams with three nulls."""
    terms = [terms_for(m0, lower_edges(64)) for m0 in (0.06, 0.08, 0.1)]
    block = np.concatenate(list(beta(generator(TUNING, 2), 3, 400, 2, 12)))

    shipped = [shipped_alarms(terms[stream], block[:, stream].tolist(), LEVEL) for stream in range(3)]

    assert array_alarms(terms, block, LEVEL) == shipped
    assert sum(map(len, shipped)) > 3


def test_a_tick_of_counts_is_the_shipped_tick() -> None:
    """Wealth after five ticks of many inputs, with a mass of their own."""
    terms, chance = terms_for(0.05), generator(TUNING, 3)
    detectors, detector = new_detectors(wagers_of(terms), 1, 1e300), new_detector(terms)
    for mass in (1.0, 0.3, 0.9, 0.05, 1.0):
        wrong = int(chance.binomial(200, 0.07))
        detectors.step(detectors.wagers.of_counts(np.array([[200 - wrong, wrong]])), mass)
        detector = update(detector, mass, (200 - wrong, wrong), 0)

    assert np.log(detectors.wealth[0]) == pytest.approx(detector.standing.log_wealth_by_bet, rel=1e-9)


def test_the_oracle_is_shiryaev_roberts() -> None:
    """M = (M + 1) L with the likelihood ratio: the reference stream against 0.1, for 0.3."""
    stream = np.array([[0, 0, 1, 0, 1, 1, 0, 0, 1, 1]], dtype=np.uint8).T
    detectors = new_detectors(oracle_wagers(0.1, 0.3), 1, 1e300)

    assert alarm_counts(detectors, iter([stream])).tolist() == [0]
    assert detectors.wealth[0, 0] == pytest.approx(400.3127572016, rel=1e-10)


def test_the_first_alarm_is_found_and_delays_count_from_the_change() -> None:
    """Runs that alarmed before it are left out, runs that never did are missed."""
    block = np.zeros((30, 2), dtype=np.uint8)
    block[10:, 0] = 1

    first = first_alarms(new_detectors(wagers_of(terms_for(0.1)), 2, 1000.0), iter([block[:15], block[15:]]))
    delays = measured_delays(np.array([5, 12, 13, 0]), change=10)

    assert first[0] > 10
    assert first[1] == 0
    assert (delays.false_alarms, delays.requests.tolist()) == (1, [2, 3, 0])
    assert delays.missed == pytest.approx(1 / 3)


def test_a_median_is_never_where_most_runs_never_alarmed() -> None:
    """A missed run counts as later than any."""
    assert Delays(np.array([7, 0, 0]), 0, 3).quantile(0.5) is None
    assert Delays(np.array([7, 9, 0]), 0, 3).quantile(0.5) == 9


def test_tuning_and_evaluation_never_draw_the_same() -> None:
    """Nor do two parts of the evaluation."""
    drawn = [
        generator(*words).random(4).tolist() for words in ((EVALUATION, 1), (TUNING, 1), (EVALUATION, 2))
    ]

    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]
    assert generator(EVALUATION, 1).random(4).tolist() == drawn[0]


def test_rates_change_when_they_should() -> None:
    """At once, over a stretch, or with the day."""
    assert [abrupt(0.1, 0.3, 5)(step) for step in (4, 5)] == [0.1, 0.3]
    assert [ramp(0.1, 0.3, 5, 10)(step) for step in (0, 5, 10, 15, 99)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.3, 0.3]
    )
    assert diurnal(0.1, 0.3, 100)(25) == pytest.approx(0.3)


def test_window_statistics_are_those_of_scipy() -> None:
    """Two-sample chi-square without correction; KS, whose p-value is asymptotic; PSI from its definition."""
    wrong, reference = np.array([[9.0]]), np.array([[52.0]])
    table = [[9, 91], [52, 948]]
    ours, theirs = [1.0] * 9 + [0.0] * 91, [1.0] * 52 + [0.0] * 948
    p, q = np.array([0.09, 0.91]), np.array([0.052, 0.948])

    chi = chi2_contingency(table, correction=False).pvalue
    ks = ks_2samp(ours, theirs, method="asymp").pvalue

    assert math.exp(-chi_square(wrong, 100, reference, 1000)[0, 0]) == pytest.approx(chi, rel=1e-9)
    assert math.exp(-kolmogorov_smirnov(wrong, 100, reference, 1000)[0, 0]) == pytest.approx(ks, rel=0.05)
    assert psi(wrong, 100, reference, 1000)[0, 0] == pytest.approx(float(((p - q) * np.log(p / q)).sum()))


def test_a_window_alarms_at_its_end() -> None:
    """The second of two streams exceeds the threshold in its third window."""
    statistics = np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.5]])

    assert first_steps(statistics, 0.2, 100).tolist() == [0, 300]


def test_tuning_finds_the_most_sensitive_threshold_that_is_quiet_enough() -> None:
    """False alarms fall as the threshold rises: 1000 / threshold of them, of which 10 are allowed."""
    assert tuned_threshold(lambda threshold: math.ceil(1000 / threshold), 1e-3, 1e6, 10) == pytest.approx(
        100, rel=0.01
    )
    assert tuned_threshold(lambda threshold: 11, 1.0, 5.0, 10) == 5.0


@pytest.mark.parametrize("processes", [1, 2])
def test_a_comparator_is_tuned_by_the_same_rule(processes: int) -> None:
    """A detector that alarms after `1 / value` steps; where none is quiet enough, the quietest is taken and said."""

    class Every:
        def __init__(self, value: float) -> None:
            self.step = round(1 / value)

        def advance(self, losses: Codes) -> int:
            return self.step if self.step <= len(losses) else 0

    streams = np.zeros((3, 1000), dtype=np.uint8)
    crew = comparator_runtime.Crew(processes)
    value, alarms = comparator_runtime.tune(Every, streams, (1 / 5000, 1 / 2), 15 / 3000, crew)

    assert (round(1 / value), alarms) == (pytest.approx(170, abs=5), 15)
    assert comparator_runtime.tune(Every, streams, (1 / 20, 1 / 2), 15 / 3000, crew) == (1 / 20, 150)


def test_the_drawn_changes_have_the_rates_of_their_names() -> None:
    """Before the moment of each run 5 %, after it the rate that the change goes to; a ramp in between."""
    drawn = draw(Sizes(streams=3, steps=500, runs=40))

    for change in EVERY:
        codes, moments = drawn.changes[change.name], drawn.moments[change.name]
        assert codes.shape == (40, change.steps)
        assert moments.min() >= change.quiet
        late = codes[:, change.quiet + 1000 + change.ramp :]
        assert late.mean() == pytest.approx(change.after, rel=0.1)
        assert codes[:, : change.quiet].mean() == pytest.approx(0.05, rel=0.1)
    assert Change("r", 0.15, 50, quiet=10, ramp=10).rates(np.array([10]))[0, 15] == pytest.approx(0.1)
    assert not np.array_equal(drawn.tuning, drawn.null)


def test_the_quiet_requests_before_a_change_are_fed_once() -> None:
    """And what a detector then says is what it says of the whole run."""

    class Sums:
        """Alarms at the third loss of 1."""

        fed = 0

        def __init__(self) -> None:
            self.seen = 0

        def advance(self, losses: Codes) -> int:
            Sums.fed += len(losses)
            sums = self.seen + np.cumsum(losses)
            self.seen = int(sums[-1])
            return int(np.searchsorted(sums, 3)) + 1 if self.seen >= 3 else 0

    runs = {"a": [0, 1, 0, 1, 1, 0], "b": [0, 1, 0, 0, 0, 1, 0]}
    streams = {name: np.array([codes], dtype=np.uint8) for name, codes in runs.items()}
    streams |= {f"moments of {name}": np.array([3]) for name in runs}
    null = np.array([[1, 1, 1, 1, 0, 1, 1]], dtype=np.uint8)

    found = comparator_runtime.seen(Sums, null, streams, 1, math.inf, comparator_runtime.Crew())

    assert found == {"false_alarms": [2], "steps": 7, "first": {"a": [5], "b": [0]}}
    assert Sums.fed == 3 + 3 + 4 + 7 + 4


def test_the_rounded_mean_is_that_of_the_lower_edges() -> None:
    """So that its null is one that binned losses really reach."""
    losses = np.random.default_rng(1).beta(2, 18, size=200_000)

    assert (np.floor(losses * 64) / 64).mean() == pytest.approx(nulls.ROUNDED_MEAN, abs=5e-4)


def test_a_null_cell_is_held_against_its_mass() -> None:
    """Ten alarms over five streams, of which five streams may have one each."""
    cell = nulls.NullCell("w", "n", 5, 100, 100.0, 100.0, np.array([2, 2, 2, 1, 3]))

    assert (cell.mean, cell.bound) == (2.0, 1.0)
    assert [floor.breaks for floor in nulls.null_floors([cell])] == [True]


def row(name: str, delay: int, alarms: Sequence[int] = (1, 0, 2), in_tuning: float = 1e-6) -> Row:
    delays = {change.name: Delays(np.full(9, delay), 0, 9) for change in EVERY}
    return Row(name, "", np.array(alarms), 1_000_000, delays, in_tuning)


def test_ours_has_to_be_faster_than_the_fastest_comparator() -> None:
    """The floor compares medians; a comparator that could not run leaves a floor unmeasured."""
    rows = (*(row(name, 80) for name in equal.OURS), row("fast", 100), row("slow", 500))
    found = equal.Compared(rows, rows, Sizes(), ("KSWIN: it broke",))
    floors = equal_table.equal_floors(found)

    assert [floor.what for floor in floors if floor.breaks] == ["KSWIN: it broke"]
    assert {floor.measured for floor in floors[1:]} == {0.8}
    assert [floor.stretch for floor in floors[1:]] == [
        not each.is_abrupt for each in CHANGES for _ in range(2)
    ]
    assert all(text(table) for table in equal_table.compared_tables(found))
    assert 'points="70.0' in plots.chart("t", {"ours": [(0.1, 10.0), (0.2, 100.0)]})


def test_a_comparator_with_more_false_alarms_is_no_equal_one() -> None:
    """It is printed as such; one that happens to have a few more, as ours might have had, still counts."""
    ours = [row(name, 80, (10, 11, 9)) for name in equal.OURS]
    rows = (
        *ours,
        row("loud", 10, (40, 42, 41)),
        row("fair", 70, (13, 12, 11)),
    )
    found = equal.Compared(rows, rows, Sizes(), ())
    tuned = equal_table.compared_tables(found)[1]

    assert {floor.measured for floor in equal_table.equal_floors(found)} == {80 / 70}
    assert [cells[0] for cells in tuned.rows if cells[3].endswith("MORE")] == ["loud"]


def test_a_detector_behind_a_filter_of_ours_is_only_a_stretch() -> None:
    """It stands beside the fastest as the libraries have them."""
    rows = (*(row(name, 80) for name in equal.OURS), row("fair", 100), row("fair for rises", 70))
    floors = equal_table.equal_floors(equal.Compared(rows, rows, Sizes(), ()))

    assert {(floor.measured, floor.holds) for floor in floors if not floor.stretch} == {(0.8, True)}
    assert (80 / 70, False) in {(floor.measured, floor.holds) for floor in floors if floor.stretch}


def test_alarms_in_clusters_widen_the_interval_of_their_rate() -> None:
    """Thirty alarms in one stream of three say less than ten in each."""
    even, clustered = row("even", 1, (10, 10, 10)), row("clustered", 1, (30, 0, 0))

    assert even.rate == clustered.rate == 1e-5
    assert even.rates == pytest.approx((20.24e-6 / 3, 42.83e-6 / 3), rel=1e-3)
    assert clustered.rates[1] > 2 * even.rates[1]


def test_the_interval_of_a_ratio_of_medians_covers_it() -> None:
    """Runs that never alarmed count as later than any."""
    chance = np.random.default_rng(1)
    ours, other = (Delays(chance.geometric(1 / mean, 400), 0, 400) for mean in (100, 200))
    low, high = ratio_interval(ours, other, 1)

    assert low < 0.5 < high
    assert ratio_interval(Delays(np.zeros(9, dtype=np.int64), 0, 9), other, 1) == (math.inf, math.inf)
