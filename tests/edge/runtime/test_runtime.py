"""tick(): what comes out of one instant, and that nothing a network says can stop it."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from edge.budget import MeasuredCharge, ModelledCharge, Slowdown, VirtualClock
from edge.clip import Drive, DriveIdentity, Recorder, RecorderSettings
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.classes import CAR, PEDESTRIAN
from edge.contracts.clean import by_reading
from edge.contracts.clip import TriggerRule
from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.rig import BODY
from edge.contracts.scene import Plan, PlanSource, Rung
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import NS_PER_S, frame_stamp_ns
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import NetworkPerceiver
from edge.perceive.tensors import PICO, GroundClass
from edge.runtime import Runtime, RuntimeSettings, TickResult, drive
from edge.trigger import ControlStream

NEVER_NS = 2**62


@pytest.fixture
def wake(rig, manifest, profile) -> Callable[..., Runtime]:
    """Start a vehicle with a scripted engine on its full rung."""

    def make(engine, **changes) -> Runtime:
        perceiver = NetworkPerceiver(engine, rig, manifest)
        fields = {
            "rig": rig,
            "bundle": LoadedBundle.of(manifest, {Rung.FULL: perceiver}),
            "profile": profile,
            "control": ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
            "clock": VirtualClock(),
            "rate_hz": 36.0,
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
    assert results[-1].plan.min_ttc_s == pytest.approx((18 - 2.25 - BODY.front_m) / 8, abs=0.05)


def test_the_body_of_the_rig_is_what_a_plan_keeps_from_touching(
    wake, rig, scripted_engine, box, frame_set
) -> None:
    longer = msgspec.structs.replace(BODY, length_m=BODY.length_m + 1.6)
    runtime = wake(
        scripted_engine(lambda tick: [box(18.0, 0.0)]),
        rig=msgspec.structs.replace(rig, body=longer),
    )
    results = run(runtime, [frame_set(k, speed_mps=8.0) for k in range(4)])
    bumper_m = BODY.front_m + 1.6
    assert results[-1].plan.min_ttc_s == pytest.approx((18 - 2.25 - bumper_m) / 8, abs=0.05)


@pytest.mark.parametrize("rate_hz", [10.0, 12.0, 30.0, 36.0])
def test_a_brake_stops_within_one_period_of_the_source_and_not_of_another(
    wake, scripted_engine, frame_set, rate_hz
) -> None:
    runtime = wake(scripted_engine(), rate_hz=rate_hz)
    wall = np.array([[BODY.front_m + 0.5, 0.0, 0.0, 5.0]], np.float32)
    for k in range(20):
        frame = frame_set(
            k, speed_mps=0.05, stamp_ns=frame_stamp_ns(k, rate_hz=rate_hz), radar=RadarScan(wall)
        )
        result = runtime.tick(frame, frame.stamp_ns)
    assert result.plan.acceleration_mps2 == pytest.approx(-0.05 * rate_hz)
    assert runtime.moments[-1].period_s == 1.0 / rate_hz


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


class OutOfTheBlue(Exception):
    """What no engine was ever said to raise, and what cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("CUDA"), MemoryError(), KeyError("boxes"), RecursionError(), OutOfTheBlue()],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_raises_whatever_it_likes_costs_its_tick_the_boxes_and_nothing_else(
    wake, scripted_engine, box, frame_set, caplog, error
) -> None:
    calls = itertools.count()

    class Failing(scripted_engine):
        def run(self, inputs):
            if next(calls) < 3:
                raise error
            return super().run(inputs)

    engine = Failing(lambda tick: [box(30.0, 3.5)])
    runtime = wake(engine)
    results = run(runtime, [frame_set(k, speed_mps=5.0) for k in range(5)])
    assert [r.perception.has_fault for r in results] == [True, True, True, False, False]
    assert [len(r.perception.boxes) for r in results] == [0, 0, 0, 1, 1]
    assert all(r.plan.source is PlanSource.ROUTE for r in results)
    assert all(r.ledger.rung is Rung.FULL for r in results), "the next tick tries again"
    assert runtime.health.faults == 3
    (fault,) = [entry for entry in caplog.records if entry.message == "network_faulted"]
    assert type(error).__name__ in fault.reason


