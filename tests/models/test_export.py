"""The file that drives is the network that was trained."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import models
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.errors import HashMismatchError
from edge.perceive.tensors import NANO, PICO, SMALL, NetSpec, input_specs, output_specs
from models.bev import RARE_LOGIT, BevNet, Deployed
from models.export import (
    Inputs,
    classes_in,
    example_inputs,
    export_graph,
    export_onnx,
    quantize,
    swap_weights,
)
from models.weights import load_weights, save_weights

ZOO = Path(models.__path__[0]) / "zoo" / "pico"


def signal_to_noise_db(reference: NDArray[np.float32], value: NDArray[np.float32]) -> float:
    """Signal to quantisation noise in decibels; above 40 dB no difference can be seen."""
    noise = float(np.square(reference - value).sum())
    signal = float(np.square(reference).sum())
    return 10.0 * float(np.log10(signal / noise)) if noise > 0 else float("inf")


def run_onnx(path: Path, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Run a file once on one core, for parity checks; the vehicle has its own engine."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def run_torch(net: BevNet, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Run the network itself on the tensors of the contract."""
    tensors = [
        torch.from_numpy(np.ascontiguousarray(inputs[t.name])) for t in input_specs(net.spec)
    ]
    with torch.inference_mode():
        outputs = Deployed(net).eval()(*tensors)
    names = [t.name for t in output_specs(net.spec, len(net.categories))]
    return {name: value.numpy() for name, value in zip(names, outputs, strict=True)}


def _lively(spec: NetSpec, seed: int) -> BevNet:
    """Make a network whose normalisation has statistics and whose peaks do not tie."""
    torch.manual_seed(seed)
    net = BevNet(spec)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 1.1 * module.weight[0].numel() ** -0.5)
    return net.eval()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "pico.onnx"
    export_graph(PICO, path)
    return path


def test_torch_and_onnx_agree(graph: Path, tmp_path: Path) -> None:
    net = _lively(PICO, 1)
    swap_weights(graph, net, tmp_path / "net.onnx")
    inputs = example_inputs(PICO)
    expected, got = run_torch(net, inputs), run_onnx(tmp_path / "net.onnx", inputs)
    for name, value in expected.items():
        assert np.allclose(value, got[name], rtol=1e-3, atol=1e-3), name


def test_two_networks_in_one_graph_differ_only_in_their_numbers(
    graph: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        swap_weights(graph, _lively(PICO, seed), tmp_path / f"{seed}.onnx")
    first, second = (onnx.load(tmp_path / f"{seed}.onnx") for seed in (1, 2))
    assert [n.op_type for n in first.graph.node] == [n.op_type for n in second.graph.node]
    assert first.graph.initializer[0].raw_data != second.graph.initializer[0].raw_data


def test_weights_of_another_size_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(HashMismatchError, match="export the graph anew"):
        swap_weights(graph, BevNet(NANO), tmp_path / "net.onnx")
    save_weights(BevNet(NANO), tmp_path / "nano.bin")
    with pytest.raises(HashMismatchError, match="does not fit pico"):
        load_weights(tmp_path / "nano.bin", PICO)


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    net = _lively(PICO, 3)
    digest = save_weights(net, tmp_path / "w.bin")
    again = load_weights(tmp_path / "w.bin", PICO)
    assert save_weights(again, tmp_path / "again.bin") == digest


def test_int8_stays_within_its_stated_noise(graph: Path, tmp_path: Path) -> None:
    """Dense heads at 25 dB or better on random weights."""
    swap_weights(graph, _lively(PICO, 4), tmp_path / "fp32.onnx")
    frames = [example_inputs(PICO, seed) for seed in range(8)]
    quantize(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", frames)
    inputs = example_inputs(PICO, 99)
    fp32, int8 = (run_onnx(tmp_path / f"{p}.onnx", inputs) for p in ("fp32", "int8"))
    for name in ("heatmap", "boxes", "segmentation"):
        assert signal_to_noise_db(fp32[name], int8[name]) > 25.0, name


@pytest.fixture(scope="module")
def shipped_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network that ships, quantised here."""
    path = tmp_path_factory.mktemp("shipped") / "int8.onnx"
    quantize(ZOO / "fp32.onnx", path, [example_inputs(PICO, seed) for seed in range(4)])
    return path


@pytest.mark.parametrize("source", ["quantised here", "as it ships"])
def test_int8_tells_scores_and_boxes_apart_more_finely_than_a_byte_can(
    source: str, shipped_int8: Path
) -> None:
    path = ZOO / "int8.onnx" if source == "as it ships" else shipped_int8
    outputs = run_onnx(path, example_inputs(PICO, 99))
    for name in ("heatmap", "boxes", "segmentation"):
        assert len(np.unique(outputs[name])) > 10 * 256, name


@pytest.mark.parametrize("spec", [NANO, SMALL], ids=lambda s: s.name)
def test_larger_sizes_export_and_run(spec: NetSpec, tmp_path: Path) -> None:
    export_onnx(_lively(spec, 0), tmp_path / "net.onnx")
    outputs = run_onnx(tmp_path / "net.onnx", example_inputs(spec))
    assert {k: v.shape for k, v in outputs.items()} == {
        t.name: t.shape for t in output_specs(spec, len(SHIPPED_CLASSES))
    }
    session_inputs = {i.name for i in onnx.load(tmp_path / "net.onnx").graph.input}
    assert session_inputs == {t.name for t in input_specs(spec)}


def test_a_network_of_one_more_class_starts_from_the_weights_of_its_parent(tmp_path: Path) -> None:
    parent = _lively(PICO, 4)
    save_weights(parent, tmp_path / "w.bin")
    child = load_weights(tmp_path / "w.bin", PICO, (*SHIPPED_CLASSES, "scooter"))
    inputs = example_inputs(PICO)
    before, after = run_torch(parent, inputs)["heatmap"], run_torch(child, inputs)["heatmap"]
    assert after.shape[1] == 13
    np.testing.assert_allclose(after[:, :12], before, atol=1e-6)
    assert child.heatmap[1].bias[12] == RARE_LOGIT


def test_weights_of_more_classes_than_are_named_are_refused(tmp_path: Path) -> None:
    save_weights(BevNet(PICO), tmp_path / "w.bin")
    with pytest.raises(HashMismatchError, match="does not fit pico"):
        load_weights(tmp_path / "w.bin", PICO, SHIPPED_CLASSES[:10])


def test_a_graph_says_how_many_classes_it_tells_apart(graph: Path) -> None:
    assert classes_in(graph) == len(SHIPPED_CLASSES)
