"""Runs in the comparators' own environment: a library's detector over streams of 0/1 losses.

Reads a .npz with `tuning` and `null` [streams, steps], and for each change the array of its name and, under
`moments of NAME`, where each run changes. Tunes one parameter to a rate of false alarms; writes what it found as JSON
to standard output.
"""

import copy
import functools
import json
import math
import multiprocessing
import sys
import time
import warnings

import numpy as np

FINE = 1.05  # the range of a parameter is halved until its ends are so near, unless DETECTORS says how near
TIMED = 2_000  # updates of an untouched library, for its microseconds
CHECKED = "to 25 %"  # the change on which shortcuts have to say what the untouched library says
MOMENTS = "moments of "


class River:
    """One of river's detectors: it forgets what it knew at the update after an alarm."""

    def __init__(self, detector):
        self.detector = detector

    def advance(self, losses):
        """The step, from 1, of the first alarm; 0 for none."""
        detector = self.detector
        update = detector.update
        for step, loss in enumerate(losses.tolist(), 1):
            update(loss)
            if detector.drift_detected:
                return step
        return 0


class Rises(River):
    """ADWIN tests both sides; this leaves out its alarms after which the rate that it estimates is lower."""

    before = 0.0

    def advance(self, losses):
        detector, before = self.detector, self.before
        update = detector.update
        for step, loss in enumerate(losses.tolist(), 1):
            update(loss)
            if detector.drift_detected and detector.estimation > before:
                return step
            before = detector.estimation
        self.before = before
        return 0


class Mapie:
    """MAPIE's monitor with a threshold that it is told."""

    def __init__(self, threshold):
        from mapie.exchangeability_testing import RiskMonitoring

        self.monitor = RiskMonitoring(risk="accuracy", threshold=threshold, warn=False)

    def advance(self, losses):
        """All at once: each of its updates computes the bounds of the whole past anew."""
        losses = losses.astype(int)
        self.monitor.update(np.ones_like(losses), 1 - losses)
        bounds = self.monitor.online_risk_lower_bound_sequence_history[-len(losses) :]
        hits = bounds > self.monitor.threshold
        return int(hits.argmax()) + 1 if hits.any() else 0


def main():
    asked = json.loads(sys.argv[1])
    name = asked["name"]
    with np.load(asked["path"]) as file:
        streams = dict(file)
    tuning, null = (streams.pop(which)[: asked["streams"]] for which in ("tuning", "null"))
    default, spread, make = DETECTORS[name]
    microseconds = timed(make(default or spread[0]), null[0])
    with_shortcuts(lambda: [make(spread[1]).advance(stream) for stream in streams[CHECKED][:3]])
    crew = Crew(asked["processes"])
    tuned, alarms = tune(make, tuning, spread, asked["rate"], crew)
    back = LOOKS_BACK.get(name, math.inf)
    said = {
        "library": VERSIONS[name](),
        "tuned_to": tuned,
        "in_tuning": alarms / tuning.size,
        "microseconds": microseconds,
        "tuned": seen(lambda: make(tuned), null, streams, asked["runs"], back, crew),
    }
    if default is not None:
        said["default"] = seen(lambda: make(default), null, streams, asked["runs_of_defaults"], back, crew)
    print(json.dumps(said))


def timed(detector, stream):
    """Microseconds an update."""
    updates = stream[:TIMED]
    started = time.perf_counter()
    detector.advance(updates)
    return (time.perf_counter() - started) / len(updates) * 1e6


class Crew:
    """So many processes that share a list of work; they are forked, and see what its function closes over."""

    work = None

    def __init__(self, processes=1):
        self.processes = processes

    def map(self, function, of):
        if self.processes == 1:
            return [function(each) for each in of]
        Crew.work = staticmethod(function)
        with multiprocessing.get_context("fork").Pool(self.processes) as pool:
            return pool.map(_work, of, chunksize=1)


def _work(each):
    return Crew.work(each)


def seen(new, null, streams, runs, back, crew):
    """False alarms by stream, and by change the first alarm of each run."""
    changes = {name: codes for name, codes in streams.items() if not name.startswith(MOMENTS)}

    def first_alarms(run):
        """What the changes have in common before them is fed once."""
        first, quiet = {}, {}  # quiet: what came before -> a detector that has seen it, and its alarm
        for name, codes in changes.items():
            moment = int(streams[MOMENTS + name][run])
            begin = max(0, moment - back)
            before = codes[run, begin:moment]
            if before.tobytes() not in quiet:
                detector = new()
                quiet[before.tobytes()] = detector, detector.advance(before)
            detector, early = quiet[before.tobytes()]
            first[name] = begin + early if early else beyond(copy.deepcopy(detector), codes[run], moment)
        return first

    firsts = crew.map(first_alarms, range(runs))
    return {
        "false_alarms": crew.map(lambda stream: count(new, stream), null),
        "steps": null.shape[1],
        "first": {name: [first[name] for first in firsts] for name in changes},
    }


def beyond(detector, stream, moment):
    found = detector.advance(stream[moment:])
    return moment + found if found else 0


def tune(make, streams, spread, wanted, crew):
    """The largest value found whose false alarms are at most what is wanted, else the smallest; larger have more."""
    low, high, *fine = spread
    allowed = wanted * streams.size
    best = low, alarms_up_to(make, low, streams, math.inf, crew)
    while high / low > (fine or [FINE])[0]:
        middle = math.exp((math.log(low) + math.log(high)) / 2)
        alarms = alarms_up_to(make, middle, streams, allowed, crew)
        if alarms <= allowed:
            low, best = middle, (middle, alarms)
        else:
            high = middle
    return best


def alarms_up_to(make, value, streams, allowed, crew):
    """False alarms over all streams; stops counting when there are more than allowed."""
    alarms = seen = 0
    while seen < len(streams) and alarms <= allowed:
        some = streams[seen : seen + crew.processes]
        alarms += sum(crew.map(lambda stream: count(lambda: make(value), stream), some))
        seen += len(some)
    return alarms


def count(new, stream):
    """False alarms of one stream, with a new detector after each."""
    alarms = start = 0
    while start < len(stream) and (first := new().advance(stream[start:])):
        alarms, start = alarms + 1, start + first
    return alarms


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


# name: its default or None, the range of its parameter and how finely it is searched, what makes it
DETECTORS = {
    "ADWIN": (0.002, (1e-4, 0.999), lambda value: River(_adwin(value))),
    "ADWIN for rises": (None, (1e-4, 0.999), lambda value: Rises(_adwin(value))),
    "PageHinkley": (1 / 50, (1 / 200, 1 / 2), lambda value: River(_page_hinkley(value))),
    "DDM": (1 / 3, (1 / 20, 1 / 1.5), lambda value: River(_ddm(value))),
    "EDDM": (0.9, (0.01, 0.94), lambda value: River(_eddm(value))),
    "HDDMA": (0.001, (1e-6, 0.999), lambda value: River(_hddm_a(value))),
    "HDDMW": (0.001, (1e-12, 0.999), lambda value: River(_hddm_w(value))),
    "KSWIN": (0.005, (0.01, 0.4, 1.5), lambda value: River(_kswin(value))),  # few p-values
    "MAPIE": (1 / 0.1, (1 / 0.1, 1 / 0.03, 1.005), lambda value: Mapie(1 / value)),
}
VERSIONS = {name: lambda: _version("river") for name in DETECTORS} | {"MAPIE": lambda: _version("mapie")}
LOOKS_BACK = {"KSWIN": 500}  # its window holds 100 losses and knows of nothing else

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
