"""`stillgate init`: a commented configuration file to begin with."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from stillgate.exits import Exit
from stillgate.options import fail, out, talk

FILE_NAME = "stillgate.toml"


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("."),
) -> None:
    """Write a commented stillgate.toml; an existing one is never touched."""
    path = directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        fail(f"{path} exists and is left as it is; choose another directory or move it away", Exit.FAILED)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", Exit.FAILED)
    out.print(str(path), markup=False)
    talk.print("Fill in the teacher, its classes and the persons, then: stillgate check && stillgate up")


def template() -> str:
    return files("stillgate").joinpath("template.toml").read_text(encoding="utf-8")
