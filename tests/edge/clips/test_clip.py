import errno
import hashlib
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clip import (
    Drive,
    DriveClips,
    DriveIdentity,
    Quota,
    Rank,
    Recorder,
    RecorderSettings,
    Window,
    join_window,
    sealed_clips,
)
from edge.clip_file import Clip, read_clip
from edge.contracts import files
from edge.contracts.campaign import Campaign
from edge.contracts.clean import by_reading
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
    frames_of,
)
from edge.contracts.time import NS_PER_S, frame_stamp_ns

RANDOM = TriggerRule.RANDOM


@pytest.fixture(scope="session")
def drive(rig):
    return Drive(DriveIdentity(vehicle_id="v-1", drive_id="d-1", rate_hz=36.0), "b-1", rig)


@pytest.fixture
def record(drive, tmp_path) -> Callable[..., DriveClips]:
    """Drive for so many ticks with these events, by tick, and give what was kept."""

    def run(
        ticks: int,
        events: dict[int, Sequence[TriggerEvent]],
        campaigns: Sequence[Campaign] = (),
        folder: Path = tmp_path,
        **changes: object,
    ) -> DriveClips:
        chosen = RecorderSettings(**{"privacy": "synthetic", "record_hz": 1000.0, **changes})
        recorder = Recorder(chosen, drive, campaigns or [campaign()], folder)
        for tick in range(ticks):
            recorder.add(frame_set(tick), None, None, events.get(tick, ()))
        return recorder.close()

    return run


def campaign(campaign_id: str = "c-1", **changes: object) -> Campaign:
    """Four ticks before, two after."""
    fields = {"rules": (), "before_s": 4 / 36, "after_s": 2 / 36, "until_ns": 2**62, **changes}
    return Campaign(campaign_id=campaign_id, **fields)


def event(
    tick: int, worth: float = 0.5, rule: TriggerRule = TriggerRule.LOW_TTC, asked_by: str = "c-1"
) -> TriggerEvent:
    return TriggerEvent(
        rule=rule, rule_version=1, campaign_id=asked_by, stamp_ns=frame_stamp_ns(tick),
        value=1.0, threshold=1.0, worth=worth,
    )  # fmt: skip


def each(events: Iterable[TriggerEvent]) -> dict[int, list[TriggerEvent]]:
    """Sort events by the tick of their stamp."""
    by_tick: dict[int, list[TriggerEvent]] = {}
    for one in events:
        tick = next(k for k in range(10_000) if frame_stamp_ns(k) == one.stamp_ns)
        by_tick.setdefault(tick, []).append(one)
    return by_tick


def frame_set(tick: int, missing: Sequence[int] = ()) -> FrameSet:
    stamp_ns = frame_stamp_ns(tick)
    images = np.full((8, 8, 16, 3), tick % 256, np.uint8)
    shown = [None if k in missing else image for k, image in enumerate(images)]
    return FrameSet(
        index=tick,
        stamp_ns=stamp_ns,
        frames=frames_of(shown, stamp_ns),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(np.full(12, 5.0, np.float32)),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose()),
    )


def opened(clips: DriveClips) -> list[Clip]:
    """Read the kept clips, earliest first."""
    return sorted((read_clip(k.path) for k in clips.kept), key=lambda c: c.manifest.start_ns)


def indices(clip: Clip) -> list[int]:
    return [frame.index for frame in clip.frames]


# What a clip holds


def test_clip_holds_exactly_the_asked_frames_before_and_after(record):
    (clip,) = opened(record(20, each([event(10)])))
    assert indices(clip) == [6, 7, 8, 9, 10, 11, 12]
    assert not clip.manifest.missing


def test_decimated_clip_is_widened_to_recorded_frames_and_says_its_rate(record):
    (clip,) = opened(record(30, each([event(10)]), record_hz=12.0))
    assert indices(clip) == [6, 9, 12]
    assert clip.manifest.recorded_hz == 12.0 and not clip.manifest.missing
    (clip,) = opened(record(30, each([event(11)]), record_hz=12.0))
    assert indices(clip) == [6, 9, 12, 15]


