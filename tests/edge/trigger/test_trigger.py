import dataclasses
import math
import random
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clip import Drive, DriveIdentity, Recorder, RecorderSettings
from edge.clip_file import read_clip
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.classes import CAR
from edge.contracts.clip import TriggerEvent, TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Intrinsics, Rig
from edge.contracts.scene import (
    TTC_FREE_S,
    Agent,
    Box3D,
    BoxSource,
    Perception,
    Plan,
    PlanSource,
    RadarTrack,
    Rung,
)
from edge.contracts.sensors import EgoState, FrameSet, RadarScan, Route, UltrasonicScan, frames_of
from edge.contracts.time import frame_stamp_ns
from edge.perceive.radar_track import RadarTracker
from edge.perceive.tensors import IMAGE_SLOTS
from edge.trigger import (
    RULES,
    ControlStream,
    Moment,
    TriggerSettings,
    TriggerState,
    evaluate,
    hard_brake,
    late_birth,
    minimum_risk,
    radar_without_box,
    track_flicker,
)
from edge.trigger.arming import Armed, step
from edge.trigger.moment import Finding, period_s

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

SETTINGS = TriggerSettings()
CONTROL = ControlStream(seed=1, vehicle_id="v-1", drive_id="d-1")
WINDOW = 108
FOREVER_NS = 2**62


def track(x: float, y: float, track_id: int = 1, **changes: float) -> RadarTrack:
    fields = {"vx_mps": 0.0, "vy_mps": 0.0, "hits": 20, "age_s": 1.0, **changes}
    return RadarTrack(track_id=track_id, x_m=x, y_m=y, **fields)


def box(x: float, y: float, **changes: object) -> Box3D:
    fields = {
        "category": CAR,
        "z_m": 0.8,
        "length_m": 4.0,
        "width_m": 2.0,
        "height_m": 1.6,
        "yaw_rad": 0.0,
        **changes,
    }
    return Box3D(x_m=x, y_m=y, **fields)


def agent(x: float, y: float, *, hits: int, first_tick: int = 0, confirmed: bool = True) -> Agent:
    return Agent(
        track_id=1,
        box=box(x, y),
        first_seen_ns=frame_stamp_ns(first_tick),
        hits=hits,
        is_confirmed=confirmed,
    )


def moment(
    tick: int,
    *,
    tracks: Iterable[RadarTrack] = (),
    boxes: Iterable[Box3D] = (),
    agents: Iterable[Agent] = (),
    rung: Rung = Rung.FULL,
    source: PlanSource = PlanSource.NETWORK,
    ttc_s: float = TTC_FREE_S,
    speed_mps: float = 0.0,
    ego_x_m: float = 0.0,
    route: Route | None = None,
) -> Moment:
    stamp_ns = frame_stamp_ns(tick)
    return Moment(
        perception=Perception(
            stamp_ns=stamp_ns,
            rung=rung,
            bundle_id="b-1",
            boxes=tuple(boxes),
            agents=tuple(agents),
            radar_tracks=tuple(tracks),
        ),
        plan=Plan(
            stamp_ns=stamp_ns,
            source=source,
            points=(),
            step_s=0.25,
            acceleration_mps2=0.0,
            steering_rad=0.0,
            min_ttc_s=ttc_s,
        ),
        ego=EgoState(
            stamp_ns=stamp_ns,
            world_from_ego=Pose.from_xy_yaw(ego_x_m, 0.0, 0.0),
            speed_mps=speed_mps,
        ),
        route=route or Route(),
        period_s=1.0 / 36.0,
    )


def campaign(*rules: ArmedRule, campaign_id: str = "c-1", until_ns: int = FOREVER_NS) -> Campaign:
    return Campaign(campaign_id=campaign_id, rules=rules, until_ns=until_ns)


def armed(rule: TriggerRule, **changes: object) -> ArmedRule:
    threshold = RULES[rule].usual_threshold if rule in RULES else 0.01
    return ArmedRule(rule=rule, **{"threshold": threshold, **changes})


