"""Seconds are seconds at any rate, and a manifest says what there is of the window that was asked for."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.clip import Drive, DriveIdentity, Recorder, RecorderSettings
from edge.clip_file import Clip, read_clip
from edge.contracts.campaign import Campaign
from edge.contracts.clip import Privacy, Span, TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.sensors import (
    EgoState,
    FrameSet,
    FrameStatus,
    RadarScan,
    UltrasonicScan,
    frames_of,
)
from edge.contracts.time import NS_PER_S, frame_stamp_ns

CAMPAIGN = Campaign(campaign_id="c-1", rules=(), before_s=3.0, after_s=2.0, until_ns=2**62)


def record(
    rig, folder: Path, rate_hz: float, jitter_s: float = 0.0, gone: slice = slice(0)
) -> Clip:
    """Record twenty seconds at a rate, with an event at ten; the rear camera gives nothing in ``gone``."""
    drive = Drive(DriveIdentity(vehicle_id="v-1", drive_id="d-1", rate_hz=rate_hz), "b-1", rig)
    recorder = Recorder(RecorderSettings(privacy="synthetic"), drive, [CAMPAIGN], folder)
    rng = np.random.default_rng(0)
    count = round(20 * rate_hz)
    lost = set(range(count)[gone])
    fired = False
    for index in range(count):
        off_ns = round(jitter_s * rng.uniform(-1.0, 1.0) * NS_PER_S)
        stamp_ns = frame_stamp_ns(index, rate_hz=rate_hz) + off_ns
        images = [np.zeros((8, 16, 3), np.uint8) for _ in rig.cameras]
        shown = [None if k == 7 and index in lost else image for k, image in enumerate(images)]
        sensed = FrameSet(
            index, stamp_ns, frames_of(shown, stamp_ns), RadarScan(),
            UltrasonicScan(np.full(12, 5.0, np.float32)),
            EgoState(stamp_ns=stamp_ns, world_from_ego=Pose()),
        )  # fmt: skip
        is_due = not fired and stamp_ns >= frame_stamp_ns(0) + 10 * NS_PER_S
        event = TriggerEvent(
            rule=TriggerRule.LOW_TTC, rule_version=1, campaign_id="c-1", stamp_ns=stamp_ns,
            value=1.0, threshold=1.5, worth=0.5,
        )  # fmt: skip
        recorder.add(sensed, None, None, [event] if is_due else ())
        fired |= is_due
    (sealed,) = recorder.close().kept
    return read_clip(sealed.path)


@pytest.mark.parametrize(
    ("rate_hz", "recorded_hz"), [(10.0, 10.0), (12.0, 12.0), (30.0, 15.0), (36.0, 12.0)]
)
def test_three_seconds_before_are_three_seconds_at_any_rate(
    rig, tmp_path: Path, rate_hz: float, recorded_hz: float
) -> None:
    manifest = record(rig, tmp_path, rate_hz).manifest
    stamp_ns = manifest.events[0].stamp_ns
    assert manifest.asked == Span(start_ns=stamp_ns - 3 * NS_PER_S, end_ns=stamp_ns + 2 * NS_PER_S)
    assert (manifest.rate_hz, manifest.recorded_hz) == (rate_hz, recorded_hz)
    assert manifest.frame_count == pytest.approx(5 * recorded_hz + 1, abs=1)
    assert manifest.start_ns <= manifest.asked.start_ns + 1000
    assert manifest.end_ns >= manifest.asked.end_ns - 1000
    assert not manifest.missing and not manifest.is_cut


@pytest.mark.parametrize("rate_hz", [10.0, 12.0, 36.0])
def test_a_camera_whose_stamps_jitter_loses_no_frame(rig, tmp_path: Path, rate_hz: float) -> None:
    manifest = record(rig, tmp_path, rate_hz, jitter_s=0.1 / rate_hz).manifest
    assert not manifest.missing
    assert manifest.frame_count == pytest.approx(5 * manifest.recorded_hz + 1, abs=1)


def test_coverage_says_what_each_camera_has_of_the_window(rig, tmp_path: Path) -> None:
    """At 10 Hz, the rear camera is away from 9.0 s to 9.9 s: ten frames, a gap of 1.1 s."""
    manifest = record(rig, tmp_path, 10.0, gone=slice(90, 100)).manifest
    front, *_, rear = manifest.coverage
    assert front.longest_gap_s == pytest.approx(0.1) and front.images == 51
    assert rear.longest_gap_s == pytest.approx(1.1) and rear.images == 41
    assert rear.statuses == {FrameStatus.FRESH: 41, FrameStatus.MISSING: 10}
    assert manifest.missing == (("rear", 10),)
    assert front.span == Span(start_ns=manifest.start_ns, end_ns=manifest.end_ns)


def test_a_clip_marked_blurred_or_consented_says_by_what(rig, tmp_path: Path) -> None:
    manifest = record(rig, tmp_path, 10.0).manifest
    for privacy, complaint in (
        (Privacy.BLURRED, "what blurred it"),
        (Privacy.CONSENTED, "name the campaign"),
    ):
        with pytest.raises(ValueError, match=complaint):
            msgspec.structs.replace(manifest, privacy=privacy)