def test_manifest_names_vehicle_drive_cause_and_span(record, drive):
    (sealed,) = record(20, each([event(10)])).kept
    clip = read_clip(sealed.path)
    manifest = clip.manifest
    assert (manifest.vehicle_id, manifest.drive_id, manifest.bundle_id) == ("v-1", "d-1", "b-1")
    assert manifest.events == (event(10),)
    assert manifest.clip_id == ClipManifest.make_id("v-1", "d-1", event(10)) == sealed.clip_id
    assert (manifest.start_ns, manifest.end_ns) == (frame_stamp_ns(6), frame_stamp_ns(12))
    assert manifest.privacy is Privacy.SYNTHETIC and manifest.rig_id == drive.rig.rig_id
    content = sealed.path.read_bytes()
    assert sealed.blob_id == hashlib.sha256(content).hexdigest()
    assert sealed.size_bytes == len(content) and sealed.manifest_bytes == clip.manifest_bytes


def test_frames_that_a_camera_did_not_give_are_counted(drive, tmp_path):
    recorder = Recorder(
        RecorderSettings(privacy="synthetic", record_hz=1000.0), drive, [campaign()], tmp_path
    )
    for tick in range(20):
        missing = (7,) if tick in (8, 9) else ()
        recorder.add(frame_set(tick, missing), None, None, [event(10)] if tick == 10 else ())
    (clip,) = opened(recorder.close())
    assert clip.manifest.missing == (("rear", 2),)
    images = clip.frames[2].sensed.frames
    assert not images[7].jpeg and images[0].jpeg
    assert images[7].status is FrameStatus.MISSING


def test_frames_from_before_the_drive_and_after_its_end_are_marked_missing(record):
    early, late = opened(record(20, each([event(1), event(19)])))
    assert indices(early) == [0, 1, 2, 3] and indices(late) == [15, 16, 17, 18, 19]
    assert dict(early.manifest.missing)["front_main"] == 3
    assert dict(late.manifest.missing)["front_main"] == 2


def test_frame_set_that_was_dropped_is_missing_in_all_eight_cameras(drive, tmp_path):
    recorder = Recorder(
        RecorderSettings(privacy="synthetic", record_hz=1000.0), drive, [campaign()], tmp_path
    )
    for tick in (k for k in range(20) if k != 9):
        recorder.add(frame_set(tick), None, None, [event(10)] if tick == 10 else ())
    (clip,) = opened(recorder.close())
    assert [count for _name, count in clip.manifest.missing] == [1] * 8


def test_predicted_trajectories_stay_at_home_unless_asked_for(drive, make_frame, tmp_path):
    perception = make_frame(0).perception
    for keeps in (False, True):
        chosen = RecorderSettings(privacy="synthetic", keeps_futures=keeps)
        recorder = Recorder(chosen, drive, [campaign()], tmp_path / str(keeps))
        recorder.add(frame_set(0), perception, None, [event(0)])
        (clip,) = opened(recorder.close())
        (agent,) = clip.frames[0].perception.agents
        assert agent.futures == (perception.agents[0].futures if keeps else ())


# Windows


def test_overlapping_events_become_one_clip_that_keeps_its_causes(record):
    (clip,) = opened(record(40, each([event(10), event(12, rule=TriggerRule.HARD_BRAKE)])))
    assert indices(clip) == list(range(6, 15))
    assert [str(e.rule) for e in clip.manifest.events] == ["low_ttc", "hard_brake"]


def test_event_that_reaches_back_into_a_complete_window_still_joins_it(record):
    (clip,) = opened(record(40, each([event(10), event(16)])))  # 6..12 and 12..18
    assert indices(clip) == list(range(6, 19))


def test_events_apart_become_two_clips(record):
    clips = opened(record(40, each([event(10), event(17)])))
    assert [indices(clip)[0] for clip in clips] == [6, 13]


