"""Runs in the comparators' own environment: a library's detector over streams of 0/1 losses.

Reads a .npz with `tuning` and `null` [streams, steps], and for each change the array of its name and, under
`moments of NAME`, where each run changes. Tunes one parameter to a rate of false alarms; writes what it found as JSON
to standard output.
"""

import functools
import json
import math
import sys
import time
import warnings

import numpy as np

TRIES = 9  # halvings of the parameter's range
TIMED = 2_000  # updates of an untouched library, for its microseconds
CHECKED = "to 25 %"  # the change on which shortcuts have to say what the untouched library says
MOMENTS = "moments of "


def main():
    asked = json.loads(sys.argv[1])
    name, part = asked["name"], asked["part"]
    with np.load(asked["path"]) as file:
        streams = dict(file)
    tuning, null = (streams.pop(which)[: len(streams_of) // part] for which, streams_of in _nulls(streams))
    default, spread, first_of = DETECTORS[name]
    microseconds = timed(first_of, default or spread[0], null[0])
    with_shortcuts(lambda: [first_of(default or spread[1], stream) for stream in streams[CHECKED][:3]])
    tuned, alarms = tune(first_of, tuning, spread, asked["rate"])
    said = {
        "library": VERSIONS[name](),
        "tuned_to": tuned,
        "in_tuning": alarms / tuning.size,
        "microseconds": microseconds,
        "tuned": seen(name, tuned, null, streams, asked["runs"]),
    }
    if default is not None:
        said["default"] = seen(name, default, null, streams, asked["runs_of_defaults"])
    print(json.dumps(said))


def _nulls(streams):
    return [(which, streams[which]) for which in ("tuning", "null")]


def timed(first_of, value, stream):
    """Microseconds an update."""
    updates = stream[:TIMED]
    started = time.perf_counter()
    first_of(value, updates)
    return (time.perf_counter() - started) / len(updates) * 1e6


def seen(name, value, null, streams, runs):
    """False alarms by stream, and by change the first alarms."""
    first_of = DETECTORS[name][2]
    return {
        "false_alarms": [count(first_of, value, stream) for stream in null],
        "steps": null.shape[1],
        "first": {
            change: [
                first_beyond(first_of, value, stream, first)
                for stream, first in zip(codes[:runs], begins(name, streams[MOMENTS + change]), strict=False)
            ]
            for change, codes in streams.items()
            if not change.startswith(MOMENTS)
        },
    }


def begins(name, moments):
    """Where each run is shown from: its beginning, but for a detector that looks back only so far."""
    back = LOOKS_BACK.get(name)
    return [0] * len(moments) if back is None else [max(0, moment - back) for moment in moments.tolist()]


def first_beyond(first_of, value, stream, begin):
    found = first_of(value, stream[begin:])
    return found + begin if found else 0


def tune(first_of, streams, spread, wanted):
    """The largest value found whose false alarms are at most what is wanted, else the smallest; larger have more."""
    low, high = spread
    allowed = wanted * streams.size
    best = low, alarms_up_to(first_of, low, streams, math.inf)
    for _ in range(TRIES):
        middle = math.exp((math.log(low) + math.log(high)) / 2)
        alarms = alarms_up_to(first_of, middle, streams, allowed)
        if alarms <= allowed:
            low, best = middle, (middle, alarms)
        else:
            high = middle
    return best


def alarms_up_to(first_of, value, streams, allowed):
    """False alarms over all streams; stops counting when there are more than allowed."""
    alarms = 0
    for stream in streams:
        alarms += count(first_of, value, stream)
        if alarms > allowed:
            break
    return alarms


def count(first_of, value, stream):
    """False alarms of one stream; the detector begins anew after each."""
    alarms = start = 0
    while start < len(stream) and (first := first_of(value, stream[start:])):
        alarms, start = alarms + 1, start + first
    return alarms


def river(make):
    def first_of(value, stream):
        """The step, from 1, of the first alarm; 0 for none."""
        detector = make(value)
        update = detector.update
        for step, loss in enumerate(stream.tolist(), 1):
            update(loss)
            if detector.drift_detected:
                return step
        return 0

    return first_of


def adwin_of_rises(value, stream):
    """ADWIN tests both sides; this leaves out its alarms after which the rate that it estimates is lower."""
    detector, before = _adwin(value), 0.0
    update = detector.update
    for step, loss in enumerate(stream.tolist(), 1):
        update(loss)
        if detector.drift_detected and detector.estimation > before:
            return step
        before = detector.estimation
    return 0


def mapie(value, stream):
    """A monitor that is told the threshold 1 / `value`: its bound on the risk so far, everything at once."""
    from mapie.exchangeability_testing import RiskMonitoring

    monitor = RiskMonitoring(risk="accuracy", threshold=1 / value, warn=False)
    losses = stream.astype(int)
    monitor.update(np.ones_like(losses), 1 - losses)
    hits = monitor.online_risk_lower_bound_sequence_history > monitor.threshold
    return int(hits.argmax()) + 1 if hits.any() else 0


def with_shortcuts(alarms):
    """What two libraries compute anew at every update, without a change in the alarms that they give.

    KSWIN's test of thirty 0/1 losses against thirty depends on how many of each are 1. MAPIE's bound searches for a
    root at every update; it is a smooth function of one number, here interpolated between 8,000 roots of its own.
    """
    expected = alarms()
    _remember_tests()
    _interpolate_bounds()
    found = alarms()
    if found != expected:
        sys.exit(f"with its shortcuts the detector says {found}, and without them {expected}")


def _remember_tests():
    from scipy import stats

    exact = stats.ks_2samp

    @functools.cache
    def of_counts(first, second, size, method):
        return exact([1] * first + [0] * (size - first), [1] * second + [0] * (size - second), method=method)

    stats.ks_2samp = lambda a, b, method: of_counts(sum(a), sum(b), len(a), method)


def _interpolate_bounds():
    from mapie.exchangeability_testing import bounds

    exact = bounds.GammaExponentialMixtureBound

    @functools.cache
    def roots(v_opt, c, alpha_opt, alpha):
        """At the squares of 0, 1/50, 2/50, ... 160."""
        bound = exact(v_opt=v_opt, c=c, alpha_opt=alpha_opt)
        return [bound(v=(step / 50) ** 2, alpha=alpha) for step in range(8_001)]

    class Interpolated:
        def __init__(self, v_opt, c, alpha_opt):
            self.terms = v_opt, c, alpha_opt

        def __call__(self, v, alpha):
            found, place = roots(*self.terms, alpha), math.sqrt(v) * 50
            low = int(place)
            return found[low] + (place - low) * (found[low + 1] - found[low])

    bounds.GammaExponentialMixtureBound = Interpolated


def _version(package):
    from importlib.metadata import version

    return f"{package} {version(package)}"


def _adwin(value):
    from river import drift

    return drift.ADWIN(delta=value)


def _page_hinkley(value):
    from river import drift

    return drift.PageHinkley(threshold=1 / value, mode="both" if value == 1 / 50 else "up")


def _page_hinkley_told(value):
    """Half-way between 5 % and 10 % in likelihood: what cumulative sums need for just that change."""
    from river import drift

    return drift.PageHinkley(threshold=1 / value, delta=0.0224, mode="up")


def _ddm(value):
    from river import drift

    return drift.binary.DDM(warning_threshold=min(2.0, 1 / value), drift_threshold=1 / value)


def _eddm(value):
    from river import drift

    return drift.binary.EDDM(alpha=max(0.95, value), beta=value)


def _hddm_a(value):
    from river import drift

    return drift.binary.HDDMA(drift_confidence=value, warning_confidence=max(0.005, value))


def _hddm_w(value):
    from river import drift

    return drift.binary.HDDMW(drift_confidence=value, warning_confidence=max(0.005, value))


def _kswin(value):
    from river import drift

    return drift.KSWIN(alpha=value, seed=1)


# name: its default or None, the range of its parameter, first alarm of a stream
DETECTORS = {
    "ADWIN": (0.002, (1e-4, 0.999), river(_adwin)),
    "ADWIN, rises alone": (None, (1e-4, 0.999), adwin_of_rises),
    "PageHinkley": (1 / 50, (1 / 200, 1 / 2), river(_page_hinkley)),
    "PageHinkley told of 10 %": (None, (1 / 50, 1 / 2), river(_page_hinkley_told)),
    "DDM": (1 / 3, (1 / 20, 1 / 1.5), river(_ddm)),
    "EDDM": (0.9, (0.01, 0.94), river(_eddm)),
    "HDDMA": (0.001, (1e-6, 0.999), river(_hddm_a)),
    "HDDMW": (0.001, (1e-12, 0.999), river(_hddm_w)),
    "KSWIN": (0.005, (1e-7, 0.3), river(_kswin)),
    "MAPIE": (1 / 0.1, (1 / 0.1, 1 / 0.03), mapie),
}
VERSIONS = {name: lambda: _version("river") for name in DETECTORS} | {"MAPIE": lambda: _version("mapie")}
LOOKS_BACK = {"KSWIN": 500}  # its window holds 100 losses and knows of nothing else

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
