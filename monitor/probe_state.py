"""How what probes have shown lies in the control file: JSON from which every number reads back bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ledger.exchange_file import observations_json, read_observations
from monitor.detector_state import from_json, to_json
from monitor.probe_watch import Compared, Pass, ProbeWatch

FORMAT = 1


def plain(watch: ProbeWatch) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "probe_set": watch.probe_set,
        "since_us": watch.since_us,
        "references": {str(number): observations_json(said) for number, said in watch.references.items()},
        "versions": list(watch.versions),
        "fingerprints": list(watch.fingerprints),
        "going_on": _plain_pass(watch.going_on),
        "last": _plain_pass(watch.last),
        "passes": watch.passes,
        "baseline": asdict(watch.baseline),
        "total": asdict(watch.total),
        "failures": watch.failures,
        "detector": None if watch.detector is None else to_json(watch.detector),
    }


def read_watch(state: Mapping[str, Any]) -> ProbeWatch | None:
    """The inverse of plain; None for what another release wrote, so that the set begins anew."""
    if state.get("format") != FORMAT:
        return None
    detector = state["detector"]
    return ProbeWatch(
        state["probe_set"],
        state["since_us"],
        {int(number): read_observations(said) for number, said in state["references"].items()},
        tuple(state["versions"]),
        tuple(state["fingerprints"]),
        _read_pass(state["going_on"]),
        _read_pass(state["last"]),
        state["passes"],
        Compared(**state["baseline"]),
        Compared(**state["total"]),
        state["failures"],
        None if detector is None else from_json(detector),
    )


def _plain_pass(one: Pass | None) -> dict[str, Any] | None:
    return None if one is None else asdict(one) | {"asked": sorted(one.asked)}


def _read_pass(state: Mapping[str, Any] | None) -> Pass | None:
    if state is None:
        return None
    parts = {"asked": frozenset(state["asked"]), "compared": Compared(**state["compared"])}
    return Pass(**{**state, **parts})
