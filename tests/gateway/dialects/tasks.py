"""Dialects bound to small tasks, and bodies for them."""

from typing import Any

import orjson

from gateway.dialects import dialect_of
from gateway.dialects.dialect import Asked, Dialect
from ledger.configuration import TaskSection
from ledger.exchange import Unpaired
from ledger.observation import Observation

CLASSES = ("a", "b", "c")
ONE, TWO = Observation((0.7, 0.2, 0.1)), Observation((0.1, 0.3, 0.6))

OPENAI = {"models": ["m", "other"]}
PLACES = {"text": "/inputs/0", "probabilities": "/scores"}
SECTIONS: dict[str, dict[str, Any]] = {
    "huggingface": {},
    "open-inference": {},
    "openai-chat": {"openai": OPENAI},
    "json": {"json": PLACES},
}


def task(dialect: str, classes: tuple[str, ...] = CLASSES, **sections: Any) -> TaskSection:
    return TaskSection.model_validate(
        {
            "name": "t",
            "classes": classes,
            "dialect": dialect,
            "paths": ["/p"],
            "teacher": {"url": "http://127.0.0.1:1", "version": "1"},
            "capture": {"inputs": "text"},
            "governance": dict.fromkeys(("owner", "sponsor", "driver", "validator", "operator"), "x"),
            **(sections or SECTIONS[dialect]),
        }
    )


def dialect(name: str, classes: tuple[str, ...] = CLASSES, **sections: Any) -> Dialect:
    return dialect_of(task(name, classes, **sections))


def ask(form: Dialect, document: Any) -> Asked | Unpaired:
    return form.parse_request(orjson.dumps(document))


def asked(form: Dialect, document: Any) -> Asked:
    found = ask(form, document)
    assert isinstance(found, Asked), found
    return found


def rendered(form: Dialect, said: tuple[Observation, ...], question: Asked, like: bytes) -> bytes:
    reply = form.render_reply(said, question, like)
    assert reply is not None
    return reply.body
