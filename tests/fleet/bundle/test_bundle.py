"""Bundles: the same inputs give the same bytes, and what no vehicle could accept is not built."""

import dataclasses

import numpy as np
import pytest

from edge.contracts.bundle import EngineKind, Precision, Provenance, TensorSpec
from edge.contracts.classes import ANIMAL, CAR, SHIPPED_CLASSES
from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.golden import GoldenFrame, unpack_golden
from edge.contracts.release import decode_manifest
from fleet.bundle.bundle import (
    BundleSpec,
    EngineKey,
    answered,
    build_bundle,
    measured_tolerance,
    read_bundle,
    rereleased,
    write_bundle,
)

SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="asked", dtype="float32", shape=(3,)),),
    outputs=(TensorSpec(name="answer", dtype="float32", shape=(3,)),),
    thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
)


class Times:
    """A network that multiplies, and may be a little off."""

    def __init__(self, weight, error=0.0):
        self.weight = weight
        self.error = error

    def run(self, inputs):
        return {"answer": (inputs["asked"] * self.weight + self.error).astype(np.float32)}


def golden(weight=2.0, graph="full"):
    return answered(Times(weight), [{"asked": np.array([1, 2, 3], np.float32)}], graph)


@pytest.fixture
def files(tmp_path):
    found = {}
    for kind, precision in (
        (EngineKind.TFLITE, Precision.INT8),
        (EngineKind.ONNX, Precision.FP32),
        (EngineKind.ONNX, Precision.INT8),
    ):
        path = tmp_path / f"{kind}-{precision}"
        path.write_bytes(f"{kind} {precision}".encode())
        found[EngineKey(kind, precision)] = path
    return found


def build(files, spec=SPEC, frames=None, **kwargs):
    fields = {"tolerance": 0.1, "profile": "laptop", "release_counter": 1} | kwargs
    return build_bundle(files, spec, frames or golden(), **fields)


def test_same_inputs_give_the_same_bytes_in_whatever_order(files):
    thresholds = dict(reversed(SPEC.thresholds.items()))
    one = build(files)
    other = build(
        dict(reversed(files.items())),
        BundleSpec(SPEC.model, SPEC.inputs, SPEC.outputs, thresholds),
    )
    assert one.manifest_bytes == other.manifest_bytes
    assert one.blobs == other.blobs


def test_manifest_lists_every_file_by_its_content(files):
    bundle = build(files)
    assert decode_manifest(bundle.manifest_bytes) == bundle.manifest
    assert {e.sha256 for e in bundle.manifest.engines} | {bundle.manifest.golden.sha256} == set(
        bundle.blobs
    )
    assert bundle.manifest.bundle_id == bundle.manifest.content_id()
    assert bundle.manifest.golden.frames == 1


def test_manifest_says_which_velocities_are_believed(files):
    spec = dataclasses.replace(SPEC, velocity_sigma_mps={CAR: 0.5})
    assert decode_manifest(build(files, spec).manifest_bytes).velocity_sigma_mps == {CAR: 0.5}


def test_golden_set_holds_questions_and_answers(files):
    bundle = build(files)
    (frame,) = unpack_golden(bundle.blobs[bundle.manifest.golden.sha256])
    assert frame.outputs["answer"].tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    "changed",
    [
        {"spec": BundleSpec("toy2", SPEC.inputs, SPEC.outputs, SPEC.thresholds)},
        {"spec": BundleSpec("toy", SPEC.inputs, SPEC.outputs, {**SPEC.thresholds, ANIMAL: 0.31})},
        {"spec": dataclasses.replace(SPEC, velocity_sigma_mps={CAR: 0.5})},
        {"frames": golden(3.0)},
        {"tolerance": 0.2},
    ],
)
def test_anything_that_changes_what_the_model_is_changes_the_id(files, changed):
    assert build(files, **changed).manifest.bundle_id != build(files).manifest.bundle_id


def test_what_does_not_change_the_model_does_not_change_the_id(files):
    other = build(files, profile="orin", release_counter=9, provenance=Provenance(recipe="x"))
    assert other.manifest.bundle_id == build(files).manifest.bundle_id


def test_rereleased_bundle_is_the_same_model_under_a_higher_counter(files):
    before = build(files, release_counter=4)
    after = rereleased(before, 6)
    assert after.manifest.bundle_id == before.manifest.bundle_id
    assert after.blobs == before.blobs
    assert after.manifest.release_counter == 6
    with pytest.raises(OperatorError, match="not higher"):
        rereleased(before, 4)


def test_written_bundle_reads_back(files, tmp_path):
    bundle = build(files)
    write_bundle(bundle, tmp_path / "out")
    assert read_bundle(tmp_path / "out") == bundle


def test_written_bundle_with_a_changed_or_missing_blob_is_refused(files, tmp_path):
    bundle = build(files)
    write_bundle(bundle, tmp_path / "out")
    path = tmp_path / "out" / bundle.manifest.engines[0].sha256
    path.write_bytes(b"other")
    with pytest.raises(HashMismatchError):
        read_bundle(tmp_path / "out")
    path.unlink()
    with pytest.raises(HashMismatchError, match="nothing"):
        read_bundle(tmp_path / "out")
    with pytest.raises(OperatorError):
        read_bundle(tmp_path / "nowhere")


def test_graph_without_golden_frame_is_not_built(files, tmp_path):
    files[EngineKey(EngineKind.ONNX, Precision.FP32, "small")] = next(iter(files.values()))
    with pytest.raises(OperatorError, match="no golden frame for graph small"):
        build(files)
    build(files, frames=(*golden(), *golden(graph="small")))


def test_golden_answers_that_are_not_finite_are_not_built(files):
    with pytest.raises(OperatorError, match="not finite"):
        build(files, frames=golden(float("nan")))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_golden_tensors_other_than_the_spec_are_not_built(files, side):
    frame = golden()[0]
    wrong = {"inputs": frame.inputs, "outputs": frame.outputs}
    wrong[side] = {"other": np.zeros(3, np.float32)}
    with pytest.raises(OperatorError, match=f"{side} are"):
        build(files, frames=(GoldenFrame(**wrong),))


def test_bundle_without_engine_or_with_a_category_without_threshold_is_not_built(files):
    with pytest.raises(ValueError, match="no engine file"):
        build({})
    lacking = {c: 0.3 for c in SHIPPED_CLASSES if c != ANIMAL}
    with pytest.raises(ValueError, match="no threshold for animal"):
        build(files, BundleSpec("toy", SPEC.inputs, SPEC.outputs, lacking))


def test_tolerance_is_the_worst_engine_with_a_margin():
    engines = {"full": [Times(2.0, 0.04), Times(2.0, 0.4)]}
    found = measured_tolerance(golden(), engines, margin=2.0)
    assert found == pytest.approx(2.0 * 0.4 / 4.0, rel=1e-4)


def test_engine_that_emits_nan_has_no_tolerance():
    with pytest.raises(OperatorError, match="not finite"):
        measured_tolerance(golden(), {"full": [Times(float("nan"))]})
