"""The e-SR detector: reference values, exact state, few false alarms and short delays."""

import json
import math
from functools import reduce

import numpy as np
import pytest

from monitor.detector import (
    BETS,
    HISTORY,
    Detector,
    Terms,
    after_tick,
    bets_for,
    lower_edges,
    new_detector,
    terms_for,
    update,
)
from monitor.detector_state import from_json, to_json

STREAM = (0, 0, 1, 0, 1, 1, 0, 0, 1, 1)


def betting(m0: float, *bets: float) -> Detector:
    """Against a null, with the bets that belong to it or those given."""
    return new_detector(Terms(m0, bets) if bets else terms_for(m0))


def tick(detector: Detector, inputs: int, disagreements: int, mass: float = 1.0, at_us: int = 0) -> Detector:
    return update(detector, mass, (inputs - disagreements, disagreements), at_us)


def run(detector: Detector, ticks: list[tuple[int, int]], mass: float = 1.0) -> Detector:
    return reduce(lambda d, counts: tick(d, *counts, mass), ticks, detector)


def test_one_observation_a_tick_is_the_shiryaev_roberts_recursion() -> None:
    """M = (M + 1) L with one bet, and e-CUSUM's C = max(C, 1) L beside it."""
    after_6 = run(betting(0.1, 2 / 9), [(1, x) for x in STREAM[:6]])
    after_10 = run(after_6, [(1, x) for x in STREAM[6:]])

    assert math.exp(after_6.log_wealth) == pytest.approx(69.037037037, rel=1e-10)
    assert math.exp(after_6.standing.log_cusum_by_bet[0]) == pytest.approx(21.0, rel=1e-10)
    assert math.exp(after_10.log_wealth) == pytest.approx(400.3127572016, rel=1e-10)
    assert math.exp(after_10.standing.log_cusum_by_bet[0]) == pytest.approx(114.3333333333, rel=1e-10)


def test_without_restarts_it_is_an_e_process() -> None:
    """Mass 1 before the first observation and none later."""
    first = tick(betting(0.1, 2 / 9), 1, STREAM[0])
    last = run(first, [(1, x) for x in STREAM[1:]], mass=0.0)

    assert math.exp(last.log_wealth) == pytest.approx(69.1646090535, rel=1e-10)


def test_a_mixture_is_the_mean_of_its_components() -> None:
    """Bets for 0.2 and 0.4 against 0.1."""
    mixture = run(betting(0.1, 1 / 9, 3 / 9), [(1, x) for x in STREAM])

    components = [math.exp(value) for value in mixture.standing.log_wealth_by_bet]
    assert components == pytest.approx([103.1261155989, 896.378600823], rel=1e-10)
    assert math.exp(mixture.log_wealth) == pytest.approx(499.7523582110, rel=1e-10)


def test_ticks_of_a_hundred() -> None:
    """The tick form needs the counts alone."""
    detector = betting(0.05, 0.02, 0.1, 0.3)
    wealth = []
    for disagreements in (5, 9, 12, 15):
        detector = tick(detector, 100, disagreements)
        wealth.append(math.exp(detector.log_wealth))

    assert wealth == pytest.approx(
        [0.24784159548764, 2.00371250106215, 38.3690714002296, 25483.7266924182], rel=1e-12
    )


