"""A student's certificate as people see it: what each line proves, whether it still holds, and what it saves."""

from dataclasses import asdict
from typing import Any

from sqlmodel import Session

from ledger.artifacts import CertifiedSlice, Manifest
from ledger.certificates import (
    DAY_US,
    Standing,
    certified_rows,
    standings,
    valid_thresholds,
    void_slices,
)
from ledger.clock import now_us
from ledger.configuration import FallbackSection, TaskSection
from monitor.certificate import saved_share
from monitor.intervals import INTERVAL_ALPHA, lower_bound


def certificate_view(
    session: Session, task: TaskSection, artifact: str, manifest: Manifest
) -> dict[str, Any]:
    """`thresholds` are those that hold now; `void` says of each line that does not why."""
    certificate = manifest.certificate
    lines = standings(certificate, certified_rows(session, task.name, artifact), task, now_us())
    return {
        "max_disagreement": certificate.max_disagreement,
        "delta": certificate.delta,
        "teacher_epoch": certificate.teacher_epoch,
        "issued_at_us": certificate.issued_at_us,
        "thresholds": valid_thresholds(certificate, lines),
        "void_slices": sorted(void_slices(certificate, lines)),
        "lines": [
            _line(name, certificate.slices[name], lines[name], task.fallback) for name in sorted(lines)
        ],
        **_savings(certificate.served, certificate.drawn, task.fallback),
    }


def void_sentences(view: dict[str, Any]) -> list[str]:
    """One sentence for each reason, with the slices that it concerns."""
    slices: dict[str, list[str]] = {}
    for line in view["lines"]:
        if line["cause"] is not None:
            slices.setdefault(f"{line['cause'].replace('_', ' ')}: {line['reason']}", []).append(
                line["slice"]
            )
    return [f"the certificate is void for {', '.join(names)} ({why})" for why, names in slices.items()]


def void_by_slice(view: dict[str, Any]) -> dict[str, str]:
    """Why a slice, or each member of a pool, is not served any more."""
    return {
        member: line["reason"]
        for line in view["lines"]
        if line["cause"] is not None
        for member in line["pool"] or (line["slice"],)
    }


def _line(name: str, line: CertifiedSlice, standing: Standing, fallback: FallbackSection) -> dict[str, Any]:
    days = fallback.certificate_days
    until = None if days is None else standing.certified_at_us + int(days * DAY_US)
    kept = {key: value for key, value in asdict(standing).items() if key != "confidence"}
    return {"slice": name, **line.model_dump(), **kept, "valid_until_us": until if standing.holds else None}


def _savings(served: int, drawn: int, fallback: FallbackSection) -> dict[str, float | None]:
    """At the lower end of the share of held-out pairs that it would have served."""
    low = lower_bound(served, drawn, INTERVAL_ALPHA / 2)
    saved = saved_share(low, fallback.student_cost, fallback.audit_share)
    return {"served_low": low if drawn else None, "saved_low": saved if drawn else None}
