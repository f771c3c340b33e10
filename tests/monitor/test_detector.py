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
    after_tick,
    bets_for,
    from_json,
    log_mean,
    new_detector,
    to_json,
    update,
)

STREAM = (0, 0, 1, 0, 1, 1, 0, 0, 1, 1)


def run(detector: Detector, ticks: list[tuple[int, int]], mass: float = 1.0) -> Detector:
    return reduce(lambda d, tick: update(d, mass, tick[0], tick[1], 0), ticks, detector)


def test_one_observation_a_tick_is_the_shiryaev_roberts_recursion() -> None:
    """M = (M + 1) L with one bet, and e-CUSUM's C = max(C, 1) L beside it."""
    after_6 = run(new_detector(0.1, [2 / 9]), [(1, x) for x in STREAM[:6]])
    after_10 = run(after_6, [(1, x) for x in STREAM[6:]])

    assert math.exp(after_6.log_wealth) == pytest.approx(69.037037037, rel=1e-10)
    assert math.exp(after_6.log_cusum_by_bet[0]) == pytest.approx(21.0, rel=1e-10)
    assert math.exp(after_10.log_wealth) == pytest.approx(400.3127572016, rel=1e-10)
    assert math.exp(after_10.log_cusum_by_bet[0]) == pytest.approx(114.3333333333, rel=1e-10)


def test_without_restarts_it_is_an_e_process() -> None:
    """Mass 1 before the first observation and none later."""
    first = update(new_detector(0.1, [2 / 9]), 1.0, 1, STREAM[0], 0)
    last = run(first, [(1, x) for x in STREAM[1:]], mass=0.0)

    assert math.exp(last.log_wealth) == pytest.approx(69.1646090535, rel=1e-10)


def test_a_mixture_is_the_mean_of_its_components() -> None:
    """Bets for 0.2 and 0.4 against 0.1."""
    mixture = run(new_detector(0.1, [1 / 9, 3 / 9]), [(1, x) for x in STREAM])

    components = [math.exp(value) for value in mixture.log_wealth_by_bet]
    assert components == pytest.approx([103.1261155989, 896.378600823], rel=1e-10)
    assert math.exp(mixture.log_wealth) == pytest.approx(499.7523582110, rel=1e-10)


def test_ticks_of_a_hundred() -> None:
    """The tick form needs the counts alone."""
    detector = new_detector(0.05, [0.02, 0.1, 0.3])
    wealth = []
    for disagreements in (5, 9, 12, 15):
        detector = update(detector, 1.0, 100, disagreements, 0)
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
        new_detector(m0)


def test_silent_ticks_only_save_up_mass() -> None:
    """Three ticks without inputs and one with are one tick with four times the mass."""
    waited = run(new_detector(0.1), [(0, 0), (0, 0), (0, 0), (10, 3)])
    at_once = update(new_detector(0.1), 4.0, 10, 3, 0)

    assert waited == at_once


def test_huge_counts_neither_overflow_nor_turn_into_nan() -> None:
    """Wealth lives in logarithms."""
    lost = update(new_detector(0.05), 1.0, 10**9, 0, 0)
    won = update(lost, 1.0, 10**9, 10**9, 0)

    assert lost.log_wealth < -1e6
    assert won.log_wealth > 1e6
    assert math.isfinite(won.log_wealth)


def test_state_survives_json_bit_for_bit() -> None:
    """A new detector, one without inputs yet, and one in the middle."""
    for detector in (
        new_detector(0.1),
        update(new_detector(0.1), 0.3, 0, 0, 0),
        run(new_detector(0.07), [(97, 11), (13, 0), (1, 1)], mass=0.123),
    ):
        assert from_json(json.loads(json.dumps(to_json(detector), allow_nan=False))) == detector


def test_a_long_history_is_shortened_and_still_replays() -> None:
    """The folded ticks live on in the wealth that the kept ones start from."""
    detector = run(new_detector(0.1), [(7, n % 2) for n in range(3 * HISTORY)])

    replayed = detector.start
    for tick in detector.ticks:
        replayed = after_tick(replayed, detector.m0, detector.bets, tick)
    assert len(detector.ticks) <= HISTORY
    assert replayed == detector.log_wealth_by_bet
    assert log_mean(replayed) == detector.log_wealth


def test_the_change_is_located() -> None:
    """Where the strongest component restarted last: close to the first bad tick."""
    detector = new_detector(0.1)
    for second in range(300):
        detector = update(detector, 1.0, 20, 1 if second < 200 else 7, second * 1_000_000)

    assert detector.change_us is not None
    assert 195 <= detector.change_us / 1e6 <= 202


def test_used_up_evidence_restarts_the_search_for_the_change() -> None:
    """One disagreement is outweighed by five agreements; the next tick begins a new search."""
    detector = new_detector(0.1, [2 / 9])
    changes = []
    for second, disagreement in enumerate((1, 0, 0, 0, 0, 0, 1, 1)):
        detector = update(detector, 1.0, 1, disagreement, second)
        changes.append(detector.change_us)

    assert changes == [0, 0, 0, 0, 0, 0, 6, 6]


def test_a_detector_without_inputs_knows_no_change() -> None:
    """There is nothing to locate."""
    assert new_detector(0.1).change_us is None


def _alarms(rate: float, ticks: int, seed: int, limit: float) -> int:
    """False alarms of one stream at the null's boundary, restarted after each."""
    generator, detector, alarms = np.random.default_rng(seed), new_detector(0.1), 0
    for disagreements in generator.binomial(20, rate, size=ticks):
        detector = update(detector, 1.0, 20, int(disagreements), 0)
        if detector.log_wealth >= limit:
            alarms, detector = alarms + 1, new_detector(0.1)
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
        generator, detector = np.random.default_rng(seed), new_detector(0.1)
        detector = run(detector, [(20, int(k)) for k in generator.binomial(20, 0.08, size=300)])
        after = run(detector, [(20, int(k)) for k in generator.binomial(20, rate, size=ticks)])
        assert detector.log_wealth < math.log(1e6) <= after.log_wealth
