"""What an ONNX file may hold before ONNX Runtime sees it: operators from a list, no file beside it, no end of nesting.

Field numbers are those of onnx.proto (github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Set
from dataclasses import dataclass, field

from ledger.artifacts import ArtifactError
from student.operators import ALLOWED
from student.protobuf import Malformed, fields_of

MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
FUNCTION_NAME, FUNCTION_NODE, FUNCTION_DOMAIN = 1, 7, 10
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = 22, 23
SPARSE_VALUES, SPARSE_INDICES = 1, 2
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14

MOST_NODES = 100_000
MOST_DEPTH = 8  # graphs inside attributes inside graphs


@dataclass
class _Found:
    """What was met on the way through the file."""

    nodes: int = 0
    operators: set[tuple[str, str]] = field(default_factory=set)  # domain, operator
    functions: set[tuple[str, str]] = field(default_factory=set)  # that the file brings along


def check_graph(content: bytes, name: str) -> None:
    """Raises ArtifactError with the exact reason, for a file of this name."""
    try:
        found = _Found()
        for number, value in fields_of(memoryview(content)):
            if number == MODEL_GRAPH:
                _graph(_message(value), found, 0)
            elif number == MODEL_FUNCTIONS:
                _function(_message(value), found)
    except Malformed as error:
        raise ArtifactError(f"{name} is no ONNX file: {error}") from None
    except _Refused as error:
        raise ArtifactError(f"{name} is refused: {error}") from None
    if not found.nodes:
        raise ArtifactError(f"{name} is no ONNX file: it has no operators")
    _check_operators(found.operators - found.functions, name)


class _Refused(Exception):
    """Something in the file is not allowed."""


def _check_operators(operators: Set[tuple[str, str]], name: str) -> None:
    unlisted = sorted(f"{domain or 'ai.onnx'}.{operator}" for domain, operator in operators - ALLOWED)
    if unlisted:
        raise ArtifactError(
            f"{name} is refused: it has operators that are not on the list of student.operators:"
            f" {', '.join(unlisted)}. Export the student without them"
        )


def _graph(graph: memoryview, found: _Found, depth: int) -> None:
    if depth > MOST_DEPTH:
        raise _Refused(f"its graphs are nested more than {MOST_DEPTH} deep")
    for number, value in fields_of(graph):
        if number == GRAPH_NODE:
            _node(_message(value), found, depth)
        elif number == GRAPH_INITIALIZER:
            _tensor(_message(value))
        elif number == GRAPH_SPARSE:
            _sparse(_message(value))


def _function(function: memoryview, found: _Found) -> None:
    """A function of the file's own: its nodes are looked at as all others, and then it may be called."""
    name = domain = ""
    for number, value in fields_of(function):
        if number == FUNCTION_NODE:
            _node(_message(value), found, 0)
        elif number == FUNCTION_NAME:
            name = _text(value)
        elif number == FUNCTION_DOMAIN:
            domain = _text(value)
    if domain in ("", "ai.onnx", "com.microsoft"):
        raise _Refused(f"it brings its own {domain or 'ai.onnx'}.{name}")
    found.functions.add((domain, name))


def _node(node: memoryview, found: _Found, depth: int) -> None:
    found.nodes += 1
    if found.nodes > MOST_NODES:
        raise _Refused(f"it has more than {MOST_NODES} operators")
    operator = domain = ""
    for number, value in fields_of(node):
        if number == NODE_OPERATOR:
            operator = _text(value)
        elif number == NODE_DOMAIN:
            domain = _text(value)
        elif number == NODE_ATTRIBUTE:
            _attribute(_message(value), found, depth)
    found.operators.add(("" if domain == "ai.onnx" else domain, operator))


def _attribute(attribute: memoryview, found: _Found, depth: int) -> None:
    for number, value in fields_of(attribute):
        if number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _tensor(_message(value))
        elif number in (ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES):
            _sparse(_message(value))
        elif number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            _graph(_message(value), found, depth + 1)


def _sparse(tensor: memoryview) -> None:
    for number, value in fields_of(tensor):
        if number in (SPARSE_VALUES, SPARSE_INDICES):
            _tensor(_message(value))


def _tensor(tensor: memoryview) -> None:
    """One whose numbers lie in another file makes the runtime open whatever path it names."""
    for number, value in fields_of(tensor):
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value):
            raise _Refused("it refers to data outside itself; export it as one file (external_data=False)")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
