"""`stillgate init`: a file that can be used as it is written, and that names every setting."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ledger.configuration import Configuration, load
from stillgate.scaffold import template
from tests.stillgate.command import run


def test_init_writes_a_file_that_check_accepts(tmp_path: Path) -> None:
    """The path goes to standard output, the advice to standard error."""
    folder = tmp_path / "new" / "place"
    written = run("init", str(folder))
    assert (written.exit_code, written.stdout.strip()) == (0, str(folder / "stillgate.toml"))
    assert "stillgate check" in written.stderr
    assert load(folder / "stillgate.toml").task[0].name == "my_task"


def test_init_never_overwrites(tmp_path: Path) -> None:
    """What a person wrote stays."""
    path = tmp_path / "stillgate.toml"
    path.write_text("mine")
    refused = run("init", str(tmp_path))
    assert (refused.exit_code, path.read_text()) == (1, "mine")
    assert "left as it is" in refused.stderr


def test_init_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "file").write_text("")
    refused = run("init", str(tmp_path / "file"))
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)


def _sections(section: type[BaseModel]) -> set[type[BaseModel]]:
    """The section and all that stand in it."""
    found = {section}
    for field in section.model_fields.values():
        for part in _classes(field.annotation):
            found |= _sections(part)
    return found


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _classes(part)]


@pytest.mark.parametrize("section", sorted(_sections(Configuration), key=lambda s: s.__name__))
def test_the_template_names_every_setting(section: type[BaseModel]) -> None:
    """A setting that is not in it cannot be found by a newcomer."""
    text = template()
    for name, field in section.model_fields.items():
        is_section = bool(_classes(field.annotation))
        name = field.alias or name
        shown = f".{name}]" in text or f"[{name}]" in text if is_section else f"{name} = " in text
        assert shown, f"{section.__name__}.{name}"


def test_the_defaults_that_the_template_shows_are_the_defaults(tmp_path: Path) -> None:
    """With every commented setting of the deployment's own sections switched on, nothing changes."""
    head, _, tasks = template().partition("# --- one [[task]]")
    parts = [part if "\n# [" in f"\n{part}" else _switched_on(part) for part in head.split("\n\n")]
    (tmp_path / "plain.toml").write_text(template())
    (tmp_path / "stillgate.toml").write_text("\n\n".join(parts) + "\n# " + tasks)
    assert load(tmp_path / "stillgate.toml") == load(tmp_path / "plain.toml")


def _switched_on(part: str) -> str:
    """A section that is not commented out itself, with every setting in it."""
    lines = part.splitlines()
    return "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in lines
    )