def test_merging_stops_at_the_longest_clip_and_every_event_keeps_its_whole_window(record):
    events = [event(tick) for tick in range(10, 50, 5)]
    clips = opened(record(80, each(events), max_clip_s=20 / 36))
    assert all(len(clip.frames) <= 21 for clip in clips) and len(clips) > 1
    for clip in clips:
        for one in clip.manifest.events:
            tick = next(iter(each([one])))
            assert set(range(tick - 4, tick + 3)) <= set(indices(clip))
    assert [e for clip in clips for e in clip.manifest.events] == events


def test_campaigns_that_ask_for_the_same_moment_share_one_clip(record):
    campaigns = [campaign("c-1"), campaign("c-2", before_s=8 / 36, after_s=0.0)]
    clips = record(40, {20: [event(20), event(20, asked_by="c-2")]}, campaigns, max_clip_s=0.0)
    (clip,) = opened(clips)
    assert indices(clip) == list(range(12, 23))


def test_random_clip_is_not_merged_with_what_a_trigger_found(record):
    clips = record(40, each([event(10), event(11, rule=RANDOM)]))
    assert sorted(indices(clip) for clip in opened(clips)) == [
        list(range(6, 13)),
        list(range(7, 14)),
    ]
    assert clips.captured == 2 and clips.control_captured == 1


def test_ring_forgets_what_no_window_can_reach(drive, tmp_path):
    recorder = Recorder(
        RecorderSettings(privacy="synthetic", record_hz=1000.0), drive, [campaign()], tmp_path
    )
    for tick in range(200):
        recorder.add(frame_set(tick), None, None, [event(tick)] if tick % 40 == 0 else ())
        assert len(recorder._ring) <= 16


# Quotas


def test_quota_keeps_the_worthiest_and_not_the_first(record, tmp_path):
    worths = {10: 0.1, 30: 0.9, 50: 0.2, 70: 0.8}
    clips = record(
        90, each(event(t, w) for t, w in worths.items()), [campaign(max_clips_per_drive=2)]
    )
    assert [clip.worth for clip in clips.kept] == [0.9, 0.8]
    assert (clips.captured, clips.evicted, clips.lost) == (4, 2, 0)
    assert set(tmp_path.iterdir()) == {clip.path for clip in clips.kept}


def test_clip_that_no_quota_would_keep_is_not_even_written(drive, tmp_path):
    recorder = Recorder(
        RecorderSettings(privacy="synthetic", record_hz=1000.0),
        drive,
        [campaign(max_clips_per_drive=1)],
        tmp_path,
    )
    written = set()
    for tick in range(60):
        fired = {10: [event(10, 0.9)], 30: [event(30, 0.1)]}.get(tick, ())
        recorder.add(frame_set(tick), None, None, fired)
        written |= set(tmp_path.iterdir())
    assert len(written) == 1 and recorder.close().evicted == 1


def test_random_clips_have_a_quota_of_their_own_and_are_never_displaced_by_worth(record):
    events = [event(10, 0.0, RANDOM), *(event(t, 1.0) for t in range(30, 150, 20))]
    clips = record(160, each(events), [campaign(max_clips_per_drive=2)])
    rules = [read_clip(clip.path).manifest.events[0].rule for clip in clips.kept]
    assert len(rules) == 3 and rules.count(RANDOM) == 1


def test_too_many_random_clips_are_thinned_by_hash_and_not_by_worth_or_time(record):
    events = [event(10 + 20 * k, worth=k / 10, rule=RANDOM) for k in range(8)]
    clips = record(180, each(events), [campaign(max_clips_per_drive=3)])
    ids = sorted(ClipManifest.make_id("v-1", "d-1", one) for one in events)
    assert sorted(clip.clip_id for clip in clips.kept) == ids[:3]
    assert clips.control_captured == 8


