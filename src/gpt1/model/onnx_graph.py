"""A Transformer as an ONNX graph of standard operators, written node by node (extra `onnx`).

The graphs are those of `transformer.py`. `language_model` reads ids behind keys and values that it
returned before, with the names that Optimum gives inputs and outputs; `states` is the part that a
task's head stands on. Shapes as in `transformer`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.errors import CheckpointError, ConfigError
from gpt1.model.build import Model
from gpt1.model.transformer import Transformer, gelu

OPSET = 21
_LIMIT = 2**31 - 1
"""The most bytes that a protobuf file may have."""


class Graph:
    """An ONNX graph that grows by one node at a time; tensors go by their names."""

    def __init__(self) -> None:
        import onnx

        self._onnx = onnx
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: type[np.generic], shape: Sequence[int | str]) -> str:
        """Add an input; axes that are named may have any length."""
        self._inputs.append(self._value(name, kind, shape))
        return name

    def output(
        self, tensor: str, name: str, kind: type[np.generic], shape: Sequence[int | str]
    ) -> None:
        """Let the graph return `tensor` under `name`."""
        self.add("Identity", tensor, outputs=(self.result(name, kind, shape),))

    def result(self, name: str, kind: type[np.generic], shape: Sequence[int | str]) -> str:
        """Return `name`, the tensor that a node is to write, as an output of the graph."""
        self._outputs.append(self._value(name, kind, shape))
        return name

    def add(
        self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Add a node; return the name of its output, the first one of several."""
        names = list(outputs) or [f"{operator}_{len(self._nodes)}"]
        node = self._onnx.helper.make_node(operator, inputs, names, **attributes)
        self._nodes.append(node)
        return names[0]

    def weight(self, name: str, value: Tensor) -> str:
        """Store a weight once, as float32 or, if that is what it holds, bytes; return its name."""
        if name not in self._tensors:
            kind = torch.uint8 if value.dtype == torch.uint8 else torch.float32
            array = value.detach().to("cpu", kind).contiguous().numpy()
            self._tensors[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def constant(self, value: float | Sequence[int] | int) -> str:
        """Store a float as float32, or whole numbers as int64; return its name."""
        kind = np.float32 if isinstance(value, float) else np.int64
        name = f"constant_{value}".replace(" ", "")
        if name not in self._tensors:
            self._tensors[name] = self._onnx.numpy_helper.from_array(np.array(value, kind), name)
        return name

    def size(self, tensor: str, axis: int) -> str:
        """Return the length of an axis, (1,)."""
        return self.add("Shape", tensor, start=axis, end=axis + 1)

    def range(self, start: str, end: str) -> str:
        """Return start, ..., end - 1 for two lengths (1,)."""
        scalars = [self.add("Squeeze", bound) for bound in (start, end)]
        return self.add("Range", *scalars, self.constant(1))

    def linear(self, name: str, x: str, module: nn.Linear) -> str:
        """Apply an affine map to x (..., in)."""
        product = self.add("MatMul", x, self.weight(f"{name}.weight", module.weight.T))
        return self.add("Add", product, self.weight(f"{name}.bias", module.bias))

    def norm(self, name: str, x: str, module: nn.LayerNorm) -> str:
        """Apply a LayerNorm to x (..., C)."""
        gain = self.weight(f"{name}.weight", module.weight)
        shift = self.weight(f"{name}.bias", module.bias)
        return self.add("LayerNormalization", x, gain, shift, epsilon=module.eps)

    def tied(self, model: Model, h: str) -> str:
        """Return the logits of states h (..., C) by the token matrix, which is stored once."""
        table = self.weight("tokens.weight", model.tokens.weight)
        V, C = model.tokens.weight.shape
        flat = self.add("Reshape", h, self.constant([-1, C]))
        logits = self.add("Gemm", flat, table, transB=1)
        shape = self.add("Shape", h, start=0, end=-1)
        shape = self.add("Concat", shape, self.constant([V]), axis=0)
        return self.add("Reshape", logits, shape)

    def model(self, producer: str) -> Any:
        """Return an onnx.ModelProto. Raises CheckpointError if it is too large for a file."""
        tensors = list(self._tensors.values())
        if sum(len(tensor.raw_data) for tensor in tensors) > _LIMIT - (1 << 20):
            raise CheckpointError(
                "the weights have more than 2 GiB in float32, the limit of an ONNX file. Export a "
                "smaller model."
            )
        make = self._onnx.helper
        graph = make.make_graph(self._nodes, "gpt1", self._inputs, self._outputs, tensors)
        imports = [make.make_opsetid("", OPSET), make.make_opsetid("com.microsoft", 1)]
        used = {node.domain for node in self._nodes}
        imports = [item for item in imports if item.domain in used]
        return make.make_model(graph, opset_imports=imports, producer_name=producer, ir_version=10)

    def _value(self, name: str, kind: type[np.generic], shape: Sequence[int | str]) -> Any:
        helper = self._onnx.helper
        number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return helper.make_tensor_value_info(name, number, list(shape))


def language_model(model: Model, producer: str) -> Any:
    """Return the graph of a language model with a key/value cache, an onnx.ModelProto.

    input_ids (B, T); attention_mask (B, P + T), 0 where a position is padding, which may stand
    anywhere; past_key_values.i.key and .value (B, H, P, D), P = 0 at first -> logits (B, T, V);
    present.i.key and .value (B, H, P + T, D). Raises ConfigError for the LSTM baseline.
    """
    transformer, config = _transformer(model), model.config
    H, D = config.n_head, config.n_embd // config.n_head
    graph = Graph()
    ids = graph.input("input_ids", np.int64, ("batch", "new"))
    mask = graph.input("attention_mask", np.int64, ("batch", "all"))
    past, names = [], [f"{i}.{part}" for i in range(config.n_layer) for part in ("key", "value")]
    past = [
        graph.input(f"past_key_values.{name}", np.float32, ("batch", H, "past", D))
        for name in names
    ]
    h, present = states(graph, transformer, ids, mask, past)
    logits = graph.tied(model, h)
    graph.output(logits, "logits", np.float32, ("batch", "new", config.vocab_size))
    for tensor, name in zip(present, names, strict=True):
        graph.output(tensor, f"present.{name}", np.float32, ("batch", H, "all", D))
    return graph.model(producer)


def states(
    graph: Graph, model: Model, ids: str, mask: str, past: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """Add the embeddings and all blocks; return the last states (B, T, C), and keys and values.

    `past` are the keys and values of each layer in turn, as are those returned; () for no past.
    """
    transformer, layers = _transformer(model), len(_transformer(model).blocks)
    T, S = graph.size(ids, 1), graph.size(mask, 1)
    start = graph.add("Sub", S, T)
    # a position is the number of ids before it that are no padding
    count = graph.add("CumSum", mask, graph.constant(1))
    count = graph.add("Slice", count, start, S, graph.constant([1]))
    positions = graph.add("Max", graph.add("Sub", count, graph.constant(1)), graph.constant(0))
    tokens = graph.weight("tokens.weight", transformer.tokens.weight)
    table = graph.weight("positions.weight", transformer.positions.weight)
    h = graph.add("Add", graph.add("Gather", tokens, ids), graph.add("Gather", table, positions))
    bias = _bias(graph, mask, start, S)
    present: list[str] = []
    for i, block in enumerate(transformer.blocks):
        name = f"blocks.{i}"
        attended, kept = _attention(
            graph, f"{name}.attention", h, block, bias, past[2 * i : 2 * i + 2]
        )
        present += kept
        h = add_block(graph, name, h, attended, block)
    assert len(present) == 2 * layers
    return h, present


def add_block(graph: Graph, name: str, h: str, attended: str, block: Any) -> str:
    """Add what stands in a block behind the heads of attention, `attended` (B, T, C)."""
    attended = graph.linear(f"{name}.attention.proj", attended, block.attention.proj)
    n = graph.norm(f"{name}.ln_1", graph.add("Add", h, attended), block.ln_1)
    u = graph.linear(f"{name}.mlp.fc", n, block.mlp.fc)
    if block.mlp.activation is gelu:
        u = graph.add("Gelu", u, approximate="tanh")
    elif block.mlp.activation is F.relu:
        u = graph.add("Relu", u)
    else:
        u = graph.add("Mul", u, graph.add("Sigmoid", u))
    u = graph.linear(f"{name}.mlp.proj", u, block.mlp.proj)
    return graph.norm(f"{name}.ln_2", graph.add("Add", n, u), block.ln_2)


def _bias(graph: Graph, mask: str, start: str, end: str) -> str:
    """Return (B, 1, T, S): 0 where a query may attend, else so low that its weight is 0."""
    queries = graph.add("Unsqueeze", graph.range(start, end), graph.constant([1]))
    causal = graph.add("LessOrEqual", graph.range(graph.constant([0]), end), queries)  # (T, S)
    real = graph.add("Cast", mask, to=9)  # to bool
    real = graph.add("Unsqueeze", real, graph.constant([1, 2]))
    # finite, since the softmax of a row of -inf is NaN: padding before a text attends to nothing
    return graph.add(
        "Where", graph.add("And", real, causal), graph.constant(0.0), graph.constant(-1e9)
    )


def _attention(
    graph: Graph, name: str, h: str, block: Any, bias: str, past: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the joined heads (B, T, C), and all keys and values."""
    module = block.attention
    C = module.proj.weight.shape[0]
    H, D = module.n_head, C // module.n_head
    qkv = graph.linear(f"{name}.qkv", h, module.qkv)
    parts = [f"{name}.{part}" for part in ("q", "k", "v")]
    graph.add("Split", qkv, outputs=parts, axis=-1, num_outputs=3)
    shape = graph.constant([0, 0, H, D])
    q, k, v = (
        graph.add("Transpose", graph.add("Reshape", part, shape), perm=[0, 2, 1, 3])
        for part in parts
    )
    if past:
        k, v = (
            graph.add("Concat", old, new, axis=2) for old, new in zip(past, (k, v), strict=True)
        )
    scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = graph.add("Mul", scores, graph.constant(1 / math.sqrt(D)))
    weights = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
    heads = graph.add("Transpose", graph.add("MatMul", weights, v), perm=[0, 2, 1, 3])
    return graph.add("Reshape", heads, graph.constant([0, 0, C])), [k, v]


def _transformer(model: Model) -> Transformer:
    if not isinstance(model, Transformer):
        raise ConfigError(
            "the model is the paper's LSTM baseline, which has no ONNX graph. Export a Transformer."
        )
    return model
