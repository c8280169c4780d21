"""The two repositories as files: who may sign what, in which order things appear, what survives a crash."""

import json
import stat
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from securesystemslib.signer import CryptoSigner

from edge.contracts.bundle import EngineKind, Precision, TensorSpec
from edge.contracts.classes import SHIPPED_CLASSES
from edge.contracts.errors import OperatorError, SignatureError
from edge.contracts.golden import GoldenFrame
from edge.contracts.release import Assignment, blob_path, director_metadata, manifest_path
from edge.contracts.time import NS_PER_S
from fleet.bundle.bundle import BundleSpec, EngineKey, build_bundle, rereleased
from fleet.repository import DirectorRepository, ImageRepository, KeyRing, create_keys
from fleet.repository import metadata as repository_metadata

NOW_NS = 1_800_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
ANSWER = {"a": np.zeros(1, np.float32)}
SPEC = BundleSpec(
    model="toy",
    inputs=(TensorSpec(name="a", dtype="float32", shape=(1,)),),
    outputs=(TensorSpec(name="a", dtype="float32", shape=(1,)),),
    thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.3),
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    ring = KeyRing(tmp_path_factory.mktemp("keys"))
    create_keys(ring)
    return ring


@pytest.fixture
def image(tmp_path, keys):
    repository = ImageRepository(tmp_path / "tree", tmp_path / "drafts", keys)
    repository.create(NOW_NS)
    return repository


@pytest.fixture
def director(tmp_path, keys, image):
    repository = DirectorRepository(tmp_path / "tree", keys)
    repository.create(NOW_NS)
    repository.enrol("car-1", NOW_NS)
    return repository


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "engine").write_bytes(b"weights")
    files = {EngineKey(EngineKind.ONNX, Precision.FP32): tmp_path / "engine"}
    return build_bundle(
        files,
        SPEC,
        [GoldenFrame(ANSWER, ANSWER)],
        tolerance=0.1,
        profile="laptop",
        release_counter=1,
    )


def release(image, bundle, now_ns=NOW_NS):
    found = image.propose(bundle, now_ns)
    image.sign("release-a")
    image.sign("release-b")
    image.publish(now_ns)
    return found


def version(tree, path):
    return json.loads((tree / path).read_bytes())["signed"]["version"]


def test_private_keys_are_readable_by_their_owner_alone(tmp_path):
    ring = KeyRing(tmp_path / "ring")
    ring.create("release-a")
    assert stat.S_IMODE((tmp_path / "ring/release-a.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ring").stat().st_mode) == 0o700


def test_private_key_that_others_may_read_is_not_used(tmp_path):
    ring = KeyRing(tmp_path / "ring")
    ring.create("release-a")
    (tmp_path / "ring/release-a.pem").chmod(0o644)
    with pytest.raises(OperatorError, match="read by others"):
        ring.signer("release-a")


def test_existing_key_is_never_replaced(tmp_path):
    ring = KeyRing(tmp_path / "ring")
    ring.create("release-a")
    before = ring.public("release-a").keyid
    ring.create("release-a")
    assert ring.public("release-a").keyid == before


def test_key_whose_creation_was_cut_short_is_completed(tmp_path):
    ring = KeyRing(tmp_path / "ring")
    ring.create("release-a")
    before = ring.public("release-a").keyid
    (tmp_path / "ring/release-a.pub").unlink()
    ring.create("release-a")
    assert ring.public("release-a").keyid == before


@pytest.mark.parametrize("half", ["pub", "pem"])
@pytest.mark.parametrize(
    "held",
    [b"", b"null", b"[]", b"{}", b'{"keyid": "a", "key": null}', b"[" * 100_000, b"\xff", "rsa"],
    ids=["nothing", "null", "list", "no fields", "no key", "deep", "no text", "rsa"],
)
def test_file_that_holds_no_key_is_named(tmp_path, half, held):
    ring, path = KeyRing(tmp_path / "ring"), tmp_path / f"ring/release-a.{half}"
    ring.create("release-a")
    path.write_bytes(CryptoSigner.generate_rsa().private_bytes if held == "rsa" else held)
    with pytest.raises(OperatorError, match=f"release-a.{half} holds no .*key; restore it"):
        ring.signers_of(["a"]) if half == "pub" else ring.signer("release-a")


def test_unknown_key_and_absent_private_half_are_the_operators_error(tmp_path):
    ring = KeyRing(tmp_path / "ring")
    ring.create("release-a")
    (tmp_path / "ring/release-a.pem").unlink()
    with pytest.raises(OperatorError, match="private half"):
        ring.signer("release-a")
    with pytest.raises(OperatorError, match="no key 'release-z'"):
        ring.public("release-z")


def test_bundle_appears_after_two_people_signed_it(tmp_path, image, bundle):
    found = image.propose(bundle, NOW_NS)
    assert image.released() == ()
    assert image.sign("release-a") == 1
    with pytest.raises(SignatureError, match="1 of 2"):
        image.publish(NOW_NS)
    assert image.sign("release-c") == 2
    image.publish(NOW_NS)
    assert image.released() == (found,)
    assert (tmp_path / "tree" / blob_path(bundle.manifest.golden.sha256)).is_file()


