"""How large the rows are, and from which seed they draw: STILLGATE_SCALE and STILLGATE_SEED."""

import os
import random
from typing import Literal, get_args

Scale = Literal["test", "reliability", "soak"]


def scale() -> Scale:
    """`test` is part of `make test`, `reliability` fits three quarters of an hour, `soak` has the full sizes."""
    named = os.environ.get("STILLGATE_SCALE", "test")
    for known in get_args(Scale):
        if named == known:
            return known
    raise ValueError(f"STILLGATE_SCALE = {named!r} is unknown; it is one of {', '.join(get_args(Scale))}")


def sized(test: int, reliability: int, soak: int) -> int:
    """The size of a row at the present scale."""
    return {"test": test, "reliability": reliability, "soak": soak}[scale()]


def seed_of_run() -> int:
    """STILLGATE_SEED, else 1 within `make test`, else a fresh one: every row prints it, so that it can be
    run again."""
    told = os.environ.get("STILLGATE_SEED")
    if told is not None:
        return int(told)
    return 1 if scale() == "test" else random.SystemRandom().randrange(2**31)
