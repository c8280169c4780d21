"""Perceivers: a network behind one call, and what it refuses to load."""

import hashlib
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edge.contracts.bundle import EngineFile, EngineKind, Precision
from edge.contracts.classes import CAR, PEDESTRIAN, SHIPPED_CLASSES
from edge.contracts.errors import ContractError, OperatorError
from edge.contracts.scene import Rung
from edge.perceive.perceiver import (
    NetworkPerceiver,
    load_perceivers,
)
from edge.perceive.tensors import PICO, OutputFault, input_specs, output_specs


def test_boxes_come_through_the_real_encoding(
    rig, manifest, scripted_engine, box, frame_set
) -> None:
    wanted = (box(12.3, -4.5, yaw_rad=0.4, vx_mps=3.0), box(20.0, 7.0, PEDESTRIAN))
    perceiver = NetworkPerceiver(scripted_engine(lambda tick: wanted), rig, manifest)
    seen = perceiver.perceive(frame_set(0)).boxes
    for found, expected in zip(seen, wanted, strict=True):
        assert found.category == expected.category
        for name in ("x_m", "y_m", "length_m", "yaw_rad", "vx_mps"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_a_score_below_the_shipped_threshold_is_no_box(
    rig, manifest, scripted_engine, box, frame_set
) -> None:
    strict = msgspec.structs.replace(manifest, thresholds=manifest.thresholds | {CAR: 0.95})
    perceiver = NetworkPerceiver(scripted_engine(lambda tick: [box(10, 0)]), rig, strict)
    assert perceiver.perceive(frame_set(0)).boxes == ()


def test_the_stages_of_a_look_are_announced_in_order(
    rig, manifest, scripted_engine, frame_set
) -> None:
    stages = []

    @contextmanager
    def watch(stage: str):
        stages.append(stage)
        yield

    NetworkPerceiver(scripted_engine(), rig, manifest).perceive(frame_set(0), watch)
    assert stages == ["preprocess", "infer", "decode"]


def fill_memory(tick: int, outputs: dict[str, np.ndarray]) -> None:
    outputs["queries"][:] = tick + 1.0


def test_what_was_seen_a_quarter_second_ago_is_remembered(
    rig, manifest, scripted_engine, frame_set
) -> None:
    engine = scripted_engine(spoil=fill_memory)
    perceiver = NetworkPerceiver(engine, rig, manifest)
    for k in range(10):
        perceiver.perceive(frame_set(k))
    assert not engine.asked[0]["memory"].any()
    np.testing.assert_array_equal(engine.asked[9]["memory"], 1.0)  # tick 0, nine ticks ago


def test_a_faulty_answer_is_not_remembered(rig, manifest, scripted_engine, frame_set) -> None:
    def spoil(tick: int, outputs: dict[str, np.ndarray]) -> None:
        fill_memory(tick, outputs)
        if tick == 0:
            outputs["boxes"][:] = np.nan

    engine = scripted_engine(spoil=spoil)
    perceiver = NetworkPerceiver(engine, rig, manifest)
    with pytest.raises(OutputFault):
        perceiver.perceive(frame_set(0))
    for k in range(1, 10):
        perceiver.perceive(frame_set(k))
    assert (engine.asked[9]["memory"] == 2.0).all()  # tick 1, eight ticks ago


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": "giant"}, "no network giant here"),
        ({"calibration_table_version": 99}, "calibration table version 99, expected 1"),
    ],
)
def test_a_bundle_that_would_be_misread_is_refused(
    rig, manifest, scripted_engine, changes, match
) -> None:
    with pytest.raises(ContractError, match=match):
        NetworkPerceiver(scripted_engine(), rig, msgspec.structs.replace(manifest, **changes))


def constant_network() -> bytes:
    """An ONNX file with the tensors of pico that answers zeros whatever it is asked."""
    value, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    onnx_type = {"uint8": types.UINT8, "int32": types.INT32, "float32": types.FLOAT}
    outputs = output_specs(PICO, len(SHIPPED_CLASSES))
    nodes = [
        onnx.helper.make_node(
            "ConstantOfShape",
            [f"shape_of_{s.name}"],
            [s.name],
            value=onnx.numpy_helper.from_array(np.zeros(1, np.float32)),
        )
        for s in outputs
    ]
    shapes = [
        onnx.numpy_helper.from_array(np.array(s.shape, np.int64), f"shape_of_{s.name}")
        for s in outputs
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "constant",
        [value(s.name, onnx_type[s.dtype], s.shape) for s in input_specs(PICO)],
        [value(s.name, types.FLOAT, s.shape) for s in outputs],
        shapes,
    )
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


def shipped(folder: Path, *graphs: str) -> tuple[EngineFile, ...]:
    content = constant_network()
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / sha256).write_bytes(content)
    return tuple(
        EngineFile(
            kind=EngineKind.ONNX,
            precision=Precision.FP32,
            sha256=sha256,
            size_bytes=len(content),
            graph=graph,
        )
        for graph in graphs
    )


def test_a_bundle_is_loaded_with_every_rung_it_serves(
    tmp_path, rig, manifest, profile, frame_set
) -> None:
    one = msgspec.structs.replace(manifest, engines=shipped(tmp_path, "full"))
    two = msgspec.structs.replace(manifest, engines=shipped(tmp_path, "full", "small"))
    assert list(load_perceivers(one, tmp_path, rig, profile)) == [Rung.FULL]
    perceivers = load_perceivers(two, tmp_path, rig, profile)
    assert list(perceivers) == [Rung.FULL, Rung.SMALL]
    assert all(p.perceive(frame_set(0)).boxes == () for p in perceivers.values())


def test_a_bundle_without_a_file_for_this_board_is_refused(
    tmp_path, rig, manifest, profile
) -> None:
    tflite_board = msgspec.structs.replace(profile, engines=(EngineKind.TFLITE,))
    bundle = msgspec.structs.replace(manifest, engines=shipped(tmp_path, "full"))
    with pytest.raises(OperatorError, match="no full graph for board paper, which runs tflite"):
        load_perceivers(bundle, tmp_path, rig, tflite_board)