def drive(
    make: Callable[[int], Moment], ticks: int, *campaigns: Campaign
) -> tuple[list[TriggerEvent], TriggerState]:
    """Run the triggers over a drive of ``make(tick)`` moments."""
    state, events = TriggerState(), []
    recent: deque[Moment] = deque(maxlen=WINDOW)
    for tick in range(ticks):
        recent.append(make(tick))
        fired, state = evaluate(
            recent,
            campaigns,
            state,
            control=CONTROL,
            tick_index=tick,
            settings=SETTINGS,
            rate_hz=36.0,
        )
        events.extend(fired)
    return events, state


# Camera against radar


def crossing_animal(tick: int) -> Moment:
    """12 m ahead, walking to the left at 1.5 m/s; the network says nothing at all."""
    y_m = -3.0 + 1.5 * tick / 36
    return moment(tick, tracks=[track(12.0, y_m, vy_mps=1.5)])


def test_object_in_front_of_the_camera_with_zero_boxes_is_still_mined(tmp_path):
    rule = armed(TriggerRule.RADAR_WITHOUT_BOX, ticks_of=(6, 9))
    asked = Campaign(
        campaign_id="c-1", rules=(rule,), before_s=1.0, after_s=0.5, until_ns=FOREVER_NS
    )
    small = Intrinsics.from_fov(1.0, 16, 8)
    rig = Rig(
        name="tiny",
        cameras=tuple(Camera(name=n, intrinsics=small, ego_from_cam=Pose()) for n in CAMERAS),
    )
    recorder = Recorder(
        RecorderSettings(privacy="synthetic"),
        Drive(DriveIdentity(vehicle_id="v-1", drive_id="d-1", rate_hz=36.0), "b-1", rig),
        [asked],
        tmp_path,
    )
    state, recent = TriggerState(), []
    for tick in range(144):
        now = crossing_animal(tick)
        recent = [*recent, now][-WINDOW:]
        fired, state = evaluate(
            recent,
            [asked],
            state,
            control=CONTROL,
            tick_index=tick,
            settings=SETTINGS,
            rate_hz=36.0,
        )
        frames = FrameSet(
            index=tick,
            stamp_ns=now.stamp_ns,
            frames=frames_of(np.zeros((8, 8, 16, 3), np.uint8), now.stamp_ns),
            radar=RadarScan(),
            ultrasonics=UltrasonicScan(),
            ego=now.ego,
        )
        recorder.add(frames, now.perception, now.plan, fired)
    (sealed,) = recorder.close().kept

    clip = read_clip(sealed.path)
    assert all(not frame.perception.boxes for frame in clip.frames)
    (event,) = clip.manifest.events
    assert event.rule is TriggerRule.RADAR_WITHOUT_BOX
    assert event.x_m == 12.0 and event.worth > 0.0


def test_persistent_unmatched_track_fires_once_and_not_every_tick():
    events, _ = drive(
        crossing_animal, 144, campaign(armed(TriggerRule.RADAR_WITHOUT_BOX, min_interval_s=0.0))
    )
    assert len(events) == 1


def test_track_with_a_box_on_it_is_explained():
    now = moment(0, tracks=[track(12.0, 1.5, vy_mps=1.5)], boxes=[box(12.0, 0.0)])
    assert not radar_without_box([now], SETTINGS)


def test_box_explains_a_track_beside_its_long_side_but_not_one_three_metres_off():
    bus = box(15.0, 0.0, length_m=12.0, width_m=2.5, yaw_rad=math.pi / 2)
    tracks = [track(15.0, 7.5, track_id=1), track(18.5, 0.0, track_id=2)]
    assert list(moment(0, tracks=tracks, boxes=[bus]).unmatched) == [2]


def test_agent_made_of_radar_explains_nothing():
    ghost = Agent(
        track_id=1,
        box=box(12.0, 0.0, source=BoxSource.RADAR),
        first_seen_ns=0,
        hits=9,
        is_confirmed=True,
    )
    assert 1 in moment(0, tracks=[track(12.0, 0.0)], agents=[ghost]).unmatched


@pytest.mark.parametrize("rung", [Rung.RADAR_ONLY, Rung.MINIMUM_RISK])
def test_lack_of_a_box_means_nothing_when_the_cameras_were_not_listened_to(rung):
    blind = [moment(k, tracks=[track(12.0, 0.0)], rung=rung) for k in range(72)]
    assert not radar_without_box(blind, SETTINGS)


