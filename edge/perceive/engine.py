"""One protocol over the runtimes that can execute a network file.

An engine maps named arrays to named arrays; boards, frames and boxes are not its concern. Outputs are found
by name and never by position, because converters reorder them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.contracts.bundle import BundleManifest, EngineFile, EngineKind, TensorSpec
from edge.contracts.errors import ContractError, OperatorError
from edge.contracts.rows import complete
from edge.perceive.tensors import OutputFault

Tensors = dict[str, NDArray[np.generic]]
_Loaded = TypeVar("_Loaded")

WARM_UP_RUNS = 3
"""Enough to allocate every buffer and fill the instruction cache; a benchmark warms up on its own."""

SIGNATURE = "serving_default"
"""The TFLite signature that holds input and output names, where a converter wrote one."""


class Engine(Protocol):
    """A loaded network, warm, for one thread at a time."""

    kind: EngineKind
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Tensors:
        """Execute the network once.

        Raises:
            OutputFault: The runtime failed; this tick has no network output.
        """
        ...


def open_engine(file: EngineFile, path: Path, manifest: BundleManifest, threads: int = 1) -> Engine:
    """Load one engine file of a bundle.

    Raises:
        ContractError: The file does not load, or its tensors are not the manifest's.
        OperatorError: This vehicle has no runtime for the file's kind.
    """
    if file.kind not in ENGINES:
        raise OperatorError(f"bundle {manifest.bundle_id}: no engine here for kind {file.kind}")
    engine = ENGINES[file.kind](path, threads, manifest)
    _expect_names(manifest.bundle_id, "inputs", engine.input_names, manifest.inputs)
    _expect_names(manifest.bundle_id, "outputs", engine.output_names, manifest.outputs)
    warm_up(engine, manifest.inputs)
    return engine


def warm_up(engine: Engine, inputs: Sequence[TensorSpec], runs: int = WARM_UP_RUNS) -> None:
    """Run an engine on zeros, so that its first real tick is not its slowest.

    Raises:
        ContractError: The engine refuses inputs of the promised names, types and shapes.
    """
    zeros: Tensors = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in inputs}
    try:
        for _ in range(runs):
            engine.run(zeros)
    except OutputFault as error:
        raise ContractError(f"engine refuses the tensors of its own manifest: {error}") from error


class OnnxEngine:
    """ONNX Runtime on the CPU: sequential, every optimisation, denormals flushed to zero."""

    kind = EngineKind.ONNX

    def __init__(self, model: Path | bytes, threads: int = 1) -> None:
        """Load a model file or its bytes.

        Raises:
            ContractError: It is not a model that this runtime can execute.
        """
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # The runtime's exceptions share no base of their own.
        self._errors: tuple[type[Exception], ...] = (
            ValueError,
            RuntimeError,
            *_exceptions_of(state),
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # A spinning worker occupies the core that the rest of the vehicle needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        self._session = _load(
            lambda: ort.InferenceSession(source, options, providers=["CPUExecutionProvider"]),
            self._errors,
            _describe(model, "ONNX Runtime"),
        )
        self.input_names = tuple(i.name for i in self._session.get_inputs())
        self.output_names = tuple(o.name for o in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Tensors:
        """Execute the network once; see ``Engine.run``."""
        feed = _feed(self.input_names, inputs)
        try:
            values = self._session.run(list(self.output_names), feed)
        except self._errors as error:
            raise OutputFault(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self.output_names, values, strict=True))


class TfliteEngine:
    """TFLite on XNNPACK through ``ai_edge_litert``, or ``tflite_runtime`` where only that exists.

    Converters keep the names of inputs and outputs only in a signature, and some number them there
    (``args_0``, ``output_0``): then their order is the manifest's.
    """

    kind = EngineKind.TFLITE

    def __init__(
        self,
        model: Path | bytes,
        threads: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        """Load a model file or its bytes.

        Args:
            model: The file or what is in it.
            threads: Size of XNNPACK's pool.
            inputs: The network's inputs, in the order of its signature.
            outputs: The network's outputs, in the order of its signature.

        Raises:
            ContractError: It does not load, or its tensors are not those of the manifest.
            OperatorError: No TFLite runtime is installed.
        """
        described = _describe(model, "TFLite")
        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        interpreter_class = _tflite_interpreter()
        errors = (ValueError, RuntimeError)
        self._interpreter = _load(
            lambda: interpreter_class(num_threads=threads, **source), errors, described
        )
        _load(self._interpreter.allocate_tensors, errors, described)
        self._input_of = _match(
            described, "inputs", inputs, _named_details(self._interpreter, "inputs")
        )
        self._output_of = _match(
            described, "outputs", outputs, _named_details(self._interpreter, "outputs")
        )
        self.input_names = tuple(self._input_of)
        self.output_names = tuple(self._output_of)

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Tensors:
        """Execute the network once; see ``Engine.run``."""
        feed = _feed(self.input_names, inputs)
        try:
            for name, index in self._input_of.items():
                self._interpreter.set_tensor(index, feed[name])
            self._interpreter.invoke()
            return {n: self._interpreter.get_tensor(i) for n, i in self._output_of.items()}
        except (RuntimeError, ValueError) as error:
            raise OutputFault(f"TFLite failed: {error}") from error


ENGINES: dict[EngineKind, Callable[[Path, int, BundleManifest], Engine]] = complete(
    {
        EngineKind.ONNX: lambda path, threads, manifest: OnnxEngine(path, threads),
        EngineKind.TFLITE: lambda path, threads, manifest: TfliteEngine(
            path, threads, manifest.inputs, manifest.outputs
        ),
    },
    set(EngineKind) - {EngineKind.UNKNOWN},
    "edge/perceive/engine.py",
)
"""What loads a file of each kind, from its path, the number of threads and the bundle's manifest."""


