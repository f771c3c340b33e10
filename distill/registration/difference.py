"""What differs between two students: their slices side by side, and every other value of their manifests."""

from collections.abc import Iterator, Mapping
from typing import Any

from ledger.artifacts import Manifest, SliceVerdict

IGNORED = ("gate", "certificate", "reference", "files")  # told slice by slice, or different in any case


def difference_of(old: Manifest, new: Manifest) -> dict[str, Any]:
    """Plain values; shares are points of agreement with the teacher on each student's own gate."""
    return {
        "slices": list(_slices(old, new)),
        "criteria": list(_criteria(old, new)),
        "served": [_served(old), _served(new)],
        "changed": dict(_changed(_plain(old), _plain(new), "")),
    }


def _slices(old: Manifest, new: Manifest) -> Iterator[dict[str, Any]]:
    before, now = ({one.slice: one for one in manifest.gate.verdicts} for manifest in (old, new))
    for name in dict.fromkeys([*before, *now]):
        sides = [_share(before.get(name)), _share(now.get(name))]
        yield {
            "slice": name,
            "old": sides[0],
            "new": sides[1],
            "change": None if None in sides else (sides[1] or 0.0) - (sides[0] or 0.0),
            "old_outcome": before[name].outcome if name in before else None,
            "new_outcome": now[name].outcome if name in now else None,
        }


def _share(verdict: SliceVerdict | None) -> float | None:
    return None if verdict is None or not verdict.pairs else verdict.agreements / verdict.pairs


def _criteria(old: Manifest, new: Manifest) -> Iterator[dict[str, Any]]:
    before, now = (
        {(row.criterion, row.name): row for row in manifest.gate.criteria} for manifest in (old, new)
    )
    for key in dict.fromkeys([*before, *now]):
        sides = before.get(key), now.get(key)
        yield {
            "criterion": key[0],
            "name": key[1],
            "old": None if sides[0] is None else sides[0].value,
            "new": None if sides[1] is None else sides[1].value,
            "old_outcome": None if sides[0] is None else sides[0].outcome,
            "new_outcome": None if sides[1] is None else sides[1].outcome,
        }


def _served(manifest: Manifest) -> float | None:
    certificate = manifest.certificate
    return certificate.served / certificate.drawn if certificate.drawn else None


def _plain(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(mode="json", exclude=set(IGNORED))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[tuple[str, list[Any]]]:
    """By dotted path, the two values where they differ."""
    for key in dict.fromkeys([*old, *new]):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _changed(before, now, f"{path}{key}.")
        elif before != now:
            yield f"{path}{key}", [before, now]