def test_clip_stays_while_one_of_its_campaigns_holds_it(record):
    campaigns = [campaign("c-1", max_clips_per_drive=1), campaign("c-2", max_clips_per_drive=1)]
    events = {
        10: [event(10, 0.1), event(10, 0.1, asked_by="c-2")],
        30: [event(30, 0.9)],
        50: [event(50, 0.8)],
    }
    clips = record(70, events, campaigns)
    assert [clip.worth for clip in clips.kept] == [0.9, 0.1]
    assert clips.evicted == 1


def test_bytes_of_a_drive_are_bounded(record, tmp_path):
    one_bytes = record(20, each([event(10)]), folder=tmp_path / "one").kept[0].size_bytes
    limit = campaign(max_bytes_per_drive=int(2.5 * one_bytes))
    clips = record(120, each(event(t, t / 120) for t in range(10, 110, 20)), [limit])
    assert [clip.worth for clip in clips.kept] == [90 / 120, 70 / 120]


# Faults


@pytest.mark.parametrize("privacy", ["unknown", "", "none", "raw"])
def test_recorder_refuses_to_start_when_images_may_not_leave(drive, tmp_path, privacy):
    with pytest.raises(OperatorError, match="expected 'synthetic' or 'blurred'"):
        Recorder(RecorderSettings(privacy=privacy), drive, [campaign()], tmp_path)


def test_killed_drive_leaves_whole_clips_and_its_half_written_one_is_swept(drive, tmp_path):
    chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(chosen, drive, [campaign()], tmp_path)
    for tick in range(55):
        recorder.add(frame_set(tick), None, None, [event(tick)] if tick % 20 == 10 else ())
    (tmp_path / "half.mcap.part").write_bytes(b"half")  # and the process dies here

    Recorder(chosen, drive, [campaign()], tmp_path)
    assert not list(tmp_path.glob("*.part"))
    left = sealed_clips(tmp_path)
    assert len(left) == 2
    assert set(left) <= set(recorder.close().kept)


def test_foreign_file_is_passed_over_and_reported(tmp_path, caplog):
    (tmp_path / "foreign.mcap").write_bytes(b"not a clip")
    assert sealed_clips(tmp_path) == ()
    assert [entry.message for entry in caplog.records] == ["clip_unreadable"]


def test_disk_that_refuses_loses_a_clip_and_not_the_drive(drive, tmp_path, caplog):
    folder = tmp_path / "clips"
    chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(chosen, drive, [campaign()], folder)
    for tick in range(60):
        if tick == 20:
            shutil.rmtree(folder)
        if tick == 30:
            folder.mkdir()
        recorder.add(frame_set(tick), None, None, [event(tick)] if tick in (17, 40) else ())
    clips = recorder.close()
    assert (len(clips.kept), clips.lost, clips.captured) == (1, 1, 2)
    assert [entry.message for entry in caplog.records] == ["clip_lost"]


def test_half_a_clip_does_not_keep_the_room_of_a_full_disk(drive, tmp_path, monkeypatch, caplog):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    recorder = Recorder(RecorderSettings(privacy="synthetic"), drive, [campaign()], tmp_path)
    for tick in range(60):
        recorder.add(frame_set(tick), None, None, [event(tick)] if tick == 17 else ())
        if tick == 16:
            monkeypatch.setattr(files.os, "fsync", refuse)
    assert recorder.close().lost == 1
    assert list(tmp_path.iterdir()) == []


def test_same_drive_gives_the_same_files_byte_for_byte(record, tmp_path):
    events = each([event(10), event(13), event(40, 0.9), event(41, rule=RANDOM)])
    for name in ("a", "b"):
        record(60, events, folder=tmp_path / name)
    first, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == again and len(first) == 3


# Readings that make no sense