def worth_of(*tracks_at: Callable[[float], RadarTrack], ticks: int = 72) -> float:
    """Worth of the best finding after ``ticks`` of tracks that move with time."""
    moments = [moment(k, tracks=[at(k / 36) for at in tracks_at]) for k in range(ticks)]
    return max(finding.worth for finding in radar_without_box(moments, SETTINGS))


def walking(x: float, y: float, track_id: int) -> Callable[[float], RadarTrack]:
    return lambda t: track(x, y + 1.5 * t, track_id=track_id, vy_mps=1.5)


def test_value_grows_with_time_with_nearness_and_with_company():
    one = worth_of(walking(20.0, 0.0, 1))
    assert worth_of(walking(20.0, 0.0, 1), ticks=18) < one
    assert worth_of(walking(10.0, 0.0, 1)) > one
    assert worth_of(walking(20.0, 0.0, 1), walking(22.0, 1.0, 2), walking(19.0, 2.0, 3)) > one


def test_herd_outranks_a_single_ghost_and_a_wall_of_standing_echoes():
    herd = worth_of(*(walking(14.0 + k, 0.5 * k, k) for k in range(3)))
    wall = worth_of(*(lambda t, k=k: track(10.0 + k, 7.5, track_id=k) for k in range(10)))
    assert herd > worth_of(walking(14.0, 0.0, 1)) > wall


def test_standing_thing_on_the_road_ahead_counts_and_among_the_buildings_does_not():
    assert worth_of(lambda t: track(12.0, 3.0)) > 0.3
    assert worth_of(lambda t: track(12.0, 9.0)) == 0.0


def test_road_ahead_follows_the_route_round_the_corner():
    left = Route(points_ego=((0.0, 0.0), (10.0, 0.0), (10.0, 20.0)))
    seen = [moment(k, tracks=[track(10.0, 15.0)], route=left) for k in range(72)]
    (finding,) = radar_without_box(seen, SETTINGS)
    assert finding.worth > 0.3


def test_reflex_point_that_slides_along_a_wall_with_the_ego_is_not_moving():
    sliding = [moment(k, tracks=[track(10.0, 9.0)], ego_x_m=k / 3.6) for k in range(72)]
    (finding,) = radar_without_box(sliding, SETTINGS)
    assert finding.value == 0.0


def test_ghosts_alone_yield_few_events():
    rng, tracker = np.random.default_rng(0), RadarTracker()

    def make(tick: int) -> Moment:
        points = np.stack(
            [*rng.uniform(-40.0, 40.0, (2, 8)), rng.normal(0, 5, 8), rng.normal(0, 5, 8)], axis=1
        )
        seen = tracker.update(
            RadarScan(points.astype(np.float32)),
            EgoState(stamp_ns=frame_stamp_ns(tick), world_from_ego=Pose()),
            frame_stamp_ns(tick),
        )
        return moment(tick, tracks=seen)

    events, _ = drive(make, 20 * 36, campaign(armed(TriggerRule.RADAR_WITHOUT_BOX)))
    assert len(events) <= 2


def test_tracks_that_live_for_less_than_half_a_second_never_fire():
    rng = random.Random(0)
    places = [(rng.uniform(2, 20), rng.uniform(-9, 9)) for _ in range(400)]

    def make(tick: int) -> Moment:
        return moment(
            tick,
            tracks=[
                track(*places[k], track_id=k, vx_mps=3.0)
                for k in range(len(places))
                if 0 <= tick - 2 * k < 14  # seven at any time, each for 14 ticks
            ],
        )

    events, _ = drive(make, 720, campaign(armed(TriggerRule.RADAR_WITHOUT_BOX)))
    assert not events


def test_herd_still_fires_while_something_else_is_suspicious_all_along():
    def make(tick: int) -> Moment:
        standing = track(25.0, 0.0, track_id=99)
        herd = [track(8.0, -4.0 + 1.5 * tick / 36, track_id=1, vy_mps=1.5)] if tick > 144 else []
        return moment(tick, tracks=[standing, *herd])

    events, _ = drive(make, 288, campaign(armed(TriggerRule.RADAR_WITHOUT_BOX)))
    assert [event.track_id for event in events] == [99, 1]


