"""The dashboards as code: `python deploy/grafana/build.py` writes dashboards/*.json beside this file.

Grafana 10 and later read the files.
"""

import json
import sys
from pathlib import Path
from typing import Any

import reliability
import students
from panels import dashboard, variable

FOLDER = Path(__file__).parent / "dashboards"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in dashboards().items():
        (folder / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    of_students = [
        variable("task", "stillgate_slices"),
        variable("artifact", f"stillgate_stage_info{{{students.OF_TASK}}}"),
        variable("slice", f"stillgate_slice_pairs{{{students.OF_TASK}}}"),
    ]
    return {
        "reliability.json": dashboard(
            "stillgate-reliability", "Stillgate: path, record, shadow", reliability.ROWS, []
        ),
        "students.json": dashboard("stillgate-students", "Stillgate: students", students.ROWS, of_students),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
