"""Engines: the same named arrays in and out, whatever runtime reads the file."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from edge.contracts.bundle import (
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
    TensorSpec,
)
from edge.contracts.classes import CAR
from edge.contracts.errors import ContractError, OperatorError
from edge.perceive.engine import Engine, OnnxEngine, TfliteEngine, open_engine
from edge.perceive.tensors import OutputFault

SHAPE = (1, 4)
INPUTS = tuple(TensorSpec(name=n, dtype="float32", shape=SHAPE) for n in ("left", "right"))
OUTPUTS = tuple(TensorSpec(name=n, dtype="float32", shape=SHAPE) for n in ("total", "product"))


def onnx_bytes() -> bytes:
    """A network that adds and multiplies its two inputs; outputs listed against the order of specs."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Add", ["left", "right"], ["total"]),
            onnx.helper.make_node("Mul", ["left", "right"], ["product"]),
        ],
        "arithmetic",
        [value(n, onnx.TensorProto.FLOAT, SHAPE) for n in ("right", "left")],
        [value(n, onnx.TensorProto.FLOAT, SHAPE) for n in ("product", "total")],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    return model.SerializeToString()


def tflite_bytes(signature_inputs: tuple[str, ...], signature_outputs: tuple[str, ...]) -> bytes:
    """The same network written into the flat buffer that TFLite reads; no names, no signature."""

    def tensor(name: str) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, list(SHAPE), schema.TensorType.FLOAT32
        return made

    def operator(code: int, output: int, options_type: int, options: object) -> schema.OperatorT:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, [0, 1], [output]
        made.builtinOptionsType, made.builtinOptions = options_type, options
        return made

    def code(builtin: int) -> schema.OperatorCodeT:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = builtin
        made.version = 1
        return made

    def named(name: str, index: int) -> schema.TensorMapT:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name, index
        return made

    graph = schema.SubGraphT()
    graph.tensors = [tensor(f"t{k}") for k in range(4)]
    graph.inputs, graph.outputs = [0, 1], [3, 2]
    options = schema.BuiltinOptions
    graph.operators = [
        operator(0, 2, options.AddOptions, schema.AddOptionsT()),
        operator(1, 3, options.MulOptions, schema.MulOptionsT()),
    ]
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = [code(schema.BuiltinOperator.ADD), code(schema.BuiltinOperator.MUL)]
    if signature_inputs:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [named(n, k) for k, n in enumerate(signature_inputs)]
        signature.outputs = [named(n, 2 + k) for k, n in enumerate(signature_outputs)]
        model.signatureDefs = [signature]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def manifest_of(kind: EngineKind, content: bytes) -> BundleManifest:
    file = EngineFile(
        kind=kind,
        precision=Precision.FP32,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    return BundleManifest(
        bundle_id="b-1",
        model="pico",
        profile="laptop",
        release_counter=1,
        engines=(file,),
        inputs=INPUTS,
        outputs=OUTPUTS,
        categories=(CAR,),
        thresholds={CAR: 0.3},
        golden=GoldenSet(sha256="0" * 64, size_bytes=0, frames=0, tolerance=0.01),
    )


ENGINES = {
    "onnx": lambda: OnnxEngine(onnx_bytes()),
    "tflite with names": lambda: TfliteEngine(
        tflite_bytes(("left", "right"), ("total", "product")), 1, INPUTS, OUTPUTS
    ),
    "tflite with numbered names": lambda: TfliteEngine(
        tflite_bytes(("args_0", "args_1"), ("output_0", "output_1")), 1, INPUTS, OUTPUTS
    ),
}


@pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES.keys())
def test_outputs_are_found_by_name_and_not_by_position(make) -> None:
    engine: Engine = make()
    left = np.array([[1, 2, 3, 4]], np.float32)
    right = np.array([[10, 20, 30, 40]], np.float32)
    outputs = engine.run({"right": right, "left": left})
    np.testing.assert_array_equal(outputs["total"], [[11, 22, 33, 44]])
    np.testing.assert_array_equal(outputs["product"], [[10, 40, 90, 160]])


@pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES.keys())
def test_a_result_survives_the_next_run(make) -> None:
    engine: Engine = make()
    one = np.ones(SHAPE, np.float32)
    first = engine.run({"left": one, "right": one})["total"]
    engine.run({"left": 5 * one, "right": one})
    np.testing.assert_array_equal(first, 2 * one)


@pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES.keys())
def test_inputs_that_are_missing_or_misshapen_are_a_fault_of_the_tick(make) -> None:
    engine: Engine = make()
    with pytest.raises(OutputFault, match="left"):
        engine.run({"right": np.ones(SHAPE, np.float32)})
    with pytest.raises(OutputFault):
        engine.run({"left": np.ones((2, 7), np.float32), "right": np.ones(SHAPE, np.float32)})


@pytest.mark.parametrize("kind", [EngineKind.ONNX, EngineKind.TFLITE])
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, kind: EngineKind) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"not a model at all")
    manifest = manifest_of(kind, path.read_bytes())
    with pytest.raises(ContractError, match="does not load"):
        open_engine(manifest.engines[0], path, manifest)


def test_a_model_with_other_tensors_than_the_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes())
    manifest = manifest_of(EngineKind.ONNX, path.read_bytes())
    wider = tuple(TensorSpec(name=s.name, dtype=s.dtype, shape=(1, 5)) for s in INPUTS)
    for wrong, match in (
        ({"outputs": OUTPUTS[:1]}, "outputs expected"),
        ({"inputs": wider}, "refuses the tensors of its own manifest"),
    ):
        with pytest.raises(ContractError, match=match):
            open_engine(manifest.engines[0], path, _with(manifest, wrong))


def test_a_tflite_model_of_another_shape_is_refused() -> None:
    wider = tuple(TensorSpec(name=s.name, dtype=s.dtype, shape=(1, 5)) for s in INPUTS)
    with pytest.raises(
        ContractError, match=r"left expected float32 \(1, 5\), got float32 \(1, 4\)"
    ):
        TfliteEngine(tflite_bytes(("left", "right"), ("total", "product")), 1, wider, OUTPUTS)


@pytest.mark.parametrize("kind", [EngineKind.ONNX, EngineKind.TFLITE])
def test_a_good_file_opens_and_runs(tmp_path: Path, kind: EngineKind) -> None:
    content = (
        onnx_bytes()
        if kind is EngineKind.ONNX
        else tflite_bytes(("left", "right"), ("total", "product"))
    )
    path = tmp_path / "model"
    path.write_bytes(content)
    manifest = manifest_of(kind, content)
    engine = open_engine(manifest.engines[0], path, manifest, threads=2)
    ones = {s.name: np.ones(s.shape, np.float32) for s in INPUTS}
    assert set(engine.run(ones)) == {"total", "product"}


def test_an_engine_kind_of_a_newer_fleet_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of(EngineKind("analog"), b"")
    with pytest.raises(OperatorError, match="no engine here"):
        open_engine(manifest.engines[0], tmp_path / "model", manifest)


def _with(manifest: BundleManifest, changes: dict) -> BundleManifest:
    return msgspec.structs.replace(manifest, **changes)
