"""Runs in the comparators' own environment: a library's detector over streams of 0/1 losses.

Reads a .npz with `tuning` and `null` [streams, steps] and one array a change, named by it; tunes one parameter to a
rate of false alarms; writes what it found as JSON to standard output.
"""

import json
import math
import sys
import time
import warnings

import numpy as np

TRIES = 7  # halvings of the parameter's range


def main():
    name, path, wanted = sys.argv[1], sys.argv[2], float(sys.argv[3])
    streams = dict(np.load(path))
    tuning, null = streams.pop("tuning"), streams.pop("null")
    default, spread, first_of = DETECTORS[name]
    tuned, tuned_rate = default, None
    if spread is not None:
        tuned, tuned_rate = tune(first_of, tuning, spread, wanted)
    said = {"library": VERSIONS[name](), "tuned_to": tuned, "rate_in_tuning": tuned_rate}
    for table, value in (("default", default), ("tuned", tuned)):
        started = time.perf_counter()
        alarms = count(first_of, value, null)
        seconds = time.perf_counter() - started
        said[table] = {
            "false_alarms": alarms,
            "updates": int(null.size),
            "microseconds_an_update": seconds / null.size * 1e6,
            "first": {change: first_alarms(first_of, value, some) for change, some in streams.items()},
        }
    print(json.dumps(said))


def tune(first_of, streams, spread, wanted):
    """The parameter whose false alarms come closest to what is wanted; larger values mean more of them."""
    low, high = spread
    best = (math.inf, low, 0.0)
    for _ in range(TRIES):
        middle = math.exp((math.log(low) + math.log(high)) / 2)
        rate = count(first_of, middle, streams) / streams.size
        best = min(best, (abs(math.log((rate + 1e-9) / wanted)), middle, rate))
        low, high = (low, middle) if rate > wanted else (middle, high)
    return best[1], best[2]


def count(first_of, value, streams):
    """False alarms, each detector beginning anew after an alarm."""
    alarms = 0
    for stream in streams:
        start = 0
        while start < len(stream):
            first = first_of(value, stream[start:])
            if not first:
                break
            alarms, start = alarms + 1, start + first
    return alarms


def first_alarms(first_of, value, streams):
    """By stream the step, from 1, of the first alarm; 0 for none."""
    return [first_of(value, stream) for stream in streams]


def river(make):
    def first_of(value, stream):
        detector = make(value)
        update = detector.update
        for step, loss in enumerate(stream.tolist(), 1):
            update(loss)
            if detector.drift_detected:
                return step
        return 0

    return first_of


def mapie(value, stream):
    """All at once, which its own updates would compute anew at each; the threshold is 5 % and `value` / 1000."""
    from mapie.exchangeability_testing import RiskMonitoring

    monitor = RiskMonitoring(risk="accuracy", threshold=0.05 + offset(value), warn=False)
    losses = stream.astype(int)
    monitor.update(np.ones_like(losses), 1 - losses)
    hits = monitor.online_risk_lower_bound_sequence_history > monitor.threshold
    return int(hits.argmax()) + 1 if hits.any() else 0


def offset(value):
    """1 is the library's tolerance of 5 points, 100 is none at all, and above it the threshold lies below 5 %."""
    return 0.05 - 0.05 * math.log10(value) / 2


def _version(package):
    from importlib.metadata import version

    return f"{package} {version(package)}"


def _adwin(value):
    from river import drift

    return drift.ADWIN(delta=value)


def _page_hinkley(value):
    from river import drift

    return drift.PageHinkley(threshold=1 / value, mode="both" if value == 1 / 50 else "up")


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


# name: its default, the range of its parameter (None: not tuned), first alarm of a stream
DETECTORS = {
    "ADWIN": (0.002, (1e-4, 0.999), river(_adwin)),
    "PageHinkley": (1 / 50, (1 / 200, 1 / 2), river(_page_hinkley)),
    "DDM": (1 / 3, (1 / 12, 1 / 1.5), river(_ddm)),
    "EDDM": (0.9, (0.2, 0.94), river(_eddm)),
    "HDDMA": (0.001, (1e-6, 0.5), river(_hddm_a)),
    "HDDMW": (0.001, (1e-12, 0.999), river(_hddm_w)),
    "KSWIN": (0.005, None, river(_kswin)),
    "MAPIE": (1.0, (1.0, 300.0), mapie),
}
VERSIONS = {name: lambda: _version("river") for name in DETECTORS} | {"MAPIE": lambda: _version("mapie")}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
