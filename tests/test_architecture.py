"""docs/architecture.md and the code say the same."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "student", "gateway", "monitor", "distill", "stillgate")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^\| (\d+) \| (.+?) \| `([a-z_.]+)` \| (.+?) \|$", ARCHITECTURE, re.MULTILINE)


def source_of(module: str) -> Path:
    """The file, or the package's `__init__`, without importing it."""
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names_in(path: Path) -> set[str]:
    """Classes and functions defined, and names imported, in a file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
    return names


def test_the_way_of_one_exchange_is_numbered_without_gaps() -> None:
    """The table is the whole way, in order."""
    assert [int(number) for number, *_ in STEPS] == list(range(1, 22))


@pytest.mark.parametrize(("step", "module", "gives"), [step[1:] for step in STEPS])
def test_each_step_has_its_module(step: str, module: str, gives: str) -> None:
    """The module exists and knows the type that the step gives."""
    path = source_of(module)
    assert path.is_file(), f"{step}: {module} does not exist"

    known = names_in(path)
    types = {name.split(".")[-1] for name in re.findall(r"`([\w.]+)`", gives)}
    if path.name == "__init__.py":
        known = set().union(*(names_in(file) for file in path.parent.glob("*.py")))
    assert types <= known, f"{step}: {module} knows nothing of {types - known}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is(package: str) -> None:
    """A reader who opens any file learns from its first line what it holds."""
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


def test_serving_needs_no_torch() -> None:
    """Every module outside distill can be found without a training library being imported by it."""
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in PACKAGES
        if package != "distill"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
        if name.split(".")[0] in ("torch", "transformers", "sklearn", "onnx")
    ]

    assert offenders == []


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module]
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_can_be_found(package: str) -> None:
    """What pyproject.toml installs is importable by its name."""
    assert importlib.util.find_spec(package) is not None
