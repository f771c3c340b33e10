"""What an ONNX file may hold is looked at before ONNX Runtime sees it, without the onnx package."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ledger.artifacts import MODEL_FILE, ArtifactError, seal
from ledger.configuration import StudentSection
from student.graph_check import MOST_DEPTH, check_graph
from student.operators import ALLOWED
from student.session import Student
from tests.artifacts import TinyArtifact, tiny_artifact

FLOATS = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
OUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])


@pytest.fixture
def tiny(tmp_path: Path) -> TinyArtifact:
    return tiny_artifact(tmp_path / "data", ["a", "b"])


def graph_of(*nodes: onnx.NodeProto, initializers: list[onnx.TensorProto] | None = None) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [FLOATS], [OUT], initializers or [])


def checked(graph: onnx.GraphProto, functions: list[onnx.FunctionProto] | None = None) -> None:
    model = helper.make_model(graph, functions=functions or [])
    check_graph(model.SerializeToString(), "model.onnx")


def external(name: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones(1, "f4"), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return tensor


def nested(depth: int) -> onnx.GraphProto:
    graph = graph_of(helper.make_node("Relu", ["x"], ["y"]))
    for _ in range(depth):
        graph = graph_of(helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph))
    return graph


def test_a_student_of_listed_operators_is_let_in(tiny: TinyArtifact) -> None:
    """Loops and branches too, whose end the run's deadline sees to."""
    check_graph((tiny.folder / MODEL_FILE).read_bytes(), "model.onnx")
    checked(nested(3))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("RandomNormal", [], ["y"], shape=[1]), "ai.onnx.RandomNormal"),
        (helper.make_node("ImageDecoder", ["x"], ["y"]), "ai.onnx.ImageDecoder"),
        (helper.make_node("Relu", ["x"], ["y"], domain="my.domain"), "my.domain.Relu"),
        (helper.make_node("Sampling", ["x"], ["y"], domain="com.microsoft"), "com.microsoft.Sampling"),
    ],
)
def test_an_operator_that_is_not_listed_is_named(node: onnx.NodeProto, said: str) -> None:
    """With its domain; also where it hides in a branch."""
    hidden = graph_of(node)
    outer = graph_of(helper.make_node("If", ["x"], ["y"], then_branch=hidden, else_branch=hidden))

    for graph in (hidden, outer):
        with pytest.raises(ArtifactError, match=f"not on the list.*{said}"):
            checked(graph)


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(helper.make_node("Relu", ["w"], ["y"]), initializers=[external("w")]),
        graph_of(helper.make_node("Constant", [], ["y"], value=external("w"))),
        graph_of(
            helper.make_node(
                "If",
                ["x"],
                ["y"],
                then_branch=graph_of(helper.make_node("Relu", ["w"], ["y"]), initializers=[external("w")]),
                else_branch=nested(0),
            )
        ),
    ],
)
def test_data_outside_the_file_is_refused(graph: onnx.GraphProto) -> None:
    """Weights, constants, and those of branches."""
    with pytest.raises(ArtifactError, match="refers to data outside itself"):
        checked(graph)


def test_graphs_without_end_are_refused() -> None:
    """A few levels are control flow, many are an attack on whoever follows them."""
    with pytest.raises(ArtifactError, match=f"nested more than {MOST_DEPTH} deep"):
        checked(nested(MOST_DEPTH + 1))


def test_functions_of_the_file_are_looked_into() -> None:
    """One of listed operators may be called; one that hides another, or takes a standard name, may not."""
    opset = [helper.make_opsetid("", 20)]

    def function(domain: str, operator: str) -> onnx.FunctionProto:
        return helper.make_function(
            domain, "f", ["a"], ["b"], [helper.make_node(operator, ["a"], ["b"])], opset
        )

    call = graph_of(helper.make_node("f", ["x"], ["y"], domain="own"))
    checked(call, [function("own", "Relu")])
    with pytest.raises(ArtifactError, match=r"ai\.onnx\.Multinomial"):
        checked(call, [function("own", "Multinomial")])
    with pytest.raises(ArtifactError, match=r"brings its own com\.microsoft\.f"):
        checked(call, [function("com.microsoft", "Relu")])


@pytest.mark.parametrize("content", [b"", b"no model", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x80" * 20])
def test_what_is_no_onnx_file_is_said_so(content: bytes) -> None:
    """Empty, text, a length that leads outside, a group, a number without an end."""
    with pytest.raises(ArtifactError, match="is no ONNX file"):
        check_graph(content, "model.onnx")


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_sentence(content: bytes) -> None:
    """Never in anything but a refusal."""
    with suppress(ArtifactError):
        check_graph(content, "model.onnx")


def test_every_listed_operator_exists() -> None:
    """A name with a slip would allow nothing and look as if it did."""
    standard = {(one.domain, one.name) for one in onnx.defs.get_all_schemas()}
    assert {pair for pair in ALLOWED if pair[0] != "com.microsoft"} <= standard


def changed(tiny: TinyArtifact, change: Callable[[Path], None]) -> tuple[Path, str]:
    """The folder after a change that its own manifest knows of."""
    manifest = Student.load(tiny.folder, tiny.manifest_digest, StudentSection()).manifest
    change(tiny.folder / MODEL_FILE)
    return tiny.folder, seal(tiny.folder, manifest)


def test_a_refused_file_never_reaches_the_runtime(tiny: TinyArtifact) -> None:
    """Loading ends with the reason and the file's name."""

    def with_random(path: Path) -> None:
        model = onnx.load(path)
        model.graph.node.append(helper.make_node("RandomUniform", [], ["noise"], shape=[1]))
        onnx.save(model, path)

    with pytest.raises(ArtifactError, match=r"model\.onnx is refused: .*ai\.onnx\.RandomUniform"):
        Student.load(*changed(tiny, with_random), StudentSection())


def test_a_file_above_the_limit_is_refused(tiny: TinyArtifact) -> None:
    """Before it is read."""
    settings = StudentSection.model_construct(max_model_bytes=100)

    with pytest.raises(ArtifactError, match=r"bytes; student\.max_model_bytes is 100"):
        Student.load(tiny.folder, tiny.manifest_digest, settings)


def test_a_hard_link_is_refused(tiny: TinyArtifact, tmp_path: Path) -> None:
    """ONNX Runtime would follow it."""
    os.link(tiny.folder / MODEL_FILE, tmp_path / "elsewhere")

    with pytest.raises(ArtifactError, match="not a regular file with one link"):
        Student.load(tiny.folder, tiny.manifest_digest, StudentSection())