@pytest.fixture
def sense(drive, tmp_path) -> Callable[..., DriveClips]:
    """Drive for twenty ticks with an event at tick 10 and this instead of what tick 9 sensed."""

    def run(**changes: object) -> DriveClips:
        chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
        recorder = Recorder(chosen, drive, [campaign()], tmp_path)
        for tick in range(20):
            sensed = frame_set(tick)
            sensed = replace(sensed, **changes) if tick == 9 else sensed
            recorder.add(sensed, None, None, [event(10)] if tick == 10 else ())
        return recorder.close()

    return run


BAD_POINTS = RadarScan(np.array([[20, 1, 0, 5], [np.nan] * 4, [20, 3, 0, -np.inf]], np.float32))
BAD_EGO = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=math.nan), speed_mps=math.inf)
BAD_ROUTE = Route(points_ego=((0.0, math.nan), (2.0, 0.0)), stop_distance_m=math.inf)


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"radar": BAD_POINTS}, {Reading.RADAR_POINT: 2}),
        ({"ultrasonics": UltrasonicScan(np.full(12, -1, np.float32))}, {Reading.ULTRASONIC: 12}),
        ({"ego": BAD_EGO}, {Reading.POSE: 1, Reading.EGO: 1}),
        ({"route": BAD_ROUTE}, {Reading.ROUTE: 2}),
    ],
    ids=["radar", "ultrasonics", "ego", "route"],
)
def test_reading_that_makes_no_sense_costs_itself_and_the_manifest_says_so(sense, changes, dropped):
    clips = sense(**changes)
    (clip,) = opened(clips)
    assert clips.lost == 0
    assert by_reading(clip.manifest.dropped) == dropped
    assert len(clip.frames) == 7 and not clip.manifest.missing


def test_clip_of_clean_readings_says_that_nothing_was_dropped(sense):
    (clip,) = opened(sense())
    assert clip.manifest.dropped == ()


ANY = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e30])


@settings(max_examples=30)
@given(st.lists(ANY, min_size=16, max_size=16), ANY, ANY, ANY)
def test_whatever_is_sensed_what_is_sealed_reads_back(drive, values, place_m, speed_mps, stop_m):
    with np.errstate(over="ignore"):
        numbers = np.array(values, np.float64).astype(np.float32)
    sensed = {
        "radar": RadarScan(numbers[:8].reshape(2, 4)),
        "ultrasonics": UltrasonicScan(numbers[4:]),
        "ego": EgoState(stamp_ns=0, world_from_ego=Pose(y_m=place_m), speed_mps=speed_mps),
        "route": Route(points_ego=((place_m, stop_m),), stop_distance_m=stop_m),
    }
    with tempfile.TemporaryDirectory() as folder:
        chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
        recorder = Recorder(chosen, drive, [campaign()], Path(folder))
        for tick in range(8):
            fired = [event(4)] if tick == 4 else ()
            recorder.add(replace(frame_set(tick), **sensed), None, None, fired)
        clips = recorder.close()
        assert len(opened(clips)) == 1 and clips.lost == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"ego": EgoState(stamp_ns=-5, world_from_ego=Pose())},
        {"ego": EgoState(stamp_ns=5, world_from_ego=Pose(), speed_mps=np.float32(3.0))},
        {"index": 9.0},
    ],
    ids=["stamp before time", "foreign number", "fraction of an index"],
)
def test_what_no_record_can_hold_is_cleaned_and_the_clip_reads_back(sense, changes):
    clips = sense(**changes)
    assert (len(clips.kept), clips.lost) == (1, 0)
    (clip,) = opened(clips)
    assert indices(clip) == [6, 7, 8, 9, 10, 11, 12]


def test_clip_without_a_single_camera_is_kept(sense):
    (clip,) = opened(sense(frames=frames_of([None] * 8, frame_stamp_ns(9))))
    assert not any(image.jpeg for image in clip.frames[3].sensed.frames)


# A clock that steps


