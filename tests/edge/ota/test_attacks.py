"""Attacks and faults on the way of an update, each on the whole path; the old slot keeps driving."""

import errno
import hashlib
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tuf.ngclient.updater import Updater

from edge.contracts.errors import OperatorError
from edge.contracts.release import blob_path, director_metadata, encode_manifest
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import InstallPhase
from edge.ota import BundlePhase, RefusalKind, active_bundle
from edge.ota.record import DurableRecord
from fleet.repository import DirectorRepository, ImageRepository

NOW_NS = 1_800_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


def counter(vehicle):
    return active_bundle(vehicle.root)[0].release_counter


def engine_path(bundle):
    return blob_path(bundle.manifest.engines[0].sha256)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_honest_release_is_installed_tried_and_committed(fleet, vehicle):
    fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
        assert agent.active()[0].release_counter == 2
        assert agent.on_ticks(9, 0, NOW_NS) is BundlePhase.TRIAL
        assert agent.on_ticks(1, 0, NOW_NS) is BundlePhase.COMMITTED
        assert agent.step(NOW_NS).refusal is None
    assert counter(vehicle) == 2


@pytest.mark.parametrize("seed", range(4))
def test_tampered_blob_is_refused(fleet, server, vehicle, seed):
    path = engine_path(fleet.offer(2.0, 2))
    data = (server.tree / path).read_bytes()
    at = int(np.random.default_rng(seed).integers(len(data)))
    server.served_instead[path] = flipped(data, at)
    assert vehicle.step().refusal.kind is RefusalKind.HASH
    assert counter(vehicle) == 1
    del server.served_instead[path]
    assert vehicle.step().phase is BundlePhase.TRIAL, "a retry after a failure is never skipped"


def test_tampered_manifest_is_refused(fleet, server, vehicle):
    fleet.offer(2.0, 2)
    manifest = next((server.tree / "image/targets").glob("*/*.json"))
    path = str(manifest.relative_to(server.tree))
    server.served_instead[path] = manifest.read_bytes().replace(b'"toy"', b'"tox"')
    assert vehicle.step().refusal.kind is RefusalKind.HASH
    assert counter(vehicle) == 1


@pytest.mark.parametrize("role", ["timestamp", "2.snapshot", "2.targets"])
@pytest.mark.parametrize("repository", ["image", "director/car-1"])
def test_tampered_metadata_is_refused(fleet, server, vehicle, repository, role):
    fleet.offer(2.0, 2)
    path = f"{repository}/metadata/{role}.json"
    data = (server.tree / path).read_bytes()
    server.served_instead[path] = data.replace(b'"version":2', b'"version":3')
    assert server.served_instead[path] != data
    assert vehicle.step().refusal is not None
    assert counter(vehicle) == 1


def test_one_person_signing_twice_is_still_one_person(fleet, vehicle):
    release = fleet.release(fleet.build(2.0, 2), signers=("release-b", "release-b"), minimum=1)
    fleet.assign(release)
    assert vehicle.step().refusal.kind is RefusalKind.SIGNATURE


def test_other_bundle_under_the_installed_counter_is_refused(fleet, vehicle):
    fleet.offer(2.0, 1)
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK
    assert counter(vehicle) == 1


@pytest.mark.parametrize("cut", [1, 4095, 4096, 4097, 30_000])
def test_half_downloaded_bundle_resumes_and_resends_at_most_a_chunk(fleet, server, vehicle, cut):
    bundle = fleet.offer(2.0, 2, padding=40_000)
    path = engine_path(bundle)
    size = len(bundle.blobs[bundle.manifest.engines[0].sha256])
    server.cut_after[path] = cut
    assert vehicle.step().refusal.kind is RefusalKind.LINK
    assert counter(vehicle) == 1
    assert vehicle.step().phase is BundlePhase.TRIAL
    assert server.sent_bytes(path) <= size + vehicle.settings.fetch.chunk_bytes


