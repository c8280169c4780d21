"""tick(): what comes out of one instant, and that nothing a network says can stop it."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from edge.budget import Slowdown, VirtualClock
from edge.clip import Drive, Recorder, RecorderSettings
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Category, Plan, PlanSource, Rung
from edge.contracts.sensors import FrameSet, RadarScan, UltrasonicScan
from edge.contracts.time import Clock, ClockKind, frame_stamp_ns
from edge.health import PROCESSES
from edge.perceive.perceiver import NetworkPerceiver, SubsetPerceiver
from edge.runtime import Runtime, RuntimeSettings, TickResult, drive
from edge.trigger import ControlStream

NEVER_NS = 2**62


@pytest.fixture
def wake(rig, manifest, profile) -> Callable[..., Runtime]:
    """Wake a vehicle up with a scripted engine on its full and its camera-subset rung."""

    def make(engine, **changes) -> Runtime:
        perceiver = NetworkPerceiver(engine, rig, manifest)
        fields = {
            "rig": rig,
            "manifest": manifest,
            "perceivers": {Rung.FULL: perceiver, Rung.CAMERAS_SUBSET: SubsetPerceiver(perceiver)},
            "profile": profile,
            "control": ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
            "clock": VirtualClock(),
        }
        return Runtime(changes.pop("settings", RuntimeSettings()), **(fields | changes))

    return make


def run(runtime: Runtime, frames: list[FrameSet]) -> list[TickResult]:
    return [runtime.tick(frame, frame.stamp_ns) for frame in frames]


def echo(rng: np.random.Generator, x_m: float, y_m: float) -> RadarScan:
    """One echo of something that stands there, with a radar's noise."""
    noise = rng.normal(0, 0.1, 3)
    return RadarScan(np.array([[x_m + noise[0], y_m + noise[1], noise[2], 5.0]], np.float32))


def test_a_box_becomes_an_agent_and_the_vehicle_brakes_for_it(
    wake, scripted_engine, box, frame_set
) -> None:
    runtime = wake(scripted_engine(lambda tick: [box(18.0, 0.0)]))
    results = run(runtime, [frame_set(k, speed_mps=8.0) for k in range(4)])
    assert [len(r.perception.boxes) for r in results] == [1, 1, 1, 1]
    (agent,) = results[-1].perception.agents
    assert agent.is_confirmed
    assert agent.box.x_m == pytest.approx(18.0, abs=0.01)
    assert results[0].plan.acceleration_mps2 > 0.0  # one box may be a slip
    assert results[-1].plan.acceleration_mps2 < -1.0
    assert results[-1].plan.min_ttc_s == pytest.approx((18 - 2.25 - 3.6) / 8, abs=0.05)


def spoiled(value: float) -> Callable[[int, dict[str, np.ndarray]], None]:
    def spoil(tick: int, outputs: dict[str, np.ndarray]) -> None:
        outputs["heatmap"][0, 0, 3, 3] = value

    return spoil


def cut_short(tick: int, outputs: dict[str, np.ndarray]) -> None:
    outputs["plans"] = outputs["plans"][:, :3]


def forgotten(tick: int, outputs: dict[str, np.ndarray]) -> None:
    del outputs["boxes"]


@pytest.mark.parametrize(
    "spoil", [spoiled(math.nan), spoiled(math.inf), cut_short, forgotten],
    ids=["nan", "infinite", "wrong shape", "missing"],
)  # fmt: skip
def test_a_network_that_answers_nonsense_costs_the_boxes_and_not_the_tick(
    wake, scripted_engine, frame_set, spoil
) -> None:
    runtime = wake(scripted_engine(spoil=spoil))
    results = run(runtime, [frame_set(k, speed_mps=5.0) for k in range(5)])
    assert all(r.perception.has_fault and r.perception.boxes == () for r in results)
    assert results[-1].plan.source is PlanSource.ROUTE
    assert runtime.health.faults == runtime.health.ticks == 5


def test_during_a_fault_agents_coast_and_the_radar_still_stops_the_vehicle(
    wake, scripted_engine, box, frame_set
) -> None:
    def spoil(tick: int, outputs: dict[str, np.ndarray]) -> None:
        if tick >= 5:
            outputs["heatmap"][:] = math.nan

    rng = np.random.default_rng(0)
    runtime = wake(scripted_engine(lambda tick: [box(30.0, 3.5)], spoil))
    frames = [frame_set(k, speed_mps=6.0, radar=echo(rng, 14.0, 0.0)) for k in range(36)]
    results = run(runtime, frames)
    assert len(results[5].perception.agents) == 1
    assert results[35].perception.agents == ()
    assert len(results[35].perception.radar_tracks) == 1
    assert results[35].plan.acceleration_mps2 < -1.0


def test_with_the_network_silent_and_no_route_the_last_resort_brakes(
    wake, scripted_engine, frame_set
) -> None:
    runtime = wake(scripted_engine(spoil=forgotten))
    blind = frame_set(0, speed_mps=6.0)
    blind = dataclasses.replace(blind, route=type(blind.route)())
    (result,) = run(runtime, [blind])
    assert result.plan.source is PlanSource.MINIMUM_RISK
    assert result.plan.acceleration_mps2 < 0.0