@pytest.mark.parametrize("m0", [1e-9, 1e-6, 0.001, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
def test_bets_stay_playable_for_every_null(m0: float) -> None:
    """A bet of 1 or more could lose everything, and one of 0 wins nothing."""
    bets = bets_for(m0)

    assert len(bets) == BETS
    assert all(0 < bet < 1 for bet in bets)
    assert list(bets) == sorted(bets)


@pytest.mark.parametrize("m0", [0.0, 1.0, -0.1, math.nan])
def test_a_null_that_nothing_can_contradict_is_refused(m0: float) -> None:
    """The caller has to choose one inside (0, 1)."""
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        terms_for(m0)


def test_a_state_of_another_format_is_not_read() -> None:
    """Another release wrote it; the stream begins anew."""
    assert from_json(to_json(betting(0.1)) | {"format": 1}) is None
    assert from_json({"m0": 0.1}) is None


def test_losses_between_0_and_1_are_counted_in_bins() -> None:
    """Two bins that stand for 0 and 1 are the disagreements; a loss that is the null itself moves nothing."""
    by_disagreement = tick(betting(0.25), 100, 40)
    in_bins = update(new_detector(terms_for(0.25, (0.0, 0.25, 1.0))), 1.0, (60, 1000, 40), 0)

    assert in_bins.log_wealth == pytest.approx(by_disagreement.log_wealth, rel=1e-12)


def test_a_bin_stands_for_its_lower_edge() -> None:
    """So binned evidence is never more than that of the exact losses, and validity survives the binning."""
    edges = lower_edges(64)
    losses = np.random.default_rng(5).beta(2, 10, size=500)
    exact, binned = terms_for(0.12, losses.tolist()), terms_for(0.12, edges)

    counts = np.bincount(np.floor(losses * 64).astype(int), minlength=64).tolist()
    pairs = zip(binned.log_evidence(counts), exact.log_evidence([1] * 500), strict=True)

    assert edges[0] == 0
    assert edges[-1] == 63 / 64
    assert all(lower < upper for lower, upper in pairs)


def test_silent_ticks_only_save_up_mass() -> None:
    """Three ticks without inputs and one with are one tick with four times the mass."""
    waited = run(betting(0.1), [(0, 0), (0, 0), (0, 0), (10, 3)])
    at_once = tick(betting(0.1), 10, 3, mass=4.0)

    assert waited == at_once


def test_huge_counts_neither_overflow_nor_turn_into_nan() -> None:
    """Wealth lives in logarithms."""
    lost = tick(betting(0.05), 10**9, 0)
    won = tick(lost, 10**9, 10**9)

    assert lost.log_wealth < -1e6
    assert won.log_wealth > 1e6
    assert math.isfinite(won.log_wealth)


def test_state_survives_json_bit_for_bit() -> None:
    """A new detector, one without inputs yet, and one in the middle."""
    for detector in (
        betting(0.1),
        tick(betting(0.1), 0, 0, mass=0.3),
        run(betting(0.07), [(97, 11), (13, 0), (1, 1)], mass=0.123),
    ):
        assert from_json(json.loads(json.dumps(to_json(detector), allow_nan=False))) == detector


def test_a_long_history_is_shortened_and_still_replays() -> None:
    """The folded ticks live on in the wealth that the kept ones start from."""
    detector = run(betting(0.1), [(7, n % 2) for n in range(3 * HISTORY)])

    replayed = detector.start
    for kept in detector.ticks:
        replayed = after_tick(replayed, detector.terms, kept)
    assert len(detector.ticks) <= HISTORY
    assert replayed == detector.standing


def test_the_change_is_located() -> None:
    """Where the strongest component restarted last: close to the first bad tick."""
    detector = betting(0.1)
    for second in range(300):
        detector = tick(detector, 20, 1 if second < 200 else 7, at_us=second * 1_000_000)

    assert detector.change_us is not None
    assert 195 <= detector.change_us / 1e6 <= 202


def test_used_up_evidence_restarts_the_search_for_the_change() -> None:
    """One disagreement is outweighed by five agreements; the next tick begins a new search."""
    detector = betting(0.1, 2 / 9)
    changes = []
    for second, disagreement in enumerate((1, 0, 0, 0, 0, 0, 1, 1)):
        detector = tick(detector, 1, disagreement, at_us=second)
        changes.append(detector.change_us)

    assert changes == [0, 0, 0, 0, 0, 0, 6, 6]


def test_a_detector_without_inputs_knows_no_change() -> None:
    """There is nothing to locate."""
    assert betting(0.1).change_us is None


def _alarms(rate: float, ticks: int, seed: int, limit: float) -> int:
    """False alarms of one stream at the null's boundary, restarted after each."""
    generator, detector, alarms = np.random.default_rng(seed), betting(0.1), 0
    for disagreements in generator.binomial(20, rate, size=ticks):
        detector = tick(detector, 20, int(disagreements))
        if detector.log_wealth >= limit:
            alarms, detector = alarms + 1, betting(0.1)
    return alarms


def test_false_alarms_stay_within_their_budget() -> None:
    """40 streams of 500 ticks at the boundary, A = 1000: at most 20 are expected, and about 8 come."""
    assert sum(_alarms(0.1, 500, seed, math.log(1000)) for seed in range(40)) <= 20


def test_a_stream_inside_its_null_is_quiet() -> None:
    """Disagreement of 6 % against a null of 10 %: no alarm in 20,000 ticks at A = 10,000."""
    assert sum(_alarms(0.06, 1000, seed, math.log(10_000)) for seed in range(20)) == 0


@pytest.mark.parametrize(("rate", "ticks"), [(0.35, 12), (0.2, 40)])
def test_a_change_is_found_soon(rate: float, ticks: int) -> None:
    """After 300 quiet ticks of 20 inputs, at an A of 1e6, for 20 of 20 seeds."""
    for seed in range(20):
        generator, detector = np.random.default_rng(seed), betting(0.1)
        detector = run(detector, [(20, int(k)) for k in generator.binomial(20, 0.08, size=300)])
        after = run(detector, [(20, int(k)) for k in generator.binomial(20, rate, size=ticks)])
        assert detector.log_wealth < math.log(1e6) <= after.log_wealth