def test_resume_within_one_process_resends_nothing(fleet, server, vehicle):
    bundle = fleet.offer(2.0, 2, padding=40_000)
    path = engine_path(bundle)
    server.cut_after[path] = 12_345
    with vehicle.start() as agent:
        assert agent.step(NOW_NS).refusal.kind is RefusalKind.LINK
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
    assert server.sent_bytes(path) == len(bundle.blobs[bundle.manifest.engines[0].sha256])


def test_server_without_range_is_asked_again_from_the_start(fleet, server, vehicle):
    server.ignores_range = True
    server.cut_after[engine_path(fleet.offer(2.0, 2, padding=40_000))] = 12_345
    assert vehicle.step().refusal.kind is RefusalKind.LINK
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_metadata_of_another_vehicle_is_refused_and_does_no_lasting_harm(fleet, server, vehicle):
    fleet.director.enrol("car-2", NOW_NS)
    release = fleet.release(fleet.build(2.0, 2))
    for wave in range(5):
        fleet.assign(release, vehicle_id="car-2", wave=wave)
    mine, foreign = (server.tree / director_metadata(name) for name in ("car-1", "car-2"))
    shutil.move(mine, server.tree / "kept")
    shutil.copytree(foreign, mine)
    assert vehicle.step().refusal.kind is RefusalKind.FOREIGN_VEHICLE
    assert counter(vehicle) == 1
    shutil.rmtree(mine)
    shutil.move(server.tree / "kept", mine)
    fleet.assign(release)
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_expired_metadata_is_refused(fleet, vehicle):
    fleet.offer(2.0, 2)
    assert vehicle.step(NOW_NS + 2 * DAY_NS).refusal.kind is RefusalKind.EXPIRED
    assert counter(vehicle) == 1


def test_renewed_metadata_is_accepted_again(fleet, vehicle):
    fleet.offer(2.0, 2)
    later_ns = NOW_NS + 2 * DAY_NS
    assert vehicle.step(later_ns).refusal.kind is RefusalKind.EXPIRED
    assert fleet.image.renew(later_ns)
    assert fleet.director.renew(later_ns) == ("car-1",)
    assert vehicle.step(later_ns).phase is BundlePhase.TRIAL


@pytest.mark.parametrize("wrong_ns", [0, 1_577_836_800 * NS_PER_S])
def test_clock_reset_does_not_revive_expired_metadata(fleet, vehicle, wrong_ns):
    fleet.offer(2.0, 2)
    vehicle.step(NOW_NS + 30 * DAY_NS)
    assert vehicle.step(wrong_ns).refusal.kind is RefusalKind.EXPIRED
    assert counter(vehicle) == 1


def test_clock_far_ahead_costs_one_publication_and_no_more(fleet, vehicle):
    fleet.offer(2.0, 2)
    assert vehicle.step(NOW_NS + 5 * 365 * DAY_NS).refusal.kind is RefusalKind.EXPIRED
    assert vehicle.step(NOW_NS).refusal.kind is RefusalKind.EXPIRED, "as old as it was ever seen"
    tomorrow_ns = NOW_NS + DAY_NS
    fleet.image.renew(tomorrow_ns)
    fleet.director.renew(tomorrow_ns)
    assert vehicle.step(tomorrow_ns).phase is BundlePhase.TRIAL


def test_older_repository_is_refused(fleet, server, vehicle):
    fleet.offer(2.0, 2)
    last_week = fleet.snapshot("last_week")
    fleet.offer(3.0, 3)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(10, 0, NOW_NS)
    server.tree = last_week
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK
    assert counter(vehicle) == 3


def test_older_repository_is_refused_after_the_cache_was_emptied(fleet, server, vehicle):
    fleet.offer(2.0, 2)
    last_week = fleet.snapshot("last_week")
    fleet.offer(3.0, 3)
    vehicle.step()
    for file in (vehicle.root / "tuf").rglob("*.json"):
        if not file.is_symlink():
            file.write_bytes(b"")
    server.tree = last_week
    refusal = vehicle.step().refusal
    assert refusal.kind is RefusalKind.ROLLBACK
    assert "older than trusted" in refusal.reason


