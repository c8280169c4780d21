"""Released manifests: readable bytes that come back as they were, and names that lead nowhere else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.bundle import (
    BundleManifest,
    EngineFile,
    EngineKind,
    GoldenSet,
    Precision,
    TensorSpec,
)
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.errors import SchemaError
from edge.contracts.release import (
    MAX_MANIFEST_BYTES,
    blob_path,
    blob_sizes,
    decode_manifest,
    encode_manifest,
    manifest_path,
    release_of,
)


def manifest(**changes):
    fields = {
        "bundle_id": "b-1",
        "model": "pico",
        "profile": "laptop",
        "release_counter": 7,
        "engines": (
            EngineFile(
                kind=EngineKind.ONNX, precision=Precision.INT8, sha256="a" * 64, size_bytes=10
            ),
            EngineFile(
                kind=EngineKind.TFLITE, precision=Precision.INT8, sha256="b" * 64, size_bytes=20
            ),
        ),
        "inputs": (TensorSpec(name="images", dtype="uint8", shape=(8, 4, 4, 3)),),
        "outputs": (TensorSpec(name="heat", dtype="float32", shape=(12, 4, 4)),),
        "categories": SHIPPED_CLASSES,
        "thresholds": dict.fromkeys(SHIPPED_CLASSES, 0.25),
        "golden": GoldenSet(sha256="c" * 64, size_bytes=5, frames=1, tolerance=0.1),
    }
    return BundleManifest(**(fields | changes))


@given(st.integers(0, 2**53 - 1), st.floats(0.0, 1.0))
def test_manifest_comes_back_as_it_was(counter, threshold):
    before = manifest(release_counter=counter, thresholds=dict.fromkeys(SHIPPED_CLASSES, threshold))
    assert decode_manifest(encode_manifest(before)) == before


def test_field_of_a_newer_fleet_is_tolerated():
    data = encode_manifest(manifest()).replace(b'"model"', b'"colour": "red", "model"', 1)
    assert decode_manifest(data) == manifest()


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff", b"[1]", b" " * (MAX_MANIFEST_BYTES + 1)])
def test_junk_is_refused(junk):
    with pytest.raises(SchemaError):
        decode_manifest(junk)


def test_release_says_profile_counter_and_sum_of_the_blobs():
    release = release_of(manifest())
    assert (release.profile, release.release_counter) == ("laptop", 7)
    assert release.unpacked_bytes == 10 + 20 + 5


def test_blob_that_serves_twice_counts_once():
    twice = (manifest().engines[0], msgspec.structs.replace(manifest().engines[0], graph="small"))
    assert blob_sizes(manifest(engines=twice)) == {"a" * 64: 10, "c" * 64: 5}


def test_paths_spread_and_name_what_they_hold():
    assert blob_path("ab" * 32) == f"blobs/sha256/ab/{'ab' * 32}"
    assert manifest_path(release_of(manifest())) == "laptop/b-1-7.json"