def test_outputs_too_large_to_be_written_down_are_a_fault(
    wake, scripted_engine, box, frame_set
) -> None:
    def spoil(tick: int, outputs: dict[str, np.ndarray]) -> None:
        outputs["boxes"][:, 0] = 1e30  # finite, and no place on earth

    runtime = wake(scripted_engine(lambda tick: [box(30.0, 3.5)], spoil))
    (result,) = run(runtime, [frame_set(0)])
    assert result.perception.has_fault
    sent = msgspec.msgpack.encode(result.perception)
    assert msgspec.msgpack.decode(sent, type=type(result.perception)) == result.perception


# --- readings -----------------------------------------------------------------------------------

BAD_POINT = [math.nan] * 4
DIRTY = {
    "radar": RadarScan(np.array([[30, 2, 0, 5], BAD_POINT, [1e30, 1, 0, 5]], np.float32)),
    "ultrasonics": UltrasonicScan(np.array([math.nan], np.float32)),
    "route": Route(
        points_ego=((0.0, 0.0), (math.nan, 1.0), *((2.0 * k, 0.0) for k in range(1, 40))),
        speed_limit_mps=math.inf,
        stop_distance_m=math.nan,
    ),
}


@pytest.mark.parametrize("name", [*DIRTY, "ego"])
def test_a_reading_that_makes_no_sense_costs_itself_and_not_the_network(
    wake, scripted_engine, frame_set, caplog, name
) -> None:
    engine = scripted_engine()
    runtime = wake(engine)
    frames = [frame_set(k, x_m=k / 4, speed_mps=9.0) for k in range(12)]
    lost = EgoState(stamp_ns=0, world_from_ego=Pose(x_m=math.nan), speed_mps=math.nan)
    dirty = (DIRTY | {"ego": lost})[name]
    frames[5:8] = [dataclasses.replace(frame, **{name: dirty}) for frame in frames[5:8]]
    results = run(runtime, frames)
    for inputs in engine.asked:
        assert all(np.isfinite(value).all() for value in inputs.values())
    assert {r.perception.rung for r in results} == {Rung.FULL}
    assert {r.plan.source for r in results} == {PlanSource.ROUTE}
    assert all(math.isfinite(r.plan.acceleration_mps2 + r.plan.steering_rad) for r in results)
    assert [bool(r.dropped) for r in results] == [False] * 5 + [True] * 3 + [False] * 4
    assert runtime.health.faults == 0
    assert sum(runtime.health.dropped.values()) == 3 * sum(by_reading(results[5].dropped).values())
    assert [entry.message for entry in caplog.records] == ["readings_dropped"], "once, not at 36 Hz"


def test_a_point_that_makes_no_sense_changes_nothing_else(wake, scripted_engine, frame_set) -> None:
    def conclusions(*more: list[float]) -> list[tuple[object, object]]:
        rng = np.random.default_rng(0)
        runtime = wake(scripted_engine())
        scans = [np.vstack([echo(rng, 20.0, 0.0).points_ego, *more]) for _ in range(20)]
        frames = [
            frame_set(k, speed_mps=5.0, radar=RadarScan(points.astype(np.float32)))
            for k, points in enumerate(scans)
        ]
        return [(r.perception, r.plan) for r in run(runtime, frames)]

    assert conclusions(BAD_POINT) == conclusions()


def test_a_vehicle_that_does_not_learn_its_own_motion_stops(
    wake, scripted_engine, frame_set
) -> None:
    """Half a second is held from the last reading: 18 ticks of 36 Hz."""
    runtime = wake(scripted_engine())
    known = [frame_set(k, speed_mps=8.0) for k in range(5)]
    lost = [
        frame_set(k, ego=EgoState(stamp_ns=0, world_from_ego=Pose(), speed_mps=math.nan))
        for k in range(5, 40)
    ]
    results = run(runtime, [*known, *lost, frame_set(40, speed_mps=8.0)])
    assert [r.perception.rung for r in results[:23]] == [Rung.FULL] * 23
    assert {r.perception.rung for r in results[23:40]} == {Rung.MINIMUM_RISK}
    assert all(r.plan.acceleration_mps2 < 0.0 for r in results[23:40])
    assert results[40].perception.rung is Rung.FULL
    (first,) = run(wake(scripted_engine()), lost[:1])
    assert first.perception.rung is Rung.MINIMUM_RISK, "there is nothing to hold"