@pytest.mark.parametrize("old_part", ["image", "director"])
def test_mix_of_an_old_and_a_new_repository_is_refused(fleet, server, vehicle, old_part):
    fleet.offer(2.0, 2)
    last_week = fleet.snapshot("last_week")
    fleet.offer(3.0, 3)
    vehicle.step()
    mixed = fleet.snapshot("mixed")
    shutil.rmtree(mixed / old_part)
    shutil.copytree(last_week / old_part, mixed / old_part)
    server.tree = mixed
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK


def test_old_targets_under_a_new_snapshot_are_refused(fleet, server, vehicle):
    fleet.offer(2.0, 2)
    fleet.offer(3.0, 3)
    old = (server.tree / "image/metadata/2.targets.json").read_bytes()
    server.served_instead["image/metadata/3.targets.json"] = old
    assert vehicle.step().refusal.kind is RefusalKind.HASH
    assert counter(vehicle) == 1


def test_director_assigning_what_image_does_not_list_is_refused(fleet, server, vehicle):
    before = fleet.snapshot("before")
    fleet.offer(2.0, 2)
    shutil.rmtree(server.tree / "image/metadata")
    shutil.copytree(before / "image/metadata", server.tree / "image/metadata")
    assert vehicle.step().refusal.kind is RefusalKind.MISMATCH
    assert counter(vehicle) == 1


def test_endless_blob_is_cut_off(fleet, server, vehicle):
    bundle = fleet.offer(2.0, 2, padding=10_000)
    server.endless.add(engine_path(bundle))
    assert vehicle.step().refusal.kind is RefusalKind.HASH
    kept = sum(file.stat().st_size for file in (vehicle.root / "partial").iterdir())
    assert kept <= 10_000 + 65_536
    assert counter(vehicle) == 1


def test_endless_metadata_is_cut_off(fleet, server, vehicle):
    fleet.offer(2.0, 2)
    server.endless.add("director/car-1/metadata/timestamp.json")
    assert vehicle.step().refusal.kind is RefusalKind.HASH


@pytest.mark.parametrize("what", ["metadata", "blob"])
def test_dripping_server_is_left(fleet, server, vehicle, what):
    bundle = fleet.offer(2.0, 2, padding=100_000)
    path = "image/metadata/timestamp.json" if what == "metadata" else engine_path(bundle)
    server.dripping.add(path)
    vehicle.settings.fetch.window_s = 0.1
    refusal = vehicle.step().refusal
    assert refusal.kind is RefusalKind.LINK
    assert counter(vehicle) == 1
    server.dripping.clear()
    vehicle.settings.fetch.window_s = 5.0
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_unreachable_server_changes_nothing(fleet, vehicle):
    vehicle.settings.base_url = "http://127.0.0.1:9"
    assert vehicle.step().refusal.kind is RefusalKind.LINK
    assert counter(vehicle) == 1


def test_model_that_answers_otherwise_than_where_it_was_built_is_refused(fleet, vehicle):
    fleet.offer(2.0, 2, answers=2.1)
    assert vehicle.step().refusal.kind is RefusalKind.PROBE
    assert counter(vehicle) == 1


def test_refused_bundle_is_not_fetched_again_until_it_is_released_again(fleet, server, vehicle):
    fleet.offer(float("nan"), 2, answers=2.0)
    vehicle.step()
    server.requests.clear()
    assert vehicle.step().refusal.kind is RefusalKind.BAD_BUNDLE
    assert not [path for path, _, _ in server.requests if path.startswith("blobs/")]
    fleet.offer(2.0, 3)
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_faults_on_the_road_turn_the_new_bundle_out(fleet, vehicle):
    fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        assert agent.on_ticks(5, 1, NOW_NS) is BundlePhase.REVERTED
        assert agent.active()[0].release_counter == 1
        last = agent.reports({}, NOW_NS)[-2]
        assert (last.phase, last.release_counter) == (InstallPhase.REVERTED, 2)
    assert counter(vehicle) == 1


