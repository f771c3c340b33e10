"""Changes to an exported student's graph that quantization needs, none of which changes its logits."""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from distill.training.exported import OUTPUT_NAMES, SPOTS_NAME

BLOCK = 32  # components of a row that share a scale
LEAST_BYTES = 2**20  # of a table: a smaller one saves nothing
FLOAT = onnx.TensorProto.FLOAT

LOGITS, PROBABILITIES = OUTPUT_NAMES
_SCALED = "logits_at_temperature"
_TEMPERATURE = "temperature"


def without_stale_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the `value_info` entries that name initializers, in place.

    The dynamo exporter writes them, and a quantizer that transposes such an initializer then fails with a
    ShapeInferenceError (microsoft/onnxruntime#25890).
    """
    weights = {weight.name for weight in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    return model


def set_temperature(model: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """Make `probs` softmax(logits / temperature), whatever the temperature was, in place."""
    graph = model.graph
    softmax = next(node for node in graph.node if PROBABILITIES in node.output)
    if softmax.op_type != "Softmax":
        raise ValueError(f"probs are made by {softmax.op_type}, not by Softmax")
    softmax.input[0] = _SCALED
    _remove_unread(graph)
    divide = helper.make_node("Div", [LOGITS, _TEMPERATURE], [_SCALED], name=_SCALED)
    graph.node.insert(list(graph.node).index(softmax), divide)
    graph.initializer.append(numpy_helper.from_array(np.array(temperature, dtype=np.float32), _TEMPERATURE))
    return model


def look_up_in_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep large looked-up tables in INT8 with a scale for each BLOCK of a row, in place.

    ONNX Runtime's own quantizer takes one scale for a table, which its largest value decides. Of a bag of token
    vectors that changed six times as many classes; and in an encoder, whose vectors have a few large components,
    lookups then move the logits more than all products together, position vectors the most.
    """
    graph = model.graph
    tables = {weight.name: weight for weight in graph.initializer}
    for node in list(graph.node):
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is not None and _is_worth_it(table):
            _replace_lookup(graph, node, numpy_helper.to_array(table))
    _remove_unread(graph)
    return model


def _is_worth_it(table: onnx.TensorProto) -> bool:
    if table.data_type != FLOAT or len(table.dims) != 2 or table.dims[1] % BLOCK:
        return False
    return int(table.dims[0]) * int(table.dims[1]) * 4 >= LEAST_BYTES


def _replace_lookup(graph: onnx.GraphProto, node: onnx.NodeProto, table: NDArray[np.float32]) -> None:
    rows, width = table.shape
    blocks = table.reshape(rows, width // BLOCK, BLOCK)
    scale = np.maximum(np.abs(blocks).max(axis=2, keepdims=True), np.finfo(np.float32).tiny) / 127
    name, (places, output) = node.name or node.output[0], (node.input[1], node.output[0])
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.rint(blocks / scale).astype(np.int8), f"{name}_int8"),
            numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"),
            numpy_helper.from_array(np.array([0, 0, width], dtype=np.int64), f"{name}_shape"),
        ]
    )
    at = list(graph.node).index(node)
    graph.node.remove(node)
    made = (
        helper.make_node("Gather", [f"{name}_int8", places], [f"{name}_rows"], name=f"{name}_rows"),
        helper.make_node("Cast", [f"{name}_rows"], [f"{name}_float"], name=f"{name}_float", to=FLOAT),
        helper.make_node("Gather", [f"{name}_scale", places], [f"{name}_scales"], name=f"{name}_scales"),
        helper.make_node(
            "Mul", [f"{name}_float", f"{name}_scales"], [f"{name}_scaled"], name=f"{name}_scaled"
        ),
        helper.make_node("Reshape", [f"{name}_scaled", f"{name}_shape"], [output], name=f"{name}_joined"),
    )
    for place, one in enumerate(made):
        graph.node.insert(at + place, one)


def nodes_of_spots(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that tell where a text lies and nothing else."""
    names = [output.name for output in model.graph.output]
    answering = _made_for(model.graph, (name for name in names if name != SPOTS_NAME))
    return [node.name for node in model.graph.node if not answering & set(node.output)]


def weights_by_operator(model: onnx.ModelProto, operators: Iterable[str]) -> int:
    """Bytes of initializers that nodes of these operators read."""
    wanted = set(operators)
    read = {name for node in model.graph.node if node.op_type in wanted for name in node.input}
    return sum(numpy_helper.to_array(one).nbytes for one in model.graph.initializer if one.name in read)


def _remove_unread(graph: onnx.GraphProto) -> None:
    """Nodes and initializers that lead to no output."""
    needed = _made_for(graph, (output.name for output in graph.output))
    nodes = [node for node in graph.node if needed & set(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _made_for(graph: onnx.GraphProto, outputs: Iterable[str]) -> set[str]:
    """Every value that these outputs depend on, themselves included."""
    makers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(makers[name].input if name in makers else ())
    return found