def test_subject_fires_again_when_its_worth_has_clearly_grown():
    def make(tick: int) -> Moment:
        return moment(tick, tracks=[track(29.0 - tick / 6, 0.0)])

    rule = armed(TriggerRule.RADAR_WITHOUT_BOX, threshold=0.3, weight=1.0)
    events, _ = drive(make, 150, campaign(rule))
    assert 2 <= len(events) <= 3
    assert events[1].worth >= events[0].worth + SETTINGS.escalation_worth


# Tracks that flicker or are born late


def hits_at(ticks_seen: Callable[[int], bool], until: int) -> int:
    return sum(ticks_seen(k) for k in range(until + 1))


def test_agent_seen_lost_and_seen_again_flickers_for_the_time_it_was_lost():
    def is_seen(tick: int) -> bool:
        return not 40 <= tick < 57  # last seen at 39, again at 57: 18 ticks are half a second

    seen = [moment(k, agents=[agent(10.0, 0.0, hits=hits_at(is_seen, k))]) for k in range(72)]
    (finding,) = track_flicker(seen, SETTINGS)
    assert finding.value == pytest.approx(0.5)
    assert not track_flicker(seen[:50], SETTINGS)


def test_agent_not_seen_while_the_cameras_were_not_listened_to_does_not_flicker():
    seen = [
        moment(
            k,
            agents=[agent(10.0, 0.0, hits=min(k, 40) + max(k - 60, 0) + 1)],
            rung=Rung.RADAR_ONLY if 40 < k <= 60 else Rung.FULL,
        )
        for k in range(72)
    ]
    assert not track_flicker(seen, SETTINGS)


def test_agent_seen_at_every_third_tick_does_not_flicker():
    seen = [
        moment(k, agents=[agent(10.0, 0.0, hits=hits_at(lambda n: n % 3 == 0, k))])
        for k in range(72)
    ]
    assert not track_flicker(seen, SETTINGS)


def born_at(
    tick: int, x_m: float, ticks: int = 90, before: Iterable[Box3D] = (), **moving: float
) -> list[Moment]:
    return [
        moment(
            k,
            boxes=before if k < tick else (),
            agents=[
                Agent(
                    track_id=1,
                    box=box(x_m, 0.0, **moving),
                    first_seen_ns=frame_stamp_ns(tick),
                    hits=k - tick + 1,
                    is_confirmed=k > tick + 2,
                )
            ]
            if k >= tick
            else (),
        )
        for k in range(ticks)
    ]


def test_agent_first_seen_close_by_in_an_open_view_is_born_late():
    (finding,) = late_birth(born_at(60, 9.0), SETTINGS)
    assert finding.value == 9.0


def test_agent_there_when_the_drive_begins_is_not_born_late():
    assert not late_birth(born_at(10, 9.0), SETTINGS)


def test_agent_that_came_from_beyond_the_view_is_not_born_late():
    assert not late_birth(born_at(60, 25.0, vx_mps=-20.0), SETTINGS)


def test_agent_that_only_changed_its_name_is_not_born_late():
    assert not late_birth(born_at(60, 9.0, before=[box(9.5, 0.0)]), SETTINGS)


# The ego's own distress


def test_hard_brake_is_the_loss_of_speed_over_half_a_second():
    braking = [moment(k, speed_mps=10.0 - 6.0 * k / 36) for k in range(36)]
    (finding,) = hard_brake(braking, SETTINGS)
    assert finding.value == pytest.approx(6.0)
    assert not hard_brake(braking[:10], SETTINGS)


def test_accelerating_is_no_brake():
    assert not hard_brake([moment(k, speed_mps=0.1 * k) for k in range(36)], SETTINGS)


def test_low_time_to_collision_fires_below_its_threshold():
    def make(tick: int) -> Moment:
        return moment(tick, ttc_s=2.0 if tick < 30 else 1.0)

    events, _ = drive(make, 60, campaign(armed(TriggerRule.LOW_TTC, threshold=1.5)))
    assert [event.value for event in events] == [1.0]


