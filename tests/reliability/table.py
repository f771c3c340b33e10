"""docs/reliability.md out of what the rows wrote: `python -m tests.reliability.table RESULTS`."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]
SUMMED = ("requests", "answered", "dropped", "wrong", "unaccounted", "leaked")
COLUMNS = ("row", "case", "size", "outcome", "answered / requests", *SUMMED[2:], "other figures", "seed")
_HEAD = """# Reliability

What was done to a running gateway, and what came of it. Written by `make reliability`; nothing here is typed by hand.
The rows are in tests/reliability/, each a test: the load and every fault meet real processes. After each row the views
of its callers, of the teacher, of the exchange file and of /metrics are laid side by side:

- **wrong**: answers that differ from the teacher's, belong to another request, or were cut and taken for whole;
- **unaccounted**: requests that are neither recorded nor counted as dropped with a reason;
- **leaked**: descriptors, threads and open requests that stayed after the row.

`STILLGATE_SEED=<seed> STILLGATE_SCALE=reliability python -m pytest '<test>'` runs a row again.
Latencies are of this machine, which ran the load, the teacher and the gateway on the same cores.
"""


def document(lines: Sequence[Line], circumstances: str) -> str:
    """The whole page."""
    rows = sorted((line for line in lines if line["row"]), key=_place)
    others = [line for line in lines if not line["row"]]
    failed = [line for line in lines if line["outcome"] not in ("passed", "skipped")]
    skipped = [line for line in lines if line["outcome"] == "skipped"]
    minutes = sum(line["seconds"] for line in lines) / 60
    totals = {name: sum(line["figures"].get(name, 0) for line in rows) for name in SUMMED}
    return "\n".join(
        [
            _HEAD,
            f"{circumstances}.",
            "",
            f"{len(lines)} tests in {minutes:.0f} minutes: {len(failed)} failed, {len(skipped)} not run.",
            ", ".join(f"{totals[name]:,} {name}" for name in SUMMED) + ".",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *map(_row, rows),
            "",
            "## Tests without a row of their own",
            "",
            "| test | what it says | outcome |",
            "|---|---|---|",
            *(f"| `{_name(line)}` | {_plain(line['case'])} | {line['outcome']} |" for line in others),
            "",
        ]
    )


def _row(line: Line) -> str:
    figures = dict(line["figures"])
    told = {name: figures.pop(name, "") for name in SUMMED}
    answered = f"{told['answered']} / {told['requests']}" if told["requests"] != "" else ""
    others = ", ".join(f"{name} {value}" for name, value in figures.items())
    variant = re.search(r"\[(.+)\]$", line["test"])
    case = _plain(line["case"]) + (f" ({variant[1]})" if variant else "")
    cells = [line["row"], case, line["size"], line["outcome"], answered, told["dropped"], told["wrong"]]
    cells += [told["unaccounted"], told["leaked"], others, line["seed"]]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _place(line: Line) -> tuple[str, int, str]:
    """Load, faults, input; each by number."""
    letter, number = line["row"][0], re.sub(r"\D", "", line["row"])
    return str("LFB".find(letter)), int(number or 0), line["test"]


def _name(line: Line) -> str:
    return str(line["test"]).removeprefix("tests/")


def _plain(text: str) -> str:
    return text.replace("|", "/")


def main() -> None:
    first, *lines = map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    print(document(lines, first["circumstances"]), end="")  # noqa: T201


if __name__ == "__main__":
    main()
