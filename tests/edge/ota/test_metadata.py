"""What two verified repositories may say to a vehicle, and what a thief of any set of keys can do."""

import itertools

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Delegations, MetaFile, TargetFile, Targets
from tuf.ngclient.updater import Updater

from edge.contracts.release import Assignment, Recipient, Release, blob_path, manifest_path
from edge.contracts.time import NS_PER_S
from edge.ota.fetch import HttpStatusError, ResponseBody
from edge.ota.metadata import Identity, Offer, Repositories, agreed_release, foreign_metadata
from edge.ota.refusal import Refusal, RefusalKind
from fleet.repository import Lifetimes
from fleet.repository.metadata import MetadataFolder

NOW_NS = 1_800_000_000 * NS_PER_S
ME = Identity("car-1", "laptop")
RELEASE = Release(bundle_id="b-1", profile="laptop", release_counter=2, unpacked_bytes=10)
PATH = manifest_path(RELEASE)
BLOB = TargetFile(10, {"sha256": "ab" * 32}, blob_path("ab" * 32))


def target(custom, path=PATH, sha256="c" * 64, length=100):
    found = TargetFile(length, {"sha256": sha256}, path)
    found.unrecognized_fields["custom"] = msgspec.to_builtins(custom)
    return found


def image(custom=RELEASE, **kwargs):
    released = target(custom, **kwargs)
    return Targets(targets={released.path: released, BLOB.path: BLOB})


def director(*, release=RELEASE, vehicle_id="car-1", path=PATH, **kwargs):
    assignment = Assignment(vehicle_id=vehicle_id, release=release, **kwargs)
    return Targets(targets={path: target(assignment, path)})


def refusal_kind(director_targets, image_targets=None):
    found = agreed_release(director_targets, image_targets or image(), ME, "http://fleet")
    assert isinstance(found, Refusal), found
    return found.kind


def test_what_both_say_is_offered():
    offer = agreed_release(director(), image(), ME, "http://fleet")
    assert isinstance(offer, Offer)
    assert offer.manifest_url == f"http://fleet/image/targets/laptop/{'c' * 64}.b-1-2.json"
    assert offer.blob_sizes == {"ab" * 32: 10}


def test_no_assignment_is_no_offer():
    assert agreed_release(Targets(), image(), ME, "") is None


def test_two_bundles_for_one_vehicle_are_refused():
    targets = director()
    other = target(Assignment(vehicle_id="car-1", release=RELEASE), "laptop/b-1-3.json")
    targets.targets[other.path] = other
    assert refusal_kind(targets) is RefusalKind.AMBIGUOUS


def test_director_that_delegates_is_refused():
    targets = director()
    targets.delegations = Delegations({}, {})
    assert refusal_kind(targets) is RefusalKind.AMBIGUOUS


def test_assignment_to_another_vehicle_is_refused():
    assert refusal_kind(director(vehicle_id="car-2")) is RefusalKind.FOREIGN_VEHICLE


@pytest.mark.parametrize("custom", [None, {}, {"vehicle_id": "car-2"}, {"vehicle_id": 1}])
def test_director_metadata_that_does_not_name_this_vehicle_is_foreign(custom):
    targets = Targets(unrecognized_fields={"custom": custom})
    assert foreign_metadata(targets, ME).kind is RefusalKind.FOREIGN_VEHICLE


def test_director_metadata_that_names_this_vehicle_is_not():
    custom = msgspec.to_builtins(Recipient(vehicle_id="car-1"))
    assert foreign_metadata(Targets(unrecognized_fields={"custom": custom}), ME) is None


def test_words_of_the_director_that_do_not_decode_are_refused():
    targets = director()
    targets.targets[PATH].unrecognized_fields["custom"] = {"vehicle_id": "car-1"}
    assert refusal_kind(targets) is RefusalKind.SCHEMA


def test_bundle_of_another_profile_is_refused():
    other = msgspec.structs.replace(RELEASE, profile="orin")
    assert refusal_kind(director(release=other, path=manifest_path(other))) is RefusalKind.PROFILE


def test_path_that_does_not_belong_to_the_release_is_refused():
    assert refusal_kind(director(path="laptop/../../etc")) is RefusalKind.MISMATCH


@pytest.mark.parametrize(
    "listed",
    [
        {"sha256": "d" * 64},
        {"length": 101},
        {"custom": msgspec.structs.replace(RELEASE, unpacked_bytes=11)},
        {"custom": {"bundle_id": "b-1"}},
        {"path": "laptop/b-1-9.json"},
    ],
)
def test_image_repository_that_says_anything_else_is_a_mismatch(listed):
    assert refusal_kind(director(), image(**listed)) is RefusalKind.MISMATCH