def test_minimum_risk_manoeuvre_is_worth_its_weight_from_its_first_tick():
    def make(tick: int) -> Moment:
        return moment(tick, source=PlanSource.MINIMUM_RISK if tick >= 10 else PlanSource.NETWORK)

    (event,), _ = drive(make, 40, campaign(armed(TriggerRule.MINIMUM_RISK, weight=0.8)))
    assert event.stamp_ns == frame_stamp_ns(10)
    assert event.worth == 0.8
    (finding,) = minimum_risk([make(k) for k in range(46)], SETTINGS)
    assert finding.value == pytest.approx(1.0, rel=1e-3)


# Arming


def test_n_of_m_ticks_are_needed():
    def make(tick: int) -> Moment:
        return moment(tick, ttc_s=1.0 if tick in (10, 20, 22, 23) else TTC_FREE_S)

    events, _ = drive(make, 40, campaign(armed(TriggerRule.LOW_TTC, ticks_of=(3, 4))))
    assert [event.stamp_ns for event in events] == [frame_stamp_ns(23)]


def test_minimum_interval_holds_a_second_subject_back_and_then_lets_it_fire():
    rule = armed(TriggerRule.RADAR_WITHOUT_BOX, threshold=0.5, min_interval_s=1.0)
    state, fired_at = Armed(), {}
    for tick in range(60):
        found = [Finding(value=1.0, worth=0.5, track_id=1)]
        if tick >= 9:
            found.append(Finding(value=1.0, worth=0.5, track_id=2))
        fired, state = step(
            state,
            found,
            rule,
            RULES[rule.rule],
            now_ns=frame_stamp_ns(tick),
            escalation_worth=0.15,
            rate_hz=36.0,
        )
        if fired:
            fired_at[fired.track_id] = tick
    assert fired_at == {1: 0, 2: 36}


def test_subject_that_was_long_quiet_may_fire_anew():
    def make(tick: int) -> Moment:
        return moment(tick, ttc_s=1.0 if tick % 180 < 5 else TTC_FREE_S)

    events, _ = drive(make, 360, campaign(armed(TriggerRule.LOW_TTC)))
    assert [event.stamp_ns for event in events] == [frame_stamp_ns(0), frame_stamp_ns(180)]


def test_event_records_version_value_threshold_worth_and_place():
    (event,), _ = drive(
        crossing_animal, 144, campaign(armed(TriggerRule.RADAR_WITHOUT_BOX, weight=0.5))
    )
    assert event.rule_version == 1 and event.campaign_id == "c-1" and event.track_id == 1
    assert event.value >= event.threshold == 0.4
    assert event.worth == pytest.approx(0.5 * event.value / (1.0 + event.value))
    assert event.x_m == 12.0


def test_rule_that_this_vehicle_does_not_know_is_ignored_and_counted():
    newer = ArmedRule(rule=TriggerRule.LOW_TTC, version=2, threshold=1.5)
    unknown = ArmedRule(rule=TriggerRule("lidar_dropout"), threshold=1.0)
    events, state = drive(
        lambda k: moment(k, ttc_s=1.0), 5, campaign(unknown, newer, armed(TriggerRule.LOW_TTC))
    )
    assert len(events) == 1 and state.ignored_rules == 2


def test_campaign_whose_time_is_over_fires_nothing():
    over = campaign(armed(TriggerRule.LOW_TTC), until_ns=frame_stamp_ns(9))
    events, _ = drive(lambda k: moment(k, ttc_s=1.0 if k >= 10 else TTC_FREE_S), 20, over)
    assert not events


@given(st.integers(0, 2**31), st.integers(2, 60))
def test_same_moments_give_the_same_events(seed, ticks):
    def make_from(rng: random.Random) -> Callable[[int], Moment]:
        def make(tick: int) -> Moment:
            tracks = [
                track(rng.uniform(2, 30), rng.uniform(-9, 9), track_id=k, vx_mps=2.0)
                for k in rng.sample(range(6), 3)
            ]
            return moment(tick, tracks=tracks, ttc_s=rng.uniform(0.0, 4.0), speed_mps=5.0)

        return make

    rules = [armed(rule, min_interval_s=0.1) for rule in TriggerRule if rule != "unknown"]
    first, _ = drive(make_from(random.Random(seed)), ticks, campaign(*rules))
    again, _ = drive(make_from(random.Random(seed)), ticks, campaign(*rules))
    assert first == again
    assert all(0.0 <= event.worth <= 1.0 and math.isfinite(event.value) for event in first)


