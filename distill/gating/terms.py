"""What the gate of a task asks for, as one digest that a sponsor can sign, and whether somebody did.

Without a [task.signature] section the sponsor's standing policy is taken from [task.governance]: the sponsor has
accepted whatever the file asks for, and the driver is behind automatic jobs.
"""

import hashlib
from typing import Any

import orjson

from ledger.configuration import SignatureSection, TaskSection

ARTIFACTS = ("fp32", "int8-weights", "int8-dynamic")  # Manifest.precision, in the order of judgement
SIGNED_DIGITS = 12  # of the digest, the least that a signature has to name


class Unsigned(Exception):
    """Nobody with the right to do so signed what this gate asks for; the message says the way out."""


def terms_of(task: TaskSection) -> dict[str, Any]:
    """Everything that decides what passes, but for the rows."""
    return {
        "task": task.name,
        "teacher_version": task.teacher.version,
        "classes": task.classes,
        "gate": task.gate.model_dump(),
        "fallback": task.fallback.model_dump(),
        "slices": [section.model_dump(mode="json") for section in task.slice],
        "criteria": task.criteria.model_dump(mode="json", exclude={"behaviour_file"})
        | {"behaviour": _digest_of_behaviour(task)},
        "fairness": None if task.fairness is None else task.fairness.model_dump(mode="json"),
        "play": None if task.play is None else task.play.model_dump(mode="json"),
        "looks": looks_of(task),
        "artifacts": ARTIFACTS,
    }


def terms_digest(task: TaskSection) -> str:
    return hashlib.sha256(orjson.dumps(terms_of(task), option=orjson.OPT_SORT_KEYS)).hexdigest()


def looks_of(task: TaskSection) -> int:
    """How many candidates may look at one locked gate, each at alpha divided by so many."""
    return task.gate.looks or max(1, len(task.candidate))


def signature_of(task: TaskSection) -> dict[str, Any]:
    """Who signed, under which policy, and who drives automatic jobs. Raises Unsigned."""
    section, digest = task.signature, terms_digest(task)
    if section is None:
        return {
            "policy": "standing",
            "signed_by": task.governance.sponsor,
            "signed_on": None,
            "driver": task.driver,
            "source": "[task.governance]",
            "terms": digest,
        }
    if section.policy == "terms":
        _check_terms(task, section, digest)
    return {
        "policy": section.policy,
        "signed_by": section.signed_by,
        "signed_on": section.signed_on.isoformat(),
        "driver": task.driver,
        "source": "[task.signature]",
        "terms": digest,
    }


def _check_terms(task: TaskSection, section: SignatureSection, digest: str) -> None:
    if section.terms is not None and digest.startswith(section.terms):
        return
    said = "names no terms" if section.terms is None else f"is for other terms ({section.terms})"
    raise Unsigned(
        f"task {task.name}: the signature of {section.signed_by} {said}; what the gate asks for now has the digest"
        f' {digest}. Once the sponsor agrees with it, set terms = "{digest[:SIGNED_DIGITS]}" in [task.signature].'
    )


def _digest_of_behaviour(task: TaskSection) -> str | None:
    """Of the file's bytes, where it can be read: other tests are other terms."""
    path = task.criteria.behaviour_file
    if path is None or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