def test_bundle_whose_process_dies_again_and_again_is_turned_out(fleet, vehicle):
    fleet.offer(2.0, 2)
    vehicle.step()
    for _ in range(vehicle.settings.trial.tries):
        with vehicle.start() as agent:
            assert agent.state.phase is BundlePhase.TRIAL
    with vehicle.start() as agent:
        assert agent.state.phase is BundlePhase.REVERTED
    assert counter(vehicle) == 1


def test_power_cuts_in_the_trial_of_a_good_bundle_do_not_turn_it_out(fleet, vehicle):
    fleet.offer(2.0, 2)
    vehicle.settings.trial.ticks = 30
    vehicle.step()
    for _ in range(10):
        with vehicle.start() as agent:
            phase = agent.on_ticks(3, 0, NOW_NS)
    assert phase is BundlePhase.COMMITTED


@pytest.mark.parametrize("rate_hz", [12, 36])
def test_a_power_cut_costs_a_trial_at_most_a_second_at_every_rate(fleet, vehicle, rate_hz):
    fleet.offer(2.0, 2)
    vehicle.settings.trial.ticks, vehicle.settings.progress_s = 100, 1.0
    vehicle.step()
    with vehicle.start() as agent:
        for k in range(1, round(2.5 * rate_hz) + 1):
            agent.on_ticks(1, 0, NOW_NS + k * NS_PER_S // rate_hz)
    with vehicle.start() as agent:
        assert agent.state.ticks == 2 * rate_hz
        agent.on_ticks(1, 0, NOW_NS - 3600 * NS_PER_S)
    with vehicle.start() as agent:
        assert agent.state.ticks == 2 * rate_hz + 1, "saved, for the clock was put back"


def test_heal_takes_over_a_bundle_still_on_trial(fleet, vehicle):
    from fleet.bundle.bundle import rereleased

    fleet.offer(2.0, 2)
    vehicle.step()
    healed = rereleased(fleet.build(1.0, 1), 3)
    fleet.assign(fleet.release(healed))
    with vehicle.start() as agent:
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
        assert agent.on_ticks(10, 0, NOW_NS) is BundlePhase.COMMITTED
        assert agent.active()[0].bundle_id == healed.manifest.bundle_id
        assert agent.active()[0].release_counter == 3


def test_heal_fetches_no_blob_that_lies_in_a_slot(fleet, server, vehicle):
    from fleet.bundle.bundle import rereleased

    fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(10, 0, NOW_NS)
        server.requests.clear()
        fleet.assign(fleet.release(rereleased(fleet.build(1.0, 1), 3)))
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
    assert not [path for path, _, _ in server.requests if path.startswith("blobs/")]


def test_vehicle_that_may_not_switch_keeps_the_proven_bundle_waiting(fleet, vehicle):
    fleet.offer(2.0, 2)
    for _ in range(5):
        assert vehicle.step(may_switch=False).phase is BundlePhase.STAGED
    assert counter(vehicle) == 1
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_staged_bundle_that_rotted_is_staged_again(fleet, vehicle):
    bundle = fleet.offer(2.0, 2)
    vehicle.step(may_switch=False)
    (vehicle.root / "slots/b" / bundle.manifest.engines[0].sha256).write_bytes(b"rot")
    assert vehicle.step().phase is BundlePhase.TRIAL
    assert counter(vehicle) == 2


def test_assignment_for_later_waits(fleet, vehicle):
    release = fleet.release(fleet.build(2.0, 2))
    fleet.assign(release, not_before_ns=NOW_NS + NS_PER_S)
    assert vehicle.step().phase is BundlePhase.IDLE
    assert vehicle.step(NOW_NS + NS_PER_S).phase is BundlePhase.TRIAL


def test_unknown_critical_field_is_refused(fleet, vehicle):
    release = fleet.release(fleet.build(2.0, 2))
    fleet.assign(release, critical=("antigravity",))
    assert vehicle.step().refusal.kind is RefusalKind.CRITICAL


def test_full_disk_is_a_reason_to_wait(fleet, vehicle):
    fleet.offer(2.0, 2)
    vehicle.settings.reserve_bytes = 10**18
    refusal = vehicle.step().refusal
    assert refusal.kind is RefusalKind.SPACE
    assert refusal.is_temporary
    vehicle.settings.reserve_bytes = 0
    assert vehicle.step().phase is BundlePhase.TRIAL


def test_second_agent_is_turned_away(vehicle):
    with vehicle.start(), pytest.raises(OperatorError, match="another agent"), vehicle.start():
        pass
    with vehicle.start() as agent:
        assert agent.state.phase is BundlePhase.IDLE


def test_damaged_active_slot_gives_way_to_the_proven_one(fleet, vehicle):
    bundle = fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(10, 0, NOW_NS)
    (vehicle.root / "slots/b" / bundle.manifest.engines[0].sha256).write_bytes(b"rot")
    assert counter(vehicle) == 1
    with vehicle.start() as agent:
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL, "the committed bundle is brought back"
        assert agent.active()[0].release_counter == 2


def test_refused_bundle_is_never_fallen_back_onto(fleet, vehicle):
    fleet.offer(float("nan"), 2, answers=2.0)
    vehicle.step()
    sha256 = active_bundle(vehicle.root)[0].engines[0].sha256
    (vehicle.root / "slots/a" / sha256).write_bytes(b"rot")
    with pytest.raises(Exception, match="no proven bundle"):
        active_bundle(vehicle.root)


def test_lost_memory_is_rebuilt_from_the_slots(vehicle):
    for name in ("state", "state.backup"):
        (vehicle.root / name).write_bytes(b"torn")
    assert counter(vehicle) == 1
    with vehicle.start() as agent:
        assert "memory of both slots was lost" in agent.reports({}, NOW_NS)[0].reason


def test_each_decision_is_reported_until_it_is_acknowledged(fleet, vehicle):
    fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(10, 0, NOW_NS)
    with vehicle.start() as agent:
        trial, committed, status = agent.reports({}, NOW_NS)
        assert [trial.phase, committed.phase] == [InstallPhase.TRIAL, InstallPhase.COMMITTED]
        agent.acknowledge(trial.sequence)
        agent.acknowledge(status.sequence)
        again = agent.reports({}, NOW_NS)
        assert [report.phase for report in again[:-1]] == [InstallPhase.COMMITTED]
        assert again[0].sequence > status.sequence
        agent.acknowledge(committed.sequence)
    with vehicle.start() as agent:
        assert len(agent.reports({}, NOW_NS)) == 1


def test_a_full_disk_does_not_end_a_vehicle_whose_decision_was_acknowledged(
    fleet, vehicle, monkeypatch
):
    fleet.offer(2.0, 2)
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        trial = agent.reports({}, NOW_NS)[0]

        def refuse(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(DurableRecord, "save", refuse)
        agent.acknowledge(trial.sequence)
        assert agent.reports({}, NOW_NS)[0].phase is InstallPhase.TRIAL
        monkeypatch.undo()
        agent.acknowledge(trial.sequence)
        assert len(agent.reports({}, NOW_NS)) == 1


def test_same_refusal_is_reported_once(fleet, vehicle):
    fleet.offer(2.0, 2, profile="orin")
    with vehicle.start() as agent:
        for _ in range(3):
            agent.step(NOW_NS)
        assert len(agent.reports({}, NOW_NS)) == 2


def test_rotated_release_key_is_followed_and_the_old_one_refused(fleet, keys, vehicle):
    keys.create("release-d")
    fleet.image.rotate("targets", "release-a", "release-d", NOW_NS)
    stolen = fleet.release(fleet.build(3.0, 2), signers=("release-b",), minimum=1)
    fleet.assign(stolen)
    assert vehicle.step().refusal.kind is RefusalKind.SIGNATURE
    fleet.assign(fleet.release(fleet.build(2.0, 3), signers=("release-b", "release-d")))
    assert vehicle.step().phase is BundlePhase.TRIAL


@pytest.mark.parametrize("cache", ["kept", "lost"])
@pytest.mark.parametrize("ending", ["broken timestamp", "cut timestamp", "cut snapshot", "expired"])
def test_revoked_release_key_does_not_come_back_when_its_root_is_hidden(
    fleet, keys, server, vehicle, ending, cache
):
    stolen = fleet.folder / "stolen"
    shutil.copytree(fleet.tree / "image", stolen / "tree/image")
    keys.create("release-d")
    fleet.image.rotate("targets", "release-a", "release-d", NOW_NS)
    fleet.assign(fleet.release(fleet.build(2.0, 2), signers=("release-b", "release-d")))
    path = "image/metadata/" + ("2.snapshot.json" if "snapshot" in ending else "timestamp.json")
    if "broken" in ending:
        server.served_instead[path] = b"{}"
    elif "cut" in ending:
        server.cut_after[path] = 5
    later_ns = NOW_NS + (2 * DAY_NS if ending == "expired" else 0)
    fleet.director.renew(later_ns)
    assert vehicle.step(later_ns).refusal is not None
    assert (vehicle.root / "tuf/image/root_history/2.root.json").exists(), "root 2 was verified"
    if cache == "lost":
        shutil.rmtree(vehicle.root / "tuf")

    thief = replace(
        fleet,
        folder=stolen,
        image=ImageRepository(stolen / "tree", stolen / "drafts", keys),
        director=DirectorRepository(stolen / "tree", keys),
    )
    shutil.copytree(fleet.tree / "director", thief.tree / "director")
    for number in (8, 9):
        theft = thief.release(thief.build(9.0, number), now_ns=later_ns)
        thief.assign(theft, now_ns=later_ns)
    server.served_instead.clear()
    server.tree = thief.tree
    expected = RefusalKind.SIGNATURE if cache == "kept" else RefusalKind.ROLLBACK
    assert vehicle.step(later_ns).refusal.kind is expected
    assert counter(vehicle) == 1

    server.tree = fleet.tree
    fleet.image.renew(later_ns)
    keys.create("image-snapshot-2", "image-timestamp-2")
    for role in ("snapshot", "timestamp"):
        fleet.image.rotate(role, f"image-{role}", f"image-{role}-2", later_ns)
    vehicle.step(later_ns)
    assert vehicle.step(later_ns).phase is BundlePhase.TRIAL, (
        "new keys for the stolen ones: as before"
    )


def test_verified_root_is_remembered_though_the_disk_took_nothing_of_it(
    fleet, keys, server, vehicle, monkeypatch
):
    assert vehicle.step().refusal is None
    stolen = fleet.folder / "stolen"
    shutil.copytree(fleet.tree, stolen / "tree")
    keys.create("release-d")
    fleet.image.rotate("targets", "release-a", "release-d", NOW_NS)
    fleet.assign(fleet.release(fleet.build(2.0, 2), signers=("release-b", "release-d")))
    persist = Updater._persist_file

    def is_full(self, filename, data):
        if filename.endswith("2.root.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        persist(self, filename, data)

    def refuse(_record, _value):
        raise OSError(errno.ENOSPC, "No space left on device")

    tree, drafts = stolen / "tree", stolen / "drafts"
    image, director = ImageRepository(tree, drafts, keys), DirectorRepository(tree, keys)
    thief = replace(fleet, folder=stolen, image=image, director=director)
    with vehicle.start() as agent:
        with monkeypatch.context() as patch:
            patch.setattr(Updater, "_persist_file", is_full)
            patch.setattr(DurableRecord, "save", refuse)
            assert agent.step(NOW_NS).refusal.kind is RefusalKind.SPACE
        thief.assign(thief.release(thief.build(9.0, 9)))
        server.tree = thief.tree
        assert agent.step(NOW_NS).refusal.kind is RefusalKind.ROLLBACK
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK, "and the disk has it by now"
    assert counter(vehicle) == 1


def test_metadata_of_another_vehicle_takes_no_root_along(fleet, keys, server, vehicle):
    keys.create("director-targets-2")
    fleet.director.enrol("car-2", NOW_NS)
    fleet.director.rotate("targets", "director-targets", "director-targets-2", NOW_NS)
    mine, foreign = (server.tree / director_metadata(name) for name in ("car-1", "car-2"))
    shutil.rmtree(mine)
    shutil.copytree(foreign, mine)
    assert vehicle.step().refusal.kind is RefusalKind.FOREIGN_VEHICLE
    kept = {path.name for path in (vehicle.root / "tuf/director").rglob("*") if path.is_file()}
    assert kept == {"1.root.json", "2.root.json"}


def test_targets_driven_up_by_a_thief_count_again_under_a_new_snapshot_key(fleet, keys, vehicle):
    for counter_up in range(2, 5):
        fleet.release(fleet.build(2.0, counter_up))
    assert vehicle.step().refusal is None
    keys.create("image-snapshot-3", "image-timestamp-3")
    fleet.image.rotate("snapshot", "image-snapshot", "image-snapshot-3", NOW_NS)
    fleet.image.rotate("timestamp", "image-timestamp", "image-timestamp-3", NOW_NS)
    metadata = fleet.image._metadata
    targets = metadata.published()[2]
    targets.signed.version = 2
    metadata.sign(targets, "targets")
    metadata.publish(targets, NOW_NS)
    assert vehicle.step().refusal is None


def test_stolen_timestamp_key_cannot_lock_the_vehicle_out_for_ever(fleet, keys, server, vehicle):
    timestamp = fleet.tree / "image/metadata/timestamp.json"
    honest = timestamp.read_bytes()
    for _ in range(5):
        fleet.image.rotate("timestamp", "image-timestamp", "image-timestamp", NOW_NS)
    assert vehicle.step().refusal is None
    timestamp.write_bytes(honest)
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK
    keys.create("image-timestamp-2", "image-snapshot-2")
    fleet.image.rotate("timestamp", "image-timestamp", "image-timestamp-2", NOW_NS)
    assert vehicle.step().refusal.kind is RefusalKind.ROLLBACK, (
        "the snapshot key is still the old one"
    )
    fleet.image.rotate("snapshot", "image-snapshot", "image-snapshot-2", NOW_NS)
    fleet.offer(2.0, 2)
    assert vehicle.step().phase is BundlePhase.TRIAL


def with_false_manifest(bundle, **changes):
    """Keep what will be signed about a bundle, and let its manifest say something else."""
    false = msgspec.structs.replace(bundle.manifest, **changes)
    return replace(bundle, manifest_bytes=encode_manifest(false))


@pytest.mark.parametrize("changes", [{"release_counter": 9}, {"bundle_id": "b-other"}])
def test_manifest_that_says_otherwise_than_was_signed_about_it_is_refused(fleet, vehicle, changes):
    fleet.assign(fleet.release(with_false_manifest(fleet.build(2.0, 2), **changes)))
    refusal = vehicle.step().refusal
    assert refusal.kind is RefusalKind.SCHEMA
    assert "the release says" in refusal.reason
    assert counter(vehicle) == 1


def test_manifest_listing_a_blob_that_nobody_signed_is_refused(fleet, server, vehicle):
    bundle = fleet.build(2.0, 2)
    data = bytes(bundle.manifest.engines[0].size_bytes)
    sha256 = hashlib.sha256(data).hexdigest()
    engine = msgspec.structs.replace(bundle.manifest.engines[0], sha256=sha256)
    fleet.assign(fleet.release(with_false_manifest(bundle, engines=(engine,))))
    server.served_instead[blob_path(sha256)] = data
    refusal = vehicle.step().refusal
    assert refusal.kind is RefusalKind.HASH
    assert "which nobody signed" in refusal.reason
    assert not server.sent_bytes(blob_path(sha256)), "it is not even fetched"
    assert counter(vehicle) == 1