def test_an_ultrasonic_echo_holds_the_vehicle(wake, scripted_engine, frame_set) -> None:
    runtime = wake(scripted_engine())
    near = UltrasonicScan(np.array([0.15], np.float32))
    (result,) = run(runtime, [frame_set(0, ultrasonics=near)])
    assert result.plan.acceleration_mps2 == 0.0
    assert result.plan.points[-1].x_m == 0.0


# --- time ---------------------------------------------------------------------------------------


def test_the_parts_of_every_tick_sum_to_its_whole(wake, scripted_engine, frame_set) -> None:
    slow = (Slowdown(frame_stamp_ns(10), frame_stamp_ns(20), 4.0),)
    runtime = wake(scripted_engine(), slowdowns=slow)
    for result in run(runtime, [frame_set(k) for k in range(40)]):
        ledger = result.ledger
        assert ledger.total_ms == math.fsum(s.ms for s in ledger.stages)
        after_plan = sum(s.ms for s in ledger.stages if s.stage in ("trigger", "record"))
        assert ledger.sensor_to_plan_ms == pytest.approx(ledger.total_ms - after_plan)
        assert len({s.stage for s in ledger.stages}) == len(ledger.stages)


def test_a_full_tick_charges_exactly_what_the_profile_models(
    wake, scripted_engine, frame_set, profile
) -> None:
    (result,) = run(wake(scripted_engine()), [frame_set(0)])
    charged = {s.stage: s.ms for s in result.ledger.stages}
    expected = {"infer" if k == "infer_pico" else k: v for k, v in profile.modelled_ms.items()}
    assert charged == {k: v for k, v in expected.items() if k in charged}
    assert result.ledger.sensor_to_plan_ms == 14.0


def test_a_board_that_slows_down_sheds_the_network_and_recovers(
    wake, scripted_engine, frame_set
) -> None:
    """Four times slower, the tick that is hit takes 60 ms; two periods later nothing has waited."""
    slow = (Slowdown(frame_stamp_ns(10), frame_stamp_ns(20), 4.0),)
    runtime = wake(scripted_engine(), slowdowns=slow)
    results = run(runtime, [frame_set(k) for k in range(140)])
    rungs = [r.perception.rung for r in results]
    assert rungs[:11] == [Rung.FULL] * 11
    assert rungs[11:20] == [Rung.RADAR_ONLY] * 9
    assert rungs[-1] is Rung.FULL
    assert rungs.index(Rung.FULL, 11) > 55
    assert results[11].ledger.reason.startswith("cameras_subset ")
    assert results[11].ledger.stages[0].stage == "wait"
    assert runtime.ledger.missed == 0
    assert dict(runtime.ledger.rungs) == {r: rungs.count(r) for r in set(rungs)}


def test_a_radar_only_tick_asks_no_network_and_misses_nobody(
    wake, scripted_engine, box, frame_set
) -> None:
    engine = scripted_engine(lambda tick: [box(30.0, 3.5)])
    slow = (Slowdown(frame_stamp_ns(10), frame_stamp_ns(20), 4.0),)
    results = run(wake(engine, slowdowns=slow), [frame_set(k) for k in range(20)])
    assert len(engine.asked) == 11
    assert len(results[-1].perception.agents) == 1
    assert not results[-1].perception.has_fault


def test_measured_time_goes_to_the_side_log_and_decides_nothing(
    wake, scripted_engine, frame_set
) -> None:
    @dataclass
    class Stuttering:
        """A wall clock on which every stage takes a second."""

        stamp_ns: int = 0

        def now_ns(self) -> int:
            self.stamp_ns += 10**9
            return self.stamp_ns

    frames = [frame_set(k) for k in range(5)]
    stuttering = wake(scripted_engine(), clock=Stuttering())
    assert [r.ledger for r in run(stuttering, frames)] == [
        r.ledger for r in run(wake(scripted_engine()), frames)
    ]
    assert list(stuttering.ledger.measured["infer"]) == [1000.0] * 5


def test_a_board_that_does_not_know_the_model_is_refused(wake, scripted_engine, profile) -> None:
    ignorant = msgspec.structs.replace(profile, modelled_ms={"sense": 1.0})
    with pytest.raises(OperatorError, match="has no modelled_ms for"):
        wake(scripted_engine(), profile=ignorant)


# --- triggers, clips, bundles -------------------------------------------------------------------


def campaign(*rules: TriggerRule) -> Campaign:
    thresholds = {TriggerRule.RADAR_WITHOUT_BOX: 0.2, TriggerRule.RANDOM: 0.5}
    armed = tuple(ArmedRule(rule=r, threshold=thresholds[r]) for r in rules)
    return Campaign(campaign_id="c-1", rules=armed, before_s=0.5, after_s=0.5, until_ns=NEVER_NS)


