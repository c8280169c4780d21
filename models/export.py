"""Turn trained weights into files that a vehicle can run: ONNX, int8 ONNX, TFLite.

The graph is exported once per network size. A fine-tuned model has the same graph and other numbers, so its
file is the parent's with the weights swapped: that takes a second instead of a fresh export, and the graph
cannot differ between parent and child. Batch normalisation is folded into the convolutions first; after that
every initializer carries the name of a parameter.

The int8 recipe quantises convolutions only (uint8 activations, int8 weights per channel): on x86 and ARM that
is faster *and* tens of decibels closer to fp32 than quantising the transformer as well. The last convolutions
(heat map, boxes, segmentation) stay fp32: in uint8 the widest class alone decides the step of every score,
and a thousand boxes share two dozen scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import HashMismatchError
from edge.perceive.tensors import NetSpec, input_specs, output_specs
from models.bev import BevNet, Deployed

OPSET = 18
Inputs = Mapping[str, NDArray[np.generic]]

_TRANSPOSED = "#transposed"
_QUANTISED_OPERATORS = ("Conv", "Relu", "Add", "Resize", "Concat", "MaxPool")


def folded(net: BevNet) -> BevNet:
    """Return an evaluation copy whose batch normalisation lives in the convolutions before it."""
    copy = deepcopy(net).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in list(copy.modules()):
        if isinstance(module, nn.Sequential):
            _fold_pairs(module)
    assert isinstance(copy, BevNet)
    return copy


def _fold_pairs(sequence: nn.Sequential) -> None:
    for k in range(len(sequence) - 1):
        conv, norm = sequence[k], sequence[k + 1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            sequence[k], sequence[k + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def example_inputs(spec: NetSpec, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Make valid random inputs of the right shapes, for tracing and parity checks."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[np.generic]] = {}
    for tensor in input_specs(spec):
        if tensor.name == "images":
            made[tensor.name] = rng.integers(0, 256, tensor.shape, dtype=np.uint8)
        elif tensor.name == "table":
            made[tensor.name] = rng.integers(0, spec.zero_row + 1, tensor.shape, dtype=np.int32)
        else:
            made[tensor.name] = rng.normal(0.0, 0.5, tensor.shape).astype(np.float32)
    return made


def export_onnx(net: BevNet, path: Path) -> None:
    """Write the fp32 graph (opset 18, static shapes, one file)."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        export_graph(net.spec, graph, net.categories)
        swap_weights(graph, net, path)


def export_graph(
    spec: NetSpec, path: Path, categories: tuple[Category, ...] = SHIPPED_CLASSES
) -> None:
    """Write the graph of a network size and a list of classes, filled with random numbers.

    Random, because an exporter merges equal constants and renames those that it transposes: among
    numbers of which no two tensors are alike, every initializer can be traced to its parameter.
    """
    net = folded(BevNet(spec, categories))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = rng.normal(0.0, 0.02, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(noise))
    deployed = Deployed(net).eval()
    inputs = tuple(torch.from_numpy(value) for value in example_inputs(spec).values())
    with torch.no_grad():
        program = torch.onnx.export(
            deployed,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[t.name for t in input_specs(spec)],
            output_names=[t.name for t in output_specs(spec, len(categories))],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_constants(model, deployed.state_dict())
    del model.metadata_props[:]
    for node in [*model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def _name_constants(model: onnx.ModelProto, weights: Mapping[str, torch.Tensor]) -> None:
    """Name every initializer after the parameter whose numbers it holds, transposed or not."""
    known = {value.numpy().tobytes(): name for name, value in weights.items()}
    for name, value in weights.items():
        if value.ndim == 2:
            known[value.numpy().T.tobytes()] = name + _TRANSPOSED
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        parameter = known.get(numpy_helper.to_array(tensor).tobytes())
        if parameter is not None and parameter != tensor.name:
            renamed[tensor.name] = tensor.name = parameter
    for node in model.graph.node:
        for k, used in enumerate(node.input):
            node.input[k] = renamed.get(used, used)


def classes_in(graph: Path) -> int:
    """Count the classes that an ONNX file of the family distinguishes."""
    outputs = onnx.load(graph).graph.output
    heatmap = next(output for output in outputs if output.name == "heatmap")
    return int(heatmap.type.tensor_type.shape.dim[1].dim_value)


def swap_weights(parent: Path, net: BevNet, path: Path) -> None:
    """Write ``parent``'s fp32 graph with ``net``'s numbers.

    Raises:
        HashMismatchError: The parent's graph is not of this network: a tensor is missing or misshapen.
    """
    model = onnx.load(parent)
    weights = {f"net.{k}": v.detach().numpy() for k, v in folded(net).state_dict().items()}
    left = set(weights)
    for tensor in model.graph.initializer:
        name = tensor.name.removesuffix(_TRANSPOSED)
        if name not in weights:
            continue
        value = weights[name].T if tensor.name.endswith(_TRANSPOSED) else weights[name]
        if int(np.prod(tensor.dims)) != value.size:
            raise HashMismatchError(
                f"{parent.name}: {tensor.name} has shape {tuple(tensor.dims)}, the network has"
                f" {value.shape}; export the graph anew"
            )
        filled = np.ascontiguousarray(value).reshape(tuple(tensor.dims))
        tensor.CopyFrom(numpy_helper.from_array(filled, tensor.name))
        left.discard(name)
    if left:
        raise HashMismatchError(f"{parent.name} lacks {sorted(left)[:3]}; export the graph anew")
    path.write_bytes(model.SerializeToString(deterministic=True))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, frames: Iterable[Inputs]) -> None:
        self._frames = iter([dict(frame) for frame in frames])

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        return next(self._frames, None)


def quantize(fp32: Path, path: Path, calibration: Iterable[Inputs]) -> None:
    """Write the int8 graph, its activation ranges taken from ``calibration`` (64 frames do)."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        quantize_static(
            str(prepared),
            str(path),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=list(_QUANTISED_OPERATORS),
            nodes_to_exclude=[*_not_images(model), *_last_convolutions(model)],
        )


def _not_images(model: onnx.ModelProto) -> list[str]:
    """Name the nodes whose output is not a (B, C, H, W) feature map: the transformer stays fp32."""
    values = [*model.graph.value_info, *model.graph.output]
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in values}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _QUANTISED_OPERATORS and rank.get(node.output[0], 0) != 4
    ]


def _last_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions that no other one follows: the last layer of every dense head."""
    feeds_convolution: set[str] = set()
    names = []
    for node in reversed(model.graph.node):  # a graph is sorted: readers come after what they read
        is_followed = any(output in feeds_convolution for output in node.output)
        if is_followed or node.op_type == "Conv":
            feeds_convolution.update(node.input)
        if not is_followed and node.op_type == "Conv":
            names.append(node.name)
    return names
