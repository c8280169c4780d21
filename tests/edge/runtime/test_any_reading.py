"""Whatever bits a sensor delivers, the vehicle drives on, keeps what it sees, and its clip reads back."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.budget import VirtualClock
from edge.clip import Drive, DriveIdentity, Recorder, RecorderSettings
from edge.clip_file import decode_instant, read_clip
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clean import STALE_S
from edge.contracts.clip import TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.scene import Rung
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Reading,
    Route,
    UltrasonicScan,
)
from edge.contracts.time import NS_PER_S
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import NetworkPerceiver
from edge.runtime import Runtime, RuntimeSettings, TickResult
from edge.trigger import ControlStream

EVERY_TICK = Campaign(
    campaign_id="c-all",
    rules=(ArmedRule(rule=TriggerRule.RANDOM, threshold=1.0),),
    until_ns=2**63 - 1,
)
BEFORE, DURING, AFTER = 4, 3, 3
"""Ticks on clean readings, on readings of any bits, and on clean ones again."""

FLOAT_32 = st.integers(0, 2**32 - 1).map(
    lambda bits: float(np.uint32(bits).view(np.float32))
) | st.sampled_from([math.nan, math.inf, -math.inf, 3.4e38, -0.0])
FLOAT_64 = st.integers(0, 2**64 - 1).map(
    lambda bits: float(np.uint64(bits).view(np.float64))
) | st.sampled_from([math.nan, math.inf, -math.inf, 1.7e308, -0.0, 1e7])
INT_64 = st.integers(-(2**63), 2**64 - 1) | st.sampled_from([0, -1, 2**63 - 1])
ANGLE = st.floats(-math.pi, math.pi)

POINTS = arrays.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=FLOAT_32)
POSES = st.builds(
    lambda x, y, z, yaw: msgspec.structs.replace(
        Pose.from_xy_yaw(0.0, 0.0, yaw), x_m=x, y_m=y, z_m=z
    ),
    FLOAT_64, FLOAT_64, FLOAT_64, ANGLE,
)  # fmt: skip
EGOS = st.builds(
    EgoState,
    stamp_ns=INT_64,
    world_from_ego=POSES,
    speed_mps=FLOAT_64,
    acceleration_mps2=FLOAT_64,
    yaw_rate_radps=FLOAT_64,
    steering_rad=FLOAT_64,
)
ROUTES = st.builds(
    lambda points, limit, stop: Route(
        points_ego=tuple(points), speed_limit_mps=limit, stop_distance_m=stop
    ),
    st.lists(st.tuples(FLOAT_64, FLOAT_64), max_size=4),
    FLOAT_64,
    FLOAT_64 | st.none(),
)
IMAGES = st.none() | arrays.arrays(
    st.sampled_from([np.uint8, np.float32, np.int64]),
    st.sampled_from([(32, 64, 3), (64, 32, 3), (32, 64), (0, 0, 3), (1,)]),
    elements=st.just(0) | st.just(255),
    fill=st.just(7),
)
FRAMES = st.builds(Frame, IMAGES, INT_64, st.sampled_from(FrameStatus))

READINGS = st.fixed_dictionaries(
    {
        "stamp_ns": st.none() | INT_64,
        "radar": st.none()
        | st.builds(RadarScan, POINTS, st.none() | arrays.arrays(np.int16, st.integers(0, 6))),
        "ultrasonics": st.none()
        | st.builds(
            UltrasonicScan, arrays.arrays(np.float32, st.integers(0, 3), elements=FLOAT_32)
        ),
        "ego": st.none() | EGOS,
        "route": st.none() | ROUTES,
        "frames": st.dictionaries(st.integers(1, 7), FRAMES, min_size=1, max_size=3),
    },
    optional={"index": INT_64},
)
"""Fields of a frame set, and what they are instead (None: as sensed); frames by camera, never the first."""


def changed(sensed: FrameSet, readings: dict) -> FrameSet:
    frames = dict(enumerate(sensed.frames)) | readings.get("frames", {})
    instead = {name: value for name, value in readings.items() if value is not None}
    return replace(sensed, **(instead | {"frames": tuple(frames.values())}))


@pytest.fixture
def drive(rig, manifest, profile, scripted_engine, box, frame_set):
    """Drive with a car ahead, clean readings before and after the given ones; return ticks and clips."""

    def run(readings: list[dict], folder: Path) -> tuple[list[TickResult], list[Path]]:
        engine = scripted_engine(boxes=lambda tick: [box(12.0, 0.0)])
        recorder = Recorder(
            RecorderSettings(privacy="synthetic", record_hz=1000.0),
            Drive(DriveIdentity(vehicle_id="v-1", drive_id="d-1", rate_hz=36.0), "b-1", rig),
            [EVERY_TICK],
            folder,
        )
        runtime = Runtime(
            RuntimeSettings(),
            rig=rig,
            bundle=LoadedBundle.of(manifest, {Rung.FULL: NetworkPerceiver(engine, rig, manifest)}),
            profile=profile,
            control=ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
            campaigns=(EVERY_TICK,),
            recorder=recorder,
            clock=VirtualClock(),
            rate_hz=36.0,
        )
        nothing: list[dict] = [{}]
        ticks = BEFORE * nothing + readings + AFTER * nothing
        results = []
        for index, instead in enumerate(ticks):
            sensed = frame_set(index, x_m=500.0 + 8.0 * index / 36, speed_mps=8.0)
            results.append(runtime.tick(changed(sensed, instead), sensed.stamp_ns))
        return results, [clip.path for clip in recorder.close().kept]

    return run


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(readings=st.lists(READINGS, min_size=DURING, max_size=DURING))
def test_no_bits_of_any_reading_stop_the_vehicle_or_spoil_its_clip(
    drive, rig, readings: list[dict]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results, paths = drive(readings, Path(folder))
        clips = [read_clip(path) for path in paths]
    for result in results:
        assert not result.perception.has_fault
        assert math.isfinite(result.plan.acceleration_mps2)
        if result.perception.rung is Rung.FULL:
            assert [box.category for box in result.perception.boxes] == ["car"]
    assert results[-1].perception.rung is Rung.FULL
    assert clips
    for clip in clips:
        for frame in clip.frames:
            sensed = decode_instant(frame.sensed, rig)
            assert np.isfinite(sensed.radar.points_ego).all()
            # A set's own stamp may make every image old, and an image of another moment is not looked at.
            first = sensed.frames[0]
            is_old = (sensed.stamp_ns - first.stamp_ns) / NS_PER_S > STALE_S
            assert first.is_usable or is_old, "the camera that nothing was done to"


def test_place_that_is_no_number_for_three_ticks_costs_neither_boxes_nor_tracks(
    drive, tmp_path: Path
) -> None:
    lost = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=math.nan, y_m=math.nan), speed_mps=8.0)
    results, _ = drive([{"ego": lost}] * 3, tmp_path)
    (before,), (after,) = (results[k].perception.agents for k in (BEFORE - 1, BEFORE + 2))
    assert before.track_id == after.track_id
    assert {r.perception.rung for r in results} == {Rung.FULL}
    assert {d.reading for r in results[BEFORE : BEFORE + 3] for d in r.dropped} == {Reading.POSE}