def test_same_person_twice_is_one_signature(image, bundle):
    image.propose(bundle, NOW_NS)
    assert [image.sign("release-a"), image.sign("release-a")] == [1, 1]


def test_two_people_need_not_share_a_machine(tmp_path, image, bundle, keys):
    """Each holds one private file and everybody's public ones; the draft travels."""
    image.propose(bundle, NOW_NS)
    for person, name in (("anna", "release-a"), ("bert", "release-b")):
        folder = tmp_path / person
        folder.mkdir()
        for public in keys.names():
            (folder / f"{public}.pub").write_bytes(keys._path(public, "pub").read_bytes())
        pem = folder / f"{name}.pem"
        pem.touch(0o600)
        pem.write_bytes(keys._path(name, "pem").read_bytes())
        ring = KeyRing(folder)
        desk = ImageRepository(tmp_path / "tree", tmp_path / "drafts", ring)
        count = desk.sign(name)
        with pytest.raises(OperatorError, match="private half"):
            desk.sign("release-c")
    assert count == 2


def test_key_of_another_role_may_not_sign_a_release(image, bundle):
    image.propose(bundle, NOW_NS)
    with pytest.raises(OperatorError, match="may not sign"):
        image.sign("image-timestamp")


def test_changing_a_draft_voids_its_signatures(image, bundle):
    image.propose(bundle, NOW_NS)
    image.sign("release-a")
    image.propose(rereleased(bundle, 2), NOW_NS)
    assert image.sign("release-b") == 1


def test_nothing_to_sign_is_the_operators_error(image):
    with pytest.raises(OperatorError, match="no draft"):
        image.sign("release-a")
    with pytest.raises(OperatorError, match="no draft"):
        image.publish(NOW_NS)


@pytest.mark.parametrize("counter", [3, 5])
def test_counter_that_is_not_the_highest_is_not_proposed(image, bundle, counter):
    release(image, rereleased(bundle, 5))
    with pytest.raises(OperatorError, match="not above 5"):
        image.propose(rereleased(bundle, counter), NOW_NS)


def test_counters_of_profiles_are_independent(image, bundle, tmp_path):
    release(image, rereleased(bundle, 5))
    files = {EngineKey(EngineKind.ONNX, Precision.FP32): tmp_path / "engine"}
    frames = [GoldenFrame(ANSWER, ANSWER)]
    other = build_bundle(files, SPEC, frames, tolerance=0.1, profile="orin", release_counter=1)
    release(image, other)
    assert [r.profile for r in image.released()] == ["laptop", "orin"]


def test_bundle_whose_id_is_not_its_content_is_not_proposed(image, bundle):
    false = msgspec.structs.replace(bundle.manifest, model="other")
    with pytest.raises(OperatorError, match="its content is"):
        image.propose(replace(bundle, manifest=false), NOW_NS)


def test_creating_again_changes_nothing(tmp_path, image, director):
    before = {p: p.read_bytes() for p in (tmp_path / "tree").rglob("*.json")}
    image.create(NOW_NS)
    director.create(NOW_NS)
    director.enrol("car-1", NOW_NS)
    assert {p: p.read_bytes() for p in (tmp_path / "tree").rglob("*.json")} == before


class Cut(Exception):
    """The publisher dies here."""


def test_timestamp_is_written_last_and_a_publication_cut_anywhere_is_done_again(
    tmp_path, image, bundle, monkeypatch
):
    tree, written, left = tmp_path / "tree", [], []
    original = repository_metadata.write_atomically

    def counting(path, data):
        if len(written) in left:
            raise Cut
        written.append(path.name)
        original(path, data)

    image.propose(bundle, NOW_NS)
    image.sign("release-a")
    image.sign("release-b")
    monkeypatch.setattr(repository_metadata, "write_atomically", counting)
    for dies_at in (0, 1, 2):
        left[:] = [dies_at]
        written.clear()
        with pytest.raises(Cut):
            image.publish(NOW_NS)
        assert image.released() == (), "nothing shows before the timestamp"
    left.clear()
    written.clear()
    image.publish(NOW_NS)
    assert written == ["2.targets.json", "2.snapshot.json", "timestamp.json"]
    assert len(image.released()) == 1
    assert version(tree, "image/metadata/timestamp.json") == 2


def test_draft_that_was_published_just_before_a_crash_is_not_taken_for_new(tmp_path, image, bundle):
    image.propose(bundle, NOW_NS)
    image.sign("release-a")
    image.sign("release-b")
    draft = (tmp_path / "drafts/targets.json").read_bytes()
    image.publish(NOW_NS)
    (tmp_path / "drafts/targets.json").write_bytes(draft)
    with pytest.raises(OperatorError, match="no draft"):
        image.publish(NOW_NS)
    release(image, rereleased(bundle, 2))
    assert [r.release_counter for r in image.released()] == [1, 2]


