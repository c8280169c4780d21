from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge.clip_file import Clip, EncodedFrame, decode_clip, encode_clip
from edge.contracts.errors import SchemaError
from edge.contracts.scene import Perception, Plan, PlanSource, Rung
from edge.contracts.sensors import FrameSet
from edge.sources.replay import ClipSource, replay_ticks


@pytest.fixture(scope="module")
def clip(make_frame, make_manifest) -> Clip:
    frames = [make_frame(index, missing=(7,)) for index in (3, 6, 9)]
    return decode_clip(encode_clip(make_manifest(frames), frames))


def test_clip_gives_back_the_frame_sets_that_were_sensed(clip):
    source = ClipSource(clip)
    sets = list(source)
    assert len(sets) == len(source) == 3
    assert [frame_set.index for frame_set in sets] == [3, 6, 9]
    assert {frame.image.shape for frame in sets[0].frames[:7]} == {(8, 16, 3)}
    assert sets[0].usable == (True,) * 7 + (False,)
    assert sets[0].frames[7].image is None
    assert sets[1].ego == clip.frames[1].sensed.ego
    assert sets[1].route == clip.frames[1].sensed.route
    assert np.array_equal(sets[2].radar.points_ego, clip.frames[2].sensed.radar_points)
    assert [frame_set.stamp_ns for frame_set in source] == [f.stamp_ns for f in clip.frames]


def test_replay_sets_what_is_concluded_beside_what_the_drive_had(clip):
    def tick(frame_set: FrameSet) -> tuple[Perception, Plan]:
        perception = Perception(stamp_ns=frame_set.stamp_ns, rung=Rung.SMALL, bundle_id="b-2")
        plan = Plan(
            stamp_ns=frame_set.stamp_ns, source=PlanSource.ROUTE, points=(), step_s=0.25,
            acceleration_mps2=0.0, steering_rad=0.0, min_ttc_s=float(frame_set.index),
        )  # fmt: skip
        return perception, plan

    rows = replay_ticks(clip, tick)
    assert [row.min_ttc_s for row in rows] == [3.0, 6.0, 9.0]
    assert [row.boxes for row in rows] == [0, 0, 0]
    assert [row.recorded_boxes for row in rows] == [1, 1, None]
    assert [row.recorded_plan_source for row in rows] == [PlanSource.NETWORK, None, "network"]


def test_image_that_does_not_decode_is_refused(clip, make_frame, make_manifest):
    frame = make_frame(3)
    first, *others = frame.sensed.frames
    torn = first.jpeg[: first.jpeg.index(b"\xff\xda")]  # headers, and no scan
    images = (EncodedFrame(torn, first.stamp_ns), *others)
    frames = [replace(frame, sensed=msgspec.structs.replace(frame.sensed, frames=images))]
    with pytest.raises(SchemaError):
        list(ClipSource(decode_clip(encode_clip(make_manifest(frames), frames))))


def test_a_rung_that_no_vehicle_runs_any_more_is_still_read(make_frame, make_manifest):
    frame = make_frame(3)
    old = msgspec.structs.replace(frame.perception, rung=Rung.CAMERAS_SUBSET)
    frames = [replace(frame, perception=old)]
    read = decode_clip(encode_clip(make_manifest(frames), frames))
    assert read.frames[0].perception.rung is Rung.CAMERAS_SUBSET