def test_target_without_sha256_is_refused():
    one, two = director(), image()
    for targets in (one, two):
        targets.targets[PATH].hashes = {"sha512": "c" * 128}
    assert refusal_kind(one, two) is RefusalKind.MISMATCH


def test_blob_listed_under_a_false_name_is_no_signed_blob():
    targets = image()
    targets.targets["blobs/elsewhere"] = TargetFile(1, {"sha256": "ef" * 32}, "blobs/elsewhere")
    assert agreed_release(director(), targets, ME, "").blob_sizes == {"ab" * 32: 10}


def test_private_name_of_python_tuf_is_still_there(newborn_fleet, tmp_path):
    updater = Updater(
        str(tmp_path), "http://127.0.0.1:9", bootstrap=newborn_fleet.image.root_bytes()
    )
    assert updater._trusted_set.reference_time is not None
    assert updater._trusted_set.root.version == 1


class Tree:
    """A folder as a link, without a server."""

    def __init__(self, folder):
        self.folder = folder

    def open(self, url, offset=0):
        path = self.folder / url.removeprefix("mem://fleet/")
        if not path.is_file():
            raise HttpStatusError(url, 404)
        return ResponseBody(0, iter([path.read_bytes()]))


@pytest.fixture
def look(tmp_path, make_local_disk, anchors):
    """Let a fresh vehicle look at a tree."""
    counter = itertools.count()

    def run(tree, now_ns=NOW_NS):
        repositories = Repositories(
            base_url="mem://fleet",
            identity=ME,
            anchors=anchors,
            disk=make_local_disk(tmp_path / f"vehicle-{next(counter)}"),
            link=Tree(tree),
        )
        return repositories.check(now_ns)

    return run


ONLINE = {
    "image/metadata": ("image-snapshot", "image-timestamp"),
    "director/car-1/metadata": ("director-snapshot", "director-timestamp"),
}
TARGETS = {
    "image/metadata": ("release-a", "release-b", "release-c"),
    "director/car-1/metadata": ("director-targets",),
}
ONLINE_KEYS = ("director-targets", *itertools.chain(*ONLINE.values()))
SUBSETS = [
    frozenset({*releases, *online})
    for releases in ((), ("release-a",), ("release-a", "release-c"))
    for size in range(len(ONLINE_KEYS) + 1)
    for online in itertools.combinations(ONLINE_KEYS, size)
]


def test_thief_installs_only_with_two_release_keys_and_every_online_key(fleet, keys, look):
    """For every subset of stolen keys: a thief signs what he wants with those he has, and forges the rest."""
    fleet.offer(6.66, 2)
    honest = {name: MetadataFolder(fleet.tree / name, keys, Lifetimes()) for name in ONLINE}
    published = {name: folder.published() for name, folder in honest.items()}
    installs = []
    for stolen in SUBSETS:
        for name, (timestamp, snapshot, targets) in published.items():
            files = fleet.tree / name
            online = ONLINE[name]
            data = signed_by_thief(targets, TARGETS[name], keys, stolen)
            (files / "2.targets.json").write_bytes(data)
            snapshot.signed.meta["targets.json"] = MetaFile.from_data(2, data, ["sha256"])
            data = signed_by_thief(snapshot, online[:1], keys, stolen)
            (files / "2.snapshot.json").write_bytes(data)
            timestamp.signed.snapshot_meta = MetaFile.from_data(2, data, ["sha256"])
            data = signed_by_thief(timestamp, online[1:], keys, stolen)
            (files / "timestamp.json").write_bytes(data)
        found = look(fleet.tree)
        if isinstance(found, Offer):
            installs.append(stolen)
        else:
            assert found.kind is RefusalKind.SIGNATURE
    assert installs == [frozenset({"release-a", "release-c", *ONLINE_KEYS})]


def signed_by_thief(metadata, names, keys, stolen):
    metadata.signatures.clear()
    for name in names:
        keyid = keys.public(name).keyid
        forger = CryptoSigner.generate_ed25519(keyid=keyid)
        metadata.sign(keys.signer(name) if name in stolen else forger, append=True)
    return metadata.to_bytes()


def test_repository_that_is_not_there_is_a_dead_link(look, tmp_path):
    assert look(tmp_path / "nothing").kind is RefusalKind.LINK


def test_vehicle_that_is_not_enrolled_is_told_nothing(fleet, look):
    (fleet.tree / "director/car-1").rename(fleet.tree / "director/car-9")
    assert look(fleet.tree).kind is RefusalKind.LINK


def test_vehicle_with_nothing_assigned_is_offered_nothing(fleet, look):
    assert look(fleet.tree) is None