def test_an_object_in_front_of_the_camera_with_zero_boxes_is_still_mined(
    wake, scripted_engine, frame_set, rig, tmp_path
) -> None:
    """The network sees nothing; the radar does, and the moment is sealed into a clip."""
    armed = (campaign(TriggerRule.RADAR_WITHOUT_BOX),)
    recorder = Recorder(
        RecorderSettings(privacy="synthetic"),
        Drive(
            vehicle_id="v-1", drive_id="d-1", bundle_id="b-1", rig=rig,
            clock=Clock(kind=ClockKind.VIRTUAL),
        ),
        armed,
        tmp_path,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    runtime = wake(scripted_engine(), campaigns=armed, recorder=recorder)
    results = run(runtime, [frame_set(k, radar=echo(rng, 12.0, 0.5)) for k in range(90)])
    assert not any(r.perception.boxes for r in results)
    assert {e.rule for r in results for e in r.events} == {TriggerRule.RADAR_WITHOUT_BOX}
    kept = recorder.close().kept
    assert kept
    assert sorted(tmp_path.glob("*.mcap")) == sorted(clip.path for clip in kept)


def test_the_moments_kept_for_the_triggers_span_three_seconds(
    wake, scripted_engine, frame_set
) -> None:
    runtime = wake(scripted_engine())
    run(runtime, [frame_set(k) for k in range(200)])
    stamps = [moment.stamp_ns for moment in runtime.moments]
    assert stamps == [frame_stamp_ns(k) for k in range(200 - 109, 200)]


def test_another_bundle_drives_from_the_next_tick_with_tracks_kept_and_memory_empty(
    wake, scripted_engine, box, frame_set, rig, manifest
) -> None:
    def remember(tick: int, outputs: dict[str, np.ndarray]) -> None:
        outputs["queries"][:] = 1.0

    runtime = wake(scripted_engine(lambda tick: [box(30.0, 3.5)], remember))
    before = run(runtime, [frame_set(k) for k in range(12)])[-1].perception
    second = msgspec.structs.replace(manifest, bundle_id="b-2")
    engine = scripted_engine(lambda tick: [box(30.0, 3.5)], remember)
    runtime.swap(second, {Rung.FULL: NetworkPerceiver(engine, rig, second)})
    (after,) = run(runtime, [frame_set(12)])
    assert (before.bundle_id, after.perception.bundle_id) == ("b-1", "b-2")
    assert after.perception.agents[0].track_id == before.agents[0].track_id
    assert not engine.asked[0]["memory"].any()
    assert (runtime.health.bundle_id, runtime.health.ticks) == ("b-2", 1)


def test_the_same_frames_give_the_same_bytes(wake, scripted_engine, box, frame_set) -> None:
    def once() -> bytes:
        rng = np.random.default_rng(3)
        engine = scripted_engine(
            lambda tick: [box(30 - 0.2 * tick, 1.0), box(12, -5, Category.PEDESTRIAN, vy_mps=1.0)]
        )
        slow = (Slowdown(frame_stamp_ns(20), frame_stamp_ns(25), 3.0),)
        armed = (campaign(TriggerRule.RADAR_WITHOUT_BOX, TriggerRule.RANDOM),)
        runtime = wake(engine, campaigns=armed, slowdowns=slow)
        frames = [frame_set(k, speed_mps=5.0, radar=echo(rng, 20, -2)) for k in range(60)]
        rows = [(r.perception, r.plan, r.events) for r in run(runtime, frames)]
        return msgspec.msgpack.encode(rows)

    assert once() == once()


@dataclass
class StraightRoad:
    """A world of one road: the vehicle moves as the last plan says; a car stands at 40 m."""

    frame_set: Callable[..., FrameSet]
    ticks: int
    x_m: float = 0.0
    speed_mps: float = 8.0
    index: int = 0

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        if self.index == self.ticks:
            return None
        if plan is not None:
            self.speed_mps = max(self.speed_mps + plan.acceleration_mps2 / 36, 0.0)
            self.x_m += self.speed_mps / 36
        self.index += 1
        return self.frame_set(self.index, self.x_m, self.speed_mps)


def test_the_whole_vehicle_stops_behind_a_standing_car(
    wake, scripted_engine, box, frame_set
) -> None:
    road = StraightRoad(frame_set, ticks=320)
    engine = scripted_engine(lambda tick: [box(40.0 - road.x_m, 0.0)] if road.x_m > 9 else [])
    results = list(drive(wake(engine), road))
    assert len(results) == 320
    assert road.speed_mps < 0.1
    assert 1.0 < 40.0 - 2.25 - (road.x_m + 3.6) < 3.0
    assert PlanSource.MINIMUM_RISK not in {r.plan.source for r in results}


def test_every_stream_between_processes_has_a_writer() -> None:
    written = {stream for process in PROCESSES.values() for stream in process.writes}
    read = {stream for process in PROCESSES.values() for stream in process.reads}
    assert read <= written
    assert all(set(p.reads).isdisjoint(p.writes) for p in PROCESSES.values())
