"""Each fault of a sensor or a model sets the rung of the tick, the speed of the vehicle, and an event."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge.budget import VirtualClock
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount, ego_from_cam
from edge.contracts.scene import Rung
from edge.contracts.sensors import EgoState, Frame, FrameSet, FrameStatus, RadarScan, Route
from edge.contracts.time import NS_PER_S
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import NetworkPerceiver
from edge.runtime import Runtime, RuntimeSettings, TickResult
from edge.trigger import ControlStream

ROUTE = Route(points_ego=tuple((2.0 * k, 0.0) for k in range(60)), speed_limit_mps=13.9)
CLUTTER = RadarScan(np.array([[40.0, 9.0, 0.0, 5.0]], np.float32))
ALL = tuple(range(4))
FULL_MPS, SLOW_MPS, RADAR_MPS = 13.9, 8.3, 7.0

Change = Callable[[FrameSet], FrameSet]


@pytest.fixture
def rig() -> Rig:
    """Two cameras that both show the road ahead, one to the left, one to the rear."""
    views = (("main", 0.0, 60.0), ("wide", 0.0, 120.0), ("left", 60.0, 75.0), ("rear", 180.0, 75.0))
    return Rig(
        name="four",
        cameras=tuple(
            Camera(
                name=name,
                intrinsics=Intrinsics.from_fov(math.radians(fov), 64, 32),
                ego_from_cam=ego_from_cam(
                    1.5, 0.0, 1.5, yaw_rad=math.radians(yaw), pitch_rad=-0.06
                ),
            )
            for name, yaw, fov in views
        ),
        ultrasonics=(UltrasonicMount(x_m=3.6, y_m=0.0, yaw_rad=0.0),),
    )


@pytest.fixture
def drive(rig, manifest, profile, scripted_engine, frame_set, health_campaign):
    """Drive for four seconds at 8 m/s with a fault from the first second on."""

    def run(
        fault: Change, engine=None, settings: RuntimeSettings | None = None
    ) -> list[TickResult]:
        perceiver = NetworkPerceiver(engine or scripted_engine(), rig, manifest)
        runtime = Runtime(
            settings or RuntimeSettings(),
            rig=rig,
            bundle=LoadedBundle.of(manifest, {Rung.FULL: perceiver}),
            profile=profile,
            control=ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
            campaigns=(health_campaign,),
            clock=VirtualClock(),
            rate_hz=36.0,
        )
        results = []
        for index in range(4 * 36):
            sensed = frame_set(
                index, x_m=8.0 * index / 36, speed_mps=8.0, route=ROUTE, radar=CLUTTER
            )
            sensed = replace(sensed, frames=sensed.frames[:4])
            sensed = fault(sensed) if index >= 36 else sensed
            results.append(runtime.tick(sensed, sensed.stamp_ns))
        return results

    return run


def cameras(numbers: tuple[int, ...], change: Callable[[Frame], Frame]) -> Change:
    def fault(sensed: FrameSet) -> FrameSet:
        frames = [change(f) if k in numbers else f for k, f in enumerate(sensed.frames)]
        return replace(sensed, frames=tuple(frames))

    return fault


def missing(frame: Frame) -> Frame:
    return Frame(None, frame.stamp_ns, FrameStatus.MISSING)


def black(frame: Frame) -> Frame:
    return replace(frame, image=np.zeros_like(frame.image))


def late(ms: float) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, stamp_ns=frame.stamp_ns - round(ms * 1e6))


STILL = np.random.default_rng(5).integers(60, 200, (4, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def frozen(frame: Frame) -> Frame:
    return replace(frame, image=STILL)


def silent(sensed: FrameSet) -> FrameSet:
    return replace(sensed, radar=RadarScan())


def nan_radar(sensed: FrameSet) -> FrameSet:
    points = np.vstack([CLUTTER.points_ego, np.full((1, 4), np.nan, np.float32)])
    return replace(sensed, radar=RadarScan(points))


def top_speed_mps(results: list[TickResult]) -> float:
    """The speed that the last plans lead to, from 8 m/s in three seconds."""
    return max(r.plan.points[-1].speed_mps for r in results[-18:])


@pytest.mark.parametrize(
    ("fault", "rung", "cap_mps", "events", "told"),
    [
        (lambda s: s, Rung.FULL, FULL_MPS, set(), ""),
        # One of two cameras that show the road ahead: the other shows all of it, so nothing is limited.
        (cameras((0,), missing), Rung.FULL, FULL_MPS, {"image_health"}, "main missing"),
        (cameras((0,), frozen), Rung.FULL, FULL_MPS, {"image_health"}, "main frozen"),
        # Both: the road ahead is not seen, so radar drives.
        (cameras((0, 1), missing), Rung.RADAR_ONLY, RADAR_MPS, {"image_health", "rung_change"},
         "wide missing"),
        (cameras((0, 1), frozen), Rung.RADAR_ONLY, RADAR_MPS, {"image_health", "rung_change"},
         "wide frozen"),
        (cameras(ALL, black), Rung.RADAR_ONLY, RADAR_MPS, {"image_health", "rung_change"},
         "rear black"),
        (cameras(ALL, missing), Rung.RADAR_ONLY, RADAR_MPS, {"image_health", "rung_change"},
         "left missing"),
        # Side and rear: ahead is seen, less than 0.6 of everything around is not.
        (cameras((2, 3), missing), Rung.FULL, SLOW_MPS, {"image_health"}, "left missing"),
        # 110 ms at 8 m/s are 0.9 m: boxes still match, at a lower speed; 600 ms show another moment.
        (cameras(ALL, late(110.0)), Rung.FULL, SLOW_MPS, set(), "main late"),
        (cameras(ALL, late(600.0)), Rung.RADAR_ONLY, RADAR_MPS, {"image_health", "rung_change"},
         "main missing"),
        # A radar that hears nothing confirms nothing: recall ahead falls from 0.79 to 0.64.
        (silent, Rung.FULL, SLOW_MPS, {"radar_silent"}, "radar silent"),
        (nan_radar, Rung.FULL, FULL_MPS, set(), ""),
    ],
    ids=["clean", "one missing", "one frozen", "ahead missing", "ahead frozen", "all black",
         "all missing", "sides missing", "late", "very late", "silent radar", "NaN radar"],
)  # fmt: skip
def test_a_fault_of_a_sensor_sets_rung_speed_and_event(
    drive, fault: Change, rung: Rung, cap_mps: float, events: set[str], told: str
) -> None:
    results = drive(fault)
    assert results[35].perception.rung is Rung.FULL and not results[35].sensor_faults
    assert results[-1].perception.rung is rung
    assert top_speed_mps(results) <= cap_mps + 0.05
    assert top_speed_mps(results) > cap_mps - 4.0, "it drives on"
    assert {str(event.rule) for r in results for event in r.events} == events
    assert told in results[-1].sensor_faults or not told
    assert not any(r.perception.has_fault for r in results)


def test_a_camera_that_comes_back_gives_the_network_back(drive) -> None:
    def blind_for_a_second(sensed: FrameSet) -> FrameSet:
        return cameras(ALL, black)(sensed) if sensed.index < 72 else sensed

    rungs = [r.perception.rung for r in drive(blind_for_a_second)]
    assert rungs[60] is Rung.RADAR_ONLY and set(rungs[80:]) == {Rung.FULL}


class Raises:
    """An engine that fails from its n-th answer on."""

    def __init__(self, engine, error: BaseException, after: int = 36) -> None:
        self.engine, self.error, self.after, self.count = engine, error, after, 0

    def run(self, inputs):
        self.count += 1
        if self.count > self.after:
            raise self.error
        return self.engine.run(inputs)


def test_a_model_that_raises_costs_the_boxes_and_is_an_event(drive, scripted_engine) -> None:
    results = drive(lambda s: s, Raises(scripted_engine(), RuntimeError("out of memory")))
    assert [r.perception.has_fault for r in results] == [False] * 36 + [True] * 108
    assert {str(e.rule) for r in results for e in r.events} == {"network_fault"}
    assert top_speed_mps(results) <= RADAR_MPS + 0.05
    assert not any(r.is_excused for r in results)


class Hangs:
    """An engine that does not answer from its n-th question on, until it is let go."""

    def __init__(self, engine, after: int = 36) -> None:
        self.engine, self.after, self.count = engine, after, 0
        self.let_go = threading.Event()

    def run(self, inputs):
        self.count += 1
        if self.count > self.after:
            self.let_go.wait()
        return self.engine.run(inputs)


def test_a_model_that_hangs_is_given_up_and_the_vehicle_drives_on(drive, scripted_engine) -> None:
    engine = Hangs(scripted_engine())
    results = drive(lambda s: s, engine, RuntimeSettings(hang_s=0.2))
    engine.let_go.set()
    assert [r.perception.has_fault for r in results] == [False] * 36 + [True] * 108
    assert engine.count == 37, "it is asked once more and never again"
    assert {str(e.rule) for r in results for e in r.events} == {"network_fault"}
    assert top_speed_mps(results) <= RADAR_MPS + 0.05


def test_a_fault_of_the_model_on_poor_images_says_nothing_about_the_bundle(
    drive, scripted_engine
) -> None:
    engine = Raises(scripted_engine(), RuntimeError("cannot cope"))
    results = drive(cameras((0,), missing), engine)
    assert all(r.is_excused for r in results[36:])


def test_a_clock_that_steps_back_an_hour_is_counted_and_the_vehicle_drives_on(drive) -> None:
    def hour_back(sensed: FrameSet) -> FrameSet:
        back_ns = 3600 * NS_PER_S
        frames = tuple(replace(f, stamp_ns=f.stamp_ns - back_ns) for f in sensed.frames)
        ego = msgspec.structs.replace(sensed.ego, stamp_ns=sensed.stamp_ns - back_ns)
        return replace(sensed, stamp_ns=sensed.stamp_ns - back_ns, frames=frames, ego=ego)

    results = drive(hour_back)
    assert {r.perception.rung for r in results} == {Rung.FULL}
    assert {str(e.rule) for r in results for e in r.events} == {"clock_step"}
    assert top_speed_mps(results) > FULL_MPS - 4.0


def test_own_motion_that_is_not_known_stops_the_vehicle(drive) -> None:
    lost = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=math.nan), speed_mps=math.nan)
    results = drive(lambda s: replace(s, ego=lost))
    assert results[-1].perception.rung is Rung.MINIMUM_RISK
    assert results[-1].plan.points[-1].speed_mps == 0.0


def test_localisation_that_jumps_to_another_place_begins_new_tracks(
    drive, scripted_engine, box
) -> None:
    def elsewhere(sensed: FrameSet) -> FrameSet:
        place = msgspec.structs.replace(sensed.ego.world_from_ego, x_m=-9e6, y_m=2e6)
        return replace(sensed, ego=msgspec.structs.replace(sensed.ego, world_from_ego=place))

    results = drive(elsewhere, scripted_engine(boxes=lambda tick: [box(30.0, 8.0)]))
    (before,), (after,) = (results[k].perception.agents for k in (35, -1))
    assert before.track_id != after.track_id
    assert abs(after.box.vx_mps) < 20.0 and {r.perception.rung for r in results} == {Rung.FULL}
    assert all(abs(a.box.x_m) < 100.0 for r in results[36:] for a in r.perception.agents)