def test_a_fault_on_readings_that_had_to_be_cleaned_says_nothing_about_the_bundle(
    wake, scripted_engine, frame_set
) -> None:
    def spoil(tick: int, outputs: dict[str, np.ndarray]) -> None:
        outputs["heatmap"][:] = math.nan

    runtime = wake(scripted_engine(spoil=spoil))
    clean, dirty = run(runtime, [frame_set(0), frame_set(1, radar=DIRTY["radar"])])
    assert clean.perception.has_fault and not clean.is_excused
    assert dirty.perception.has_fault and dirty.is_excused
    assert (runtime.health.faults, runtime.health.excused_faults) == (1, 1)


def test_a_clean_tick_excuses_nothing(wake, scripted_engine, frame_set) -> None:
    (dirty,) = run(wake(scripted_engine()), [frame_set(0, radar=DIRTY["radar"])])
    assert not dirty.perception.has_fault and not dirty.is_excused


@pytest.mark.parametrize("missing", [(0,), (1, 2), tuple(range(8))])
def test_a_vehicle_drives_on_without_some_or_all_of_its_cameras(
    wake, scripted_engine, frame_set, missing
) -> None:
    black = np.zeros((32, 64, 3), np.uint8)
    shown = [None if k in missing else black for k in range(8)]
    runtime = wake(scripted_engine())
    results = run(
        runtime, [frame_set(k, frames=frames_of(shown, frame_stamp_ns(k))) for k in range(3)]
    )
    assert not any(r.perception.has_fault for r in results)
    assert results[-1].plan.source is PlanSource.ROUTE


# --- a clock that steps -------------------------------------------------------------------------


def shifted_frame_set(frame_set: FrameSet, shift_ns: int) -> FrameSet:
    """The same instant by a clock that is ahead by so much: the stamps of the cameras are ahead as well."""
    frames = tuple(dataclasses.replace(f, stamp_ns=f.stamp_ns + shift_ns) for f in frame_set.frames)
    return dataclasses.replace(frame_set, stamp_ns=frame_set.stamp_ns + shift_ns, frames=frames)


def shifted(frames: list[FrameSet], step_s: float) -> list[FrameSet]:
    shift_ns = round(step_s * NS_PER_S)
    return [shifted_frame_set(f, shift_ns) for f in frames]


@pytest.mark.parametrize("step_s", [-0.05, -1.0, -3600.0, 1.5, 3600.0])
def test_a_clock_that_steps_costs_a_moment_and_no_more(
    wake, scripted_engine, box, frame_set, caplog, step_s
) -> None:
    rng = np.random.default_rng(0)
    frames = [frame_set(k, radar=echo(rng, 14.0, 0.0)) for k in range(80)]
    runtime = wake(scripted_engine(lambda tick: [box(30.0, 3.5)]))
    before, after = run(runtime, frames[:40]), run(runtime, shifted(frames[40:], step_s))
    assert {r.perception.rung for r in (*before, *after)} == {Rung.FULL}
    assert len(after[0].perception.agents) == 1 and not after[0].perception.agents[0].is_confirmed
    assert after[0].perception.radar_tracks == ()
    (agent,) = after[-1].perception.agents
    assert agent.is_confirmed and agent.first_seen_ns == after[0].perception.stamp_ns
    assert len(after[-1].perception.radar_tracks) == 1
    assert all(m.stamp_ns >= after[0].perception.stamp_ns for m in runtime.moments)
    assert runtime.health.clock_steps == 1
    assert [entry.message for entry in caplog.records] == ["clock_stepped"]


def test_a_clock_that_steps_again_and_again_never_stops_the_vehicle(
    wake, scripted_engine, frame_set
) -> None:
    runtime = wake(scripted_engine())
    results = []
    for second in range(6):
        frames = [frame_set(k) for k in range(36 * second, 36 * second + 36)]
        results += run(runtime, shifted(frames, -2.0 * second))
    assert {r.perception.rung for r in results} == {Rung.FULL}
    assert runtime.health.clock_steps == 5


def test_a_drop_of_less_than_a_second_is_no_step(wake, scripted_engine, box, frame_set) -> None:
    runtime = wake(scripted_engine(lambda tick: [box(30.0, 3.5)]))
    before, after = run(runtime, [frame_set(k) for k in (0, 1, 2, 20)])[-2:]
    assert before.perception.agents[0].track_id == after.perception.agents[0].track_id
    assert runtime.health.clock_steps == 0