def stepping(drive, folder: Path, offsets_s: Sequence[float], fires: Sequence[int]) -> DriveClips:
    """Drive with a clock that is off by so much in each tick; an event in these ticks."""
    chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(chosen, drive, [campaign()], folder)
    for tick, offset_s in enumerate(offsets_s):
        sensed = frame_set(tick)
        stamp_ns = sensed.stamp_ns + round(offset_s * NS_PER_S)
        sensed = replace(sensed, stamp_ns=stamp_ns)
        fired = [msgspec.structs.replace(event(tick), stamp_ns=stamp_ns)] if tick in fires else ()
        recorder.add(sensed, None, None, fired)
    return recorder.close()


@pytest.mark.parametrize("step_s", [-1.0, -3600.0, 3600.0])
def test_clock_that_steps_within_a_clip_ends_it_there_and_loses_nothing(drive, tmp_path, step_s):
    clips = stepping(drive, tmp_path, [0.0] * 11 + [step_s] * 20, fires=(10, 20))
    before, after = sorted(opened(clips), key=lambda clip: clip.frames[0].index)
    assert clips.lost == 0
    assert indices(before) == [6, 7, 8, 9, 10] and before.manifest.time_base == 0
    assert dict(before.manifest.missing)["rear"] == 2, "they came in another time"
    assert indices(after) == list(range(16, 23)) and after.manifest.time_base == 1


def test_stamp_that_comes_again_after_a_step_names_another_clip(drive, tmp_path):
    """A clock that steps back by a second every second passes the same stamps again and again."""
    ticks = range(4 * 36)
    offsets = [-(tick // 36) * 1.0 for tick in ticks]
    clips = stepping(drive, tmp_path, offsets, fires=[tick for tick in ticks if tick % 36 == 10])
    assert (len(clips.kept), clips.captured, clips.lost) == (4, 4, 0)
    events = {(e.rule, e.stamp_ns) for clip in opened(clips) for e in clip.manifest.events}
    assert len(events) == 1
    for clip in opened(clips):
        manifest = clip.manifest
        made = ClipManifest.make_id("v-1", "d-1", manifest.events[0], manifest.time_base)
        assert manifest.clip_id == made


def test_clock_that_stands_still_gives_one_frame_per_stamp(drive, tmp_path, caplog):
    """Fifty ticks at one stamp: the two events in them are one moment, and one clip."""
    chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(chosen, drive, [campaign()], tmp_path)
    for tick in range(60):
        sensed = replace(frame_set(tick), stamp_ns=frame_stamp_ns(min(tick, 10)))
        recorder.add(sensed, None, None, [event(10)] if tick in (15, 30) else ())
    clips = recorder.close()
    (clip,) = opened(clips)
    assert indices(clip) == [6, 7, 8, 9, 10]
    assert (clips.captured, clips.lost) == (1, 0)
    assert len(clip.manifest.events) == 2 and not caplog.records


def test_source_that_counts_anew_ends_the_clip(drive, tmp_path):
    chosen = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(chosen, drive, [campaign()], tmp_path)
    for tick in range(1000, 1012):
        recorder.add(frame_set(tick), None, None, [event(tick)] if tick == 1010 else ())
    for tick in range(20):
        sensed = replace(frame_set(1012 + tick), index=tick)
        recorder.add(sensed, None, None, ())
    assert len(list(tmp_path.iterdir())) == 1, "sealed long before tick 1012 is reached again"


# Against simple models

RANKS = st.tuples(st.sampled_from([0.0, -0.3, -0.5, -1.0]), st.integers(0, 10**6).map(str))


@given(
    st.lists(st.tuples(RANKS, st.integers(1, 9)), max_size=20, unique_by=lambda c: c[0][1]),
    st.integers(0, 5),
    st.integers(0, 30),
)
def test_quota_holds_the_longest_best_run_that_fits_whatever_the_order(offers, most, most_bytes):
    quota, gone = Quota(max_clips=most, max_bytes=most_bytes), []
    for rank, size_bytes in offers:
        gone += quota.offer(rank, size_bytes)

    best: list[tuple[Rank, int]] = []
    for offer in sorted(offers)[:most]:
        if sum(size for _rank, size in (*best, offer)) > most_bytes:
            break
        best.append(offer)
    assert quota.held == best
    assert sorted(gone) == sorted(rank[1] for rank, _size in offers if (rank, _size) not in best)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9), st.booleans()), max_size=15))
