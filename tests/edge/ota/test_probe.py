"""The health gate: every way in which a bundle can answer wrongly is a refusal with its reason."""

import msgspec
import numpy as np
import pytest

from edge.contracts.arrays import pack_arrays
from edge.contracts.bundle import EngineKind, TensorSpec
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.errors import ContractError
from edge.ota import golden_probe
from edge.ota.probe import wrong_answer
from fleet.bundle.bundle import write_bundle


class Answers:
    """An engine that always says the same."""

    def __init__(self, **outputs):
        self.outputs = outputs

    def run(self, _inputs):
        return self.outputs


@pytest.fixture
def bundle(tmp_path, toy_release):
    """Asked (1, 2, 3), it answers (2, 4, 6), within 0.01 of the range 4."""
    built, _ = toy_release(tmp_path, 2.0, 1)
    write_bundle(built, tmp_path / "bundle")
    return built.manifest


@pytest.fixture
def judge(tmp_path, bundle):
    def run(engine, manifest=bundle, **kwargs):
        opened = golden_probe(lambda _file, _path, _manifest: engine, **kwargs)
        return opened(tmp_path / "bundle", manifest)

    return run


def answer(*values):
    return Answers(answer=np.array(values, np.float32))


def test_same_answer_passes(judge):
    assert judge(answer(2, 4, 6)).is_passed


def test_answer_within_tolerance_passes_and_beyond_it_does_not(judge):
    assert judge(answer(2, 4, 6.03)).is_passed
    outcome = judge(answer(2, 4, 6.05))
    assert not outcome.is_passed
    assert "off by 0.0125 of its range" in outcome.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_refused(judge, value):
    assert "not finite" in judge(answer(2, value, 6)).reason


def test_missing_output_is_refused(judge):
    assert "missing" in judge(Answers()).reason


def test_other_shape_or_type_is_refused(judge):
    assert "expected float32 (3,)" in judge(answer(2, 4)).reason
    wide = Answers(answer=np.array([2, 4, 6], np.float64))
    assert "expected float32 (3,)" in judge(wide).reason


def test_a_bundle_that_names_more_classes_than_its_heat_map_has_channels_is_refused(judge, bundle):
    heatmap = TensorSpec(name="heatmap", dtype="float32", shape=(1, 11, 48, 48))
    lying = msgspec.structs.replace(bundle, outputs=(*bundle.outputs, heatmap))
    assert (
        "has 11 channels and its label map names 12 classes" in judge(answer(2, 4, 6), lying).reason
    )


def test_a_bundle_with_classes_that_this_software_does_not_know_passes(judge, bundle):
    names = (*SHIPPED_CLASSES, "tuk_tuk", "kangaroo")
    newer = msgspec.structs.replace(bundle, categories=names, thresholds=dict.fromkeys(names, 0.3))
    assert judge(answer(2, 4, 6), newer).is_passed


def test_other_calibration_table_version_is_refused(judge, bundle):
    newer = msgspec.structs.replace(bundle, calibration_table_version=99)
    assert "calibration table version 99" in judge(answer(2, 4, 6), newer).reason


def test_bundle_without_an_engine_for_this_board_is_refused(judge):
    assert "no engine file" in judge(answer(2, 4, 6), kinds=(EngineKind.TFLITE,)).reason


def test_engine_that_does_not_load_is_refused(tmp_path, bundle):
    def broken(_file, _path, _manifest):
        raise ContractError("not a model")

    assert golden_probe(broken)(tmp_path / "bundle", bundle).reason == "not a model"


def test_golden_set_that_is_missing_or_junk_is_refused(tmp_path, judge, bundle):
    path = tmp_path / "bundle" / bundle.golden.sha256
    path.write_bytes(b"junk")
    assert "container" in judge(answer(2, 4, 6)).reason
    path.unlink()
    assert not judge(answer(2, 4, 6)).is_passed


def test_golden_tensors_other_than_the_manifest_promises_are_refused(tmp_path, judge, bundle):
    path = tmp_path / "bundle" / bundle.golden.sha256
    odd = {f"0000/full/{side}": np.zeros(4, np.float32) for side in ("in/asked", "out/answer")}
    path.write_bytes(pack_arrays(odd))
    assert "the manifest promises" in judge(answer(0, 0, 0, 0)).reason


def test_graph_without_a_golden_frame_is_refused(judge, bundle):
    engines = (msgspec.structs.replace(bundle.engines[0], graph="small"),)
    small = msgspec.structs.replace(bundle, engines=engines)
    assert "no golden frame" in judge(answer(2, 4, 6), small).reason


def test_constant_golden_output_is_met_within_the_tolerance_itself():
    golden = {"a": np.full(2, 7.0, np.float32)}
    assert not wrong_answer({"a": golden["a"] + np.float32(0.05)}, golden, 0.1)
    assert wrong_answer({"a": golden["a"] + np.float32(0.2)}, golden, 0.1)