def test_assignment_of_a_released_bundle_is_written_once(
    tmp_path, director, image, bundle, assigned
):
    assignment = Assignment(vehicle_id="car-1", release=release(image, bundle))
    assert assigned(tmp_path / "tree", "car-1") is None
    assert director.assign(assignment, NOW_NS)
    assert not director.assign(assignment, NOW_NS)
    assert assigned(tmp_path / "tree", "car-1") == assignment


def test_bundle_that_is_not_released_cannot_be_assigned(director, image, bundle):
    proposed = image.propose(bundle, NOW_NS)
    with pytest.raises(OperatorError, match="not released like that"):
        director.assign(Assignment(vehicle_id="car-1", release=proposed), NOW_NS)
    image.sign("release-a")
    image.sign("release-b")
    image.publish(NOW_NS)
    other = msgspec.structs.replace(proposed, unpacked_bytes=1)
    with pytest.raises(OperatorError, match="not released like that"):
        director.assign(Assignment(vehicle_id="car-1", release=other), NOW_NS)


def test_vehicle_that_is_not_enrolled_cannot_be_assigned_anything(director, image, bundle):
    found = release(image, bundle)
    with pytest.raises(OperatorError, match="enrol the vehicle"):
        director.assign(Assignment(vehicle_id="car-2", release=found), NOW_NS)
    assert director.vehicles() == ("car-1",)


def test_manifest_lies_where_a_vehicle_will_look(tmp_path, image, bundle):
    found = release(image, bundle)
    folder, name = manifest_path(found).split("/")
    (served,) = (tmp_path / "tree/image/targets" / folder).iterdir()
    assert served.name.endswith(f".{name}")
    assert served.read_bytes() == bundle.manifest_bytes


def test_no_private_byte_is_served(tmp_path, image, director, bundle, keys):
    release(image, bundle)
    secrets = [keys._path(name, "pem").read_bytes() for name in keys.names()]
    for path in (tmp_path / "tree").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"PRIVATE" not in data
            assert not any(secret in data for secret in secrets)


def test_fresh_metadata_is_not_renewed_and_half_spent_metadata_is(tmp_path, image, director):
    assert not image.renew(NOW_NS + 11 * HOUR_NS)
    assert director.renew(NOW_NS + 11 * HOUR_NS) == ()
    assert image.renew(NOW_NS + 13 * HOUR_NS)
    assert director.renew(NOW_NS + 13 * HOUR_NS) == ("car-1",)
    tree = tmp_path / "tree"
    assert version(tree, "image/metadata/timestamp.json") == 2
    assert image.expiries_ns()["timestamp"] == NOW_NS + 37 * HOUR_NS
    assert version(tree, f"{director_metadata('car-1')}/1.targets.json") == 1


def test_director_targets_are_renewed_before_they_expire(
    tmp_path, director, image, bundle, assigned
):
    assignment = Assignment(vehicle_id="car-1", release=release(image, bundle))
    director.assign(assignment, NOW_NS)
    assert director.renew(NOW_NS + 100 * DAY_NS) == ("car-1",)
    assert assigned(tmp_path / "tree", "car-1") == assignment


def test_offline_targets_are_never_renewed_without_people(image):
    later_ns = NOW_NS + 100 * DAY_NS
    image.renew(later_ns)
    assert image.expiries_ns()["targets"] == NOW_NS + 180 * DAY_NS
    image.refresh_draft(later_ns)
    image.sign("release-b")
    image.sign("release-c")
    image.publish(later_ns)
    assert image.expiries_ns()["targets"] == later_ns + 180 * DAY_NS


def test_root_needs_two_root_keys(tmp_path, image, keys):
    folder = tmp_path / "thief"
    folder.mkdir()
    for name in keys.names():
        (folder / f"{name}.pub").write_bytes(keys._path(name, "pub").read_bytes())
    pem = folder / "root-a.pem"
    pem.touch(0o600)
    pem.write_bytes(keys._path("root-a", "pem").read_bytes())
    thief = ImageRepository(tmp_path / "tree", tmp_path / "drafts", KeyRing(folder))
    with pytest.raises(SignatureError, match="1 of 2"):
        thief.rotate("targets", "release-a", "root-a", NOW_NS)
    assert not (tmp_path / "tree/image/metadata/2.root.json").exists()


def test_rotated_key_signs_and_the_old_one_does_not(image, bundle, keys):
    keys.create("release-d")
    image.rotate("targets", "release-a", "release-d", NOW_NS)
    image.propose(bundle, NOW_NS)
    with pytest.raises(OperatorError, match="may not sign"):
        image.sign("release-a")
    image.sign("release-d")
    assert image.sign("release-b") == 2
    with pytest.raises(OperatorError, match="is no key of"):
        image.rotate("targets", "release-a", "release-d", NOW_NS)