def test_unbounded_windows_are_the_union_of_their_frames(spans):
    windows: tuple[Window, ...] = ()
    for first, length, is_control in sorted(spans):
        new = Window(first, first + length, (event(first),), is_control)
        windows = join_window(windows, new, longest_ns=10_000)
    for stream in (False, True):
        asked = [set(range(a, a + n + 1)) for a, n, control in spans if control is stream]
        own = [w for w in windows if w.is_control is stream]
        covered = [set(range(w.start_ns, w.end_ns + 1)) for w in own]
        assert set().union(*covered) == set().union(*asked)
        assert sum(len(c) for c in covered) == len(set().union(*covered))
        assert sum(len(w.events) for w in own) == len(asked)


@settings(max_examples=25)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from([0.1, 0.5, 0.5, 0.9])),
        max_size=10,
        unique_by=lambda e: e[0],
    ),
    most=st.integers(0, 4),
)
def test_kept_clips_are_the_best_k_by_worth_then_id(drive, events, most):
    asked = campaign(max_clips_per_drive=most)
    by_tick = dict(events)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            RecorderSettings(privacy="synthetic", record_hz=1000.0), drive, [asked], Path(folder)
        )
        for tick in range(100):
            fired = [event(tick, by_tick[tick])] if tick in by_tick else ()
            recorder.add(frame_set(tick), None, None, fired)
        kept = recorder.close().kept

    groups: list[list[tuple[int, float]]] = []
    for tick, worth in sorted(events):
        if groups and tick - 4 <= groups[-1][-1][0] + 2:
            groups[-1].append((tick, worth))
        else:
            groups.append([(tick, worth)])
    ranked = sorted(
        (-max(w for _t, w in group), ClipManifest.make_id("v-1", "d-1", event(group[0][0])))
        for group in groups
    )
    assert [(-clip.worth, clip.clip_id) for clip in kept] == ranked[:most]


@pytest.mark.parametrize(
    "images",
    [
        ["no image"] * 8,
        np.zeros((8, 0, 0, 3), np.uint8),
        np.zeros((8, 8, 15, 3), np.uint8),
        np.zeros((8, 3, 8, 16), np.uint8),
        np.zeros((8, 8, 16, 3), np.bool_),
    ],
)
def test_images_that_are_none_are_missing_and_cost_nothing_else(
    drive, tmp_path, images: object
) -> None:
    settings = RecorderSettings(privacy="synthetic", record_hz=1000.0)
    recorder = Recorder(settings, drive, [campaign()], tmp_path)
    for tick in range(20):
        sensed = frame_set(tick)
        if tick in (9, 10):
            sensed = replace(
                sensed, frames=tuple(Frame(image, sensed.stamp_ns) for image in images)
            )
        recorder.add(sensed, None, None, [event(tick)] if tick == 10 else ())
    (clip,) = recorder.close().kept
    read = read_clip(clip.path)
    assert indices(read) == [6, 7, 8, 9, 10, 11, 12]
    assert {count for _, count in read.manifest.missing} == {2}
    (coverage, *_) = read.manifest.coverage
    assert coverage.statuses == {FrameStatus.CORRUPT: 2, FrameStatus.FRESH: 5}


def test_a_clip_that_cannot_be_deleted_does_not_stop_the_drive(record, monkeypatch, caplog) -> None:
    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    clips = record(60, each([event(10, 0.3), event(40, 0.6)]), [campaign(max_clips_per_drive=1)])
    assert (clips.captured, len(clips.kept), clips.evicted) == (2, 1, 1)
    assert clips.kept[0].worth == 0.6
    assert "clip_stays" in caplog.messages