def _tflite_interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise OperatorError(
                "no TFLite runtime here: install ai-edge-litert (or tflite-runtime), "
                "or choose the ONNX engine"
            ) from error
    return Interpreter


def _named_details(interpreter: Any, side: str) -> dict[str, dict[str, Any]]:
    """List the tensors of one side as name → details, in the model's order."""
    details = (
        interpreter.get_input_details() if side == "inputs" else interpreter.get_output_details()
    )
    signature = interpreter.get_signature_list().get(SIGNATURE)
    if signature is None:
        return {d["name"]: d for d in details}
    runner = interpreter.get_signature_runner(SIGNATURE)
    of_name = runner.get_input_details() if side == "inputs" else runner.get_output_details()
    return {name: of_name[name] for name in sorted(of_name, key=_natural)}


def _natural(name: str) -> tuple[str, int]:
    """Sort ``args_10`` after ``args_9``."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _match(
    described: str,
    side: str,
    specs: Sequence[TensorSpec],
    details: Mapping[str, dict[str, Any]],
) -> dict[str, int]:
    """Find the tensor index of each promised name: by name, else by the order of the signature."""
    names = [s.name for s in specs]
    if set(names) <= set(details):
        chosen = [details[n] for n in names]
    elif len(names) == len(details):
        chosen = list(details.values())
    else:
        raise ContractError(
            f"{described}: {side} expected {names}, got {list(details)}; the file is not used"
        )
    for spec, detail in zip(specs, chosen, strict=True):
        shape = tuple(int(n) for n in detail["shape"])
        if shape != spec.shape or np.dtype(detail["dtype"]) != np.dtype(spec.dtype):
            raise ContractError(
                f"{described}: {side[:-1]} {spec.name} expected {spec.dtype} {spec.shape}, got "
                f"{np.dtype(detail['dtype'])} {shape}; the file is not used"
            )
    return {spec.name: int(d["index"]) for spec, d in zip(specs, chosen, strict=True)}


def _feed(names: Sequence[str], inputs: Mapping[str, NDArray[np.generic]]) -> Tensors:
    missing = [n for n in names if n not in inputs]
    if missing:
        raise OutputFault(f"network inputs {missing} were not given")
    return {n: inputs[n] for n in names}


def _describe(model: Path | bytes, runtime: str) -> str:
    source = f"{len(model)} bytes" if isinstance(model, bytes) else model.name
    return f"engine file ({source}) for {runtime}"


def _load(
    load: Callable[[], _Loaded], errors: tuple[type[Exception], ...], described: str
) -> _Loaded:
    try:
        return load()
    except errors as error:
        raise ContractError(f"{described} does not load: {error}; it is not used") from error


def _exceptions_of(module: Any) -> list[type[Exception]]:
    return [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Exception)]


def _expect_names(
    bundle_id: str, side: str, names: Sequence[str], specs: Sequence[TensorSpec]
) -> None:
    promised = {s.name for s in specs}
    if promised != set(names):
        raise ContractError(
            f"bundle {bundle_id}: {side} expected {sorted(promised)}, got {sorted(names)}; "
            "the file is not used"
        )