def test_stamps_from_before_their_epoch_are_not_waited_for(
    wake, scripted_engine, frame_set
) -> None:
    runtime = wake(scripted_engine())
    frames = [
        dataclasses.replace(frame, stamp_ns=frame.stamp_ns - 2 * NEVER_NS)
        for frame in map(frame_set, range(5))
    ]
    assert {r.perception.rung for r in run(runtime, frames)} == {Rung.FULL}


def test_a_tick_called_just_before_the_step_does_not_hold_up_the_next(
    wake, scripted_engine, frame_set
) -> None:
    """The time to begin was read before the clock stepped, the stamp after it: an hour of waiting."""
    runtime = wake(scripted_engine())
    run(runtime, [frame_set(0)])
    late, *rest = shifted([frame_set(k) for k in range(1, 30)], -3600.0)
    assert runtime.tick(late, frame_set(1).stamp_ns).perception.rung is Rung.MINIMUM_RISK
    assert {r.perception.rung for r in run(runtime, rest)} == {Rung.FULL}


def test_triggers_fire_after_the_clock_stepped_back(wake, scripted_engine, frame_set) -> None:
    """The rule fired at 1 s; an hour back its minimum interval must not last an hour."""
    armed = (campaign(TriggerRule.RADAR_WITHOUT_BOX),)
    rng = np.random.default_rng(0)
    frames = [frame_set(k, radar=echo(rng, 12.0, 0.5)) for k in range(180)]
    runtime = wake(scripted_engine(), campaigns=armed)
    before = run(runtime, frames[:90])
    after = run(runtime, shifted(frames[90:], -3600.0))
    assert any(r.events for r in before) and any(r.events for r in after)


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
    runtime = wake(scripted_engine(), charge=ModelledCharge(slow))
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
    runtime = wake(scripted_engine(), charge=ModelledCharge(slow))
    results = run(runtime, [frame_set(k) for k in range(140)])
    rungs = [r.perception.rung for r in results]
    assert rungs[:11] == [Rung.FULL] * 11
    assert rungs[11:20] == [Rung.RADAR_ONLY] * 9
    assert rungs[-1] is Rung.FULL
    assert rungs.index(Rung.FULL, 11) > 55
    assert results[11].ledger.reason.startswith("full ")
    assert results[11].ledger.stages[0].stage == "wait"
    assert runtime.ledger.missed == 0
    assert dict(runtime.ledger.rungs) == {r: rungs.count(r) for r in set(rungs)}


def test_a_radar_only_tick_asks_no_network_and_misses_nobody(
    wake, scripted_engine, box, frame_set
) -> None:
    engine = scripted_engine(lambda tick: [box(30.0, 3.5)])
    slow = (Slowdown(frame_stamp_ns(10), frame_stamp_ns(20), 4.0),)
    results = run(wake(engine, charge=ModelledCharge(slow)), [frame_set(k) for k in range(20)])
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


class SlowNetwork:
    """An engine around another one that takes a time of its own on a clock on paper."""

    def __init__(self, engine, clock: VirtualClock, infer_ms: float) -> None:
        self.engine, self.clock, self.infer_ms = engine, clock, infer_ms

    def run(self, inputs):
        self.clock.stamp_ns += round(self.infer_ms * 1e6)
        return self.engine.run(inputs)


def drive_in_real_time(runtime: Runtime, clock: VirtualClock, frame_set, seconds: int) -> Counter:
    """Tick on the newest frame whenever the last tick is over; count rungs and missed deadlines."""
    clock.stamp_ns = frame_stamp_ns(0)
    counts: Counter = Counter()
    frame = 0
    while frame < 36 * seconds:
        result = runtime.tick(frame_set(frame), clock.stamp_ns)
        counts[result.ledger.rung] += 1
        counts["missed"] += result.ledger.is_missed
        frame += 1
        clock.stamp_ns = max(clock.stamp_ns, frame_stamp_ns(frame))
        while frame_stamp_ns(frame + 1) <= clock.stamp_ns:
            frame += 1
    return counts


def test_in_real_time_a_network_too_slow_for_the_board_gives_way_to_the_radar(
    wake, scripted_engine, frame_set
) -> None:
    """150 ms for each answer, where the profile says 6: tried again ever more rarely, never for good."""
    clock = VirtualClock()
    engine = SlowNetwork(scripted_engine(), clock, 150.0)
    runtime = wake(engine, clock=clock, charge=MeasuredCharge())
    counts = drive_in_real_time(runtime, clock, frame_set, 30)
    assert 2 <= counts["missed"] <= 5
    assert counts[Rung.RADAR_ONLY] > 0.95 * 30 * 36
    assert counts[Rung.MINIMUM_RISK] == 0


