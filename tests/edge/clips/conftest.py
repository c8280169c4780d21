"""Clips small enough to read: eight cameras of 16x8 pixels."""

from collections.abc import Callable

import numpy as np
import pytest

from edge.clip_file import ClipFrame, encode_instant
from edge.contracts.classes import CAR
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount
from edge.contracts.scene import (
    Agent,
    Box3D,
    Perception,
    Plan,
    PlanPoint,
    PlanSource,
    RadarTrack,
    Rung,
    Trajectory,
)
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import ClockKind, NamedClock, frame_stamp_ns
from edge.perceive.tensors import IMAGE_SLOTS

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

HEIGHT_PX, WIDTH_PX = 8, 16

MakeFrame = Callable[..., ClipFrame]
MakeManifest = Callable[..., ClipManifest]


@pytest.fixture(scope="session")
def rig() -> Rig:
    intrinsics = Intrinsics.from_fov(1.0, WIDTH_PX, HEIGHT_PX)
    return Rig(
        name="tiny",
        cameras=tuple(
            Camera(name=name, intrinsics=intrinsics, ego_from_cam=Pose(x_m=1.0, z_m=1.5))
            for name in CAMERAS
        ),
        ultrasonics=tuple(UltrasonicMount(x_m=3.0, y_m=0.1 * k, yaw_rad=0.0) for k in range(12)),
    )


@pytest.fixture(scope="session")
def make_frame() -> MakeFrame:
    """Build the frame of one tick, different in everything from other ticks' frames."""

    def make(index: int, seed: int = 0, missing: tuple[int, ...] = ()) -> ClipFrame:
        rng = np.random.default_rng((seed, index))
        stamp_ns = frame_stamp_ns(index)
        images = rng.integers(0, 256, (8, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        shown = [None if i in missing else image for i, image in enumerate(images)]
        frame_set = FrameSet(
            index=index,
            stamp_ns=stamp_ns,
            frames=frames_of(shown, stamp_ns),
            radar=RadarScan(rng.normal(0, 9, (rng.integers(0, 5), 4)).astype(np.float32)),
            ultrasonics=UltrasonicScan(rng.uniform(0, 5, 12).astype(np.float32)),
            ego=EgoState(
                stamp_ns=stamp_ns,
                world_from_ego=Pose.from_xy_yaw(*rng.uniform(-2, 2, 3).tolist()),
                speed_mps=float(rng.uniform(0, 20)),
            ),
            route=Route(points_ego=((0.0, 0.0), (2.0, float(rng.normal())))),
        )
        return ClipFrame(
            encode_instant(frame_set),
            perception=None if index % 5 == 4 else _perception(index, rng),
            plan=None if index % 7 == 6 else _plan(index, rng),
        )

    return make


@pytest.fixture(scope="session")
def make_manifest(rig: Rig) -> MakeManifest:
    def make(frames: list[ClipFrame], **changes: object) -> ClipManifest:
        event = TriggerEvent(
            rule=TriggerRule.RADAR_WITHOUT_BOX,
            rule_version=1,
            campaign_id="c-1",
            stamp_ns=frames[0].stamp_ns,
            value=1.0,
            threshold=0.4,
            worth=0.5,
        )
        fields = {
            "clip_id": ClipManifest.make_id("v-1", "d-1", event),
            "vehicle_id": "v-1",
            "drive_id": "d-1",
            "clock": NamedClock(kind=ClockKind.VIRTUAL),
            "rig": rig,
            "rig_id": rig.rig_id,
            "bundle_id": "b-1",
            "events": (event,),
            "start_ns": frames[0].stamp_ns,
            "end_ns": frames[-1].stamp_ns,
            "frame_count": len(frames),
            "privacy": Privacy.SYNTHETIC,
            **changes,
        }
        return ClipManifest(**fields)

    return make


def _perception(index: int, rng: np.random.Generator) -> Perception:
    x_m, y_m, yaw_rad = rng.uniform(-3, 3, 3).tolist()
    box = Box3D(
        category=CAR,
        x_m=x_m,
        y_m=y_m,
        z_m=0.8,
        length_m=4.0,
        width_m=2.0,
        height_m=1.6,
        yaw_rad=yaw_rad,
        score=0.75,
        covariance=(0.1, 0.0, 0.1),
    )
    ahead = Trajectory(points_ego=((x_m, y_m), (x_m + 1.0, y_m)), step_s=0.25)
    return Perception(
        stamp_ns=frame_stamp_ns(index),
        rung=Rung.FULL,
        bundle_id="b-1",
        boxes=(box,),
        agents=(
            Agent(
                track_id=1, box=box, first_seen_ns=0, hits=3, is_confirmed=True, futures=(ahead,)
            ),
        ),
        radar_tracks=(
            RadarTrack(track_id=2, x_m=x_m, y_m=y_m, vx_mps=0.5, vy_mps=0.0, hits=9, age_s=0.5),
        ),
    )


def _plan(index: int, rng: np.random.Generator) -> Plan:
    return Plan(
        stamp_ns=frame_stamp_ns(index),
        source=PlanSource.NETWORK,
        points=(PlanPoint(x_m=float(rng.normal()), y_m=0.0, yaw_rad=0.0, speed_mps=5.0),),
        step_s=0.25,
        acceleration_mps2=0.5,
        steering_rad=0.0,
        min_ttc_s=4.0,
        rejected=(("collision", 3),),
    )