# The random control stream


def test_random_stream_is_unbiased_and_states_its_probability():
    rule = ArmedRule(rule=TriggerRule.RANDOM, threshold=0.01, weight=0.3)
    draws = [CONTROL.draw(k) for k in range(20_000)]
    assert sum(d < 0.01 for d in draws) == pytest.approx(200, abs=3 * math.sqrt(200))
    assert np.mean(draws) == pytest.approx(0.5, abs=0.01)
    (event, *_), _ = drive(moment, 400, campaign(rule))
    assert event.value == event.threshold == 0.01 and event.worth == 0.3


RATES_HZ = (10.0, 12.0, 30.0, 36.0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_random_stream_draws_as_often_per_second_at_every_rate(rate_hz: float):
    rule = ArmedRule(rule=TriggerRule.RANDOM, threshold=0.01)
    chance = rule.chance_at(rate_hz)
    assert (1.0 - chance) ** rate_hz == pytest.approx(0.99**36)
    hour = [CONTROL.draw(k) < chance for k in range(round(3600 * rate_hz))]
    assert sum(hour) == pytest.approx(3600 * 0.36, rel=0.12)
    first = hour.index(True)
    moments = [moment(first)]
    ask = {"control": CONTROL, "tick_index": first, "settings": SETTINGS, "rate_hz": rate_hz}
    (event,), _ = evaluate(moments, [campaign(rule)], TriggerState(), **ask)
    assert (event.value, event.threshold) == (chance, 0.01)


def test_random_stream_of_the_shipped_rate_has_the_stated_probability_to_the_last_bit():
    assert ArmedRule(rule=TriggerRule.RANDOM, threshold=0.001).chance_at(36.0) == 0.001


@pytest.mark.parametrize(
    ("rate_hz", "expected"), [(10.0, (2, 5)), (12.0, (3, 6)), (30.0, (8, 15)), (36.0, (9, 18))]
)
def test_a_quarter_of_a_second_of_the_last_half_is_that_at_every_rate(rate_hz: float, expected):
    rule = armed(TriggerRule.LOW_TTC, ticks_of=(9, 18))
    assert rule.ticks_at(rate_hz) == expected
    state, fired_at = TriggerState(), None
    for k in range(20):
        ask = {"control": CONTROL, "tick_index": k, "settings": SETTINGS, "rate_hz": rate_hz}
        fired, state = evaluate([moment(k, ttc_s=0.5)], [campaign(rule)], state, **ask)
        if fired and fired_at is None:
            fired_at = k + 1
    assert fired_at == expected[0]


def test_a_rule_of_fewer_ticks_than_a_slow_source_has_needs_one():
    assert armed(TriggerRule.LOW_TTC, ticks_of=(2, 3)).ticks_at(12.0) == (1, 1)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_one_moment_lasts_a_period_of_its_source(rate_hz: float):
    one = dataclasses.replace(moment(0), period_s=1.0 / rate_hz)
    assert period_s([one]) == 1.0 / rate_hz


def test_random_stream_does_not_look_at_what_is_seen():
    rule = ArmedRule(rule=TriggerRule.RANDOM, threshold=0.05)
    other = armed(TriggerRule.LOW_TTC)
    quiet, _ = drive(moment, 200, campaign(rule))
    busy, _ = drive(lambda k: moment(k, ttc_s=0.5), 200, campaign(other, rule))
    drawn = [event for event in busy if event.rule is TriggerRule.RANDOM]
    assert quiet and drawn == quiet


def test_random_stream_differs_between_drives_and_vehicles_and_seeds():
    streams = [
        ControlStream(1, "v-1", "d-1"),
        ControlStream(2, "v-1", "d-1"),
        ControlStream(1, "v-2", "d-1"),
        ControlStream(1, "v-1", "d-2"),
    ]
    assert len({stream.draw(7) for stream in streams}) == 4