def test_in_real_time_a_network_that_fits_is_always_asked(wake, scripted_engine, frame_set) -> None:
    """12 ms are twice what the profile says and leave the target of 25 ms alone."""
    clock = VirtualClock()
    engine = SlowNetwork(scripted_engine(), clock, 12.0)
    runtime = wake(engine, clock=clock, charge=MeasuredCharge())
    counts = drive_in_real_time(runtime, clock, frame_set, 5)
    assert counts == {Rung.FULL: 180, "missed": 0}
    assert runtime.ledger.summary().p50_ms == 12.0


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
        Drive(DriveIdentity(vehicle_id="v-1", drive_id="d-1", rate_hz=36.0), "b-1", rig),
        armed,
        tmp_path,
    )
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
    runtime.swap(LoadedBundle.of(second, {Rung.FULL: NetworkPerceiver(engine, rig, second)}))
    (after,) = run(runtime, [frame_set(12)])
    assert (before.bundle_id, after.perception.bundle_id) == ("b-1", "b-2")
    assert after.perception.agents[0].track_id == before.agents[0].track_id
    assert not engine.asked[0]["memory"].any()
    assert (runtime.health.bundle_id, runtime.health.ticks) == ("b-2", 1)


def test_the_driving_bundle_says_which_velocities_are_believed(
    wake, scripted_engine, box, frame_set, rig, manifest
) -> None:
    """The network says 9 m/s of a car that stands: yesterday's bundle vouches for no velocity."""
    engine = scripted_engine(lambda tick: [box(30.0, 3.5 + (tick >= 12) * 20.0, vx_mps=9.0)])
    runtime = wake(engine)
    before = run(runtime, [frame_set(k) for k in range(12)])[-1].perception.agents
    assert [agent.box.vx_mps for agent in before] == [0.0]
    second = msgspec.structs.replace(manifest, bundle_id="b-2", velocity_sigma_mps={CAR: 0.5})
    runtime.swap(LoadedBundle.of(second, {Rung.FULL: NetworkPerceiver(engine, rig, second)}))
    (after,) = run(runtime, [frame_set(12)])
    assert after.perception.agents[-1].box.vx_mps == pytest.approx(9.0, abs=0.1)


def test_the_same_frames_give_the_same_bytes(wake, scripted_engine, box, frame_set) -> None:
    def once() -> bytes:
        rng = np.random.default_rng(3)
        engine = scripted_engine(
            lambda tick: [box(30 - 0.2 * tick, 1.0), box(12, -5, PEDESTRIAN, vy_mps=1.0)]
        )
        slow = (Slowdown(frame_stamp_ns(20), frame_stamp_ns(25), 3.0),)
        armed = (campaign(TriggerRule.RADAR_WITHOUT_BOX, TriggerRule.RANDOM),)
        runtime = wake(engine, campaigns=armed, charge=ModelledCharge(slow))
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


@pytest.mark.parametrize(
    ("ground", "is_left"), [(GroundClass.PAVEMENT, False), (GroundClass.CROSSING, True)]
)
def test_a_plan_over_a_pavement_loses_score_and_one_over_a_crossing_does_not(
    wake, scripted_engine, frame_set, ground, is_left
) -> None:
    """The better plan leads 0.6 m to the left, where the ground is as given; to the right it is road."""

    def propose(tick: int, outputs: dict[str, np.ndarray]) -> None:
        outputs["segmentation"][0] = 0.0
        half = PICO.bev_cells // 2
        outputs["segmentation"][0, GroundClass.DRIVABLE, :, :half] = 1.0
        outputs["segmentation"][0, ground, :, half:] = 1.0
        step = np.arange(1, PICO.plan_steps + 1)
        for number, side in enumerate((0.6, -0.6)):
            outputs["plans"][0, number, :, 0] = 2.0 * step
            outputs["plans"][0, number, :, 1] = side * np.minimum(step / 6, 1.0)
        outputs["plan_scores"][0, :2] = (0.4, 0.3)

    runtime = wake(scripted_engine(spoil=propose))
    (result,) = run(runtime, [frame_set(0, speed_mps=8.0)])
    assert result.plan.source is PlanSource.NETWORK
    assert (result.plan.points[-1].y_m > 0.0) is is_left
