import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts.classes import ANIMAL, BICYCLE, CAR, PEDESTRIAN
from edge.contracts.errors import OperatorError
from edge.contracts.time import VIRTUAL_EPOCH_NS
from fleet.label.hindsight_tracks import (
    Detections,
    HindsightSettings,
    hindsight_tracks,
    measured_covariance,
)

RATE_HZ = 4
SIGMA_M = 0.3


def _seen(x_m, y_m, category=CAR, score=0.8, yaw_rad=0.0, length_m=4.0):
    return (category, score, (x_m, y_m), (length_m, 2.0, 1.6), yaw_rad)


def _instant(k, seen, rate_hz=RATE_HZ):
    n = len(seen)
    return Detections(
        stamp_ns=VIRTUAL_EPOCH_NS + k * 1_000_000_000 // rate_hz,
        categories=tuple(s[0] for s in seen),
        score=np.array([s[1] for s in seen], float),
        xy_world=np.array([s[2] for s in seen], float).reshape(n, 2),
        z_m=np.full(n, 0.8),
        size_m=np.array([s[3] for s in seen], float).reshape(n, 3),
        yaw_world_rad=np.array([s[4] for s in seen], float),
        covariance=np.tile(SIGMA_M**2 * np.eye(2), (n, 1, 1)),
    )


def _clip(*roads, instants=20, rate_hz=RATE_HZ):
    """Each road gives what is seen of one thing at instant k, or None."""
    return [
        _instant(k, [s for road in roads if (s := road(k)) is not None], rate_hz)
        for k in range(instants)
    ]


def test_a_car_seen_at_every_instant_is_one_track_with_its_speed():
    (track,) = hindsight_tracks(_clip(lambda k: _seen(2.0 * k, 5.0)))
    assert track.frame.tolist() == list(range(20))
    assert (track.hits, track.category, track.class_share) == (20, CAR, 1.0)
    assert track.velocity_world[10] == pytest.approx([8.0, 0.0], abs=0.05)
    assert track.xy_world[10] == pytest.approx([20.0, 5.0], abs=0.05)
    assert track.size_m == pytest.approx([4.0, 2.0, 1.6])


def test_cars_whose_paths_cross_keep_their_identity():
    tracks = hindsight_tracks(
        _clip(
            lambda k: _seen(2.0 * k - 20.0, 0.1 * k - 1.0),
            lambda k: _seen(20.0 - 2.0 * k, 1.0 - 0.1 * k),
        )
    )
    assert [t.hits for t in tracks] == [20, 20]
    for track in tracks:
        assert (track.velocity_world[:, 0] > 0).all() or (track.velocity_world[:, 0] < 0).all()


def test_a_gap_longer_than_coasting_is_joined_and_filled():
    (track,) = hindsight_tracks(_clip(lambda k: None if 8 <= k < 14 else _seen(2.0 * k, 0.0)))
    assert track.hits == 14
    assert track.frame.tolist() == list(range(20))
    assert track.is_measured.tolist() == [not 8 <= k < 14 for k in range(20)]
    assert track.xy_world[11] == pytest.approx([22.0, 0.0], abs=0.3)
    assert track.covariance[11, 0, 0] > track.covariance[4, 0, 0]


def test_a_gap_that_is_too_long_leaves_two_tracks():
    tracks = hindsight_tracks(_clip(lambda k: None if 5 <= k < 16 else _seen(2.0 * k, 0.0)))
    assert [t.frame[[0, -1]].tolist() for t in tracks] == [[0, 4], [16, 19]]


def test_a_car_that_comes_back_the_other_way_is_another_car():
    def road(k):
        return None if 8 <= k < 13 else _seen(2.0 * k if k < 8 else 40.0 - 2.0 * k, 0.0)

    assert len(hindsight_tracks(_clip(road))) == 2


def test_a_ghost_of_one_instant_leaves_no_track_and_bends_none():
    tracks = hindsight_tracks(
        _clip(lambda k: _seen(2.0 * k, 0.0), lambda k: _seen(20.0, 4.0) if k == 9 else None)
    )
    assert len(tracks) == 1
    assert tracks[0].xy_world[:, 1] == pytest.approx(np.zeros(20), abs=0.05)


def test_weak_boxes_continue_a_track_but_begin_none():
    tracks = hindsight_tracks(
        _clip(
            lambda k: _seen(2.0 * k, 0.0, score=0.8 if k == 0 else 0.1),
            lambda k: _seen(2.0 * k, 30.0, score=0.1),
        )
    )
    assert [(t.hits, t.frame[0]) for t in tracks] == [(20, 0)]


def test_one_thing_that_changes_its_class_is_one_track_of_the_class_with_most_score():
    called = [PEDESTRIAN, ANIMAL, ANIMAL, BICYCLE]
    (track,) = hindsight_tracks(_clip(lambda k: _seen(10.0, 0.1 * k, called[k % 4])))
    assert (track.category, track.class_share) == (ANIMAL, pytest.approx(0.5))
    assert track.hits == 20


def test_an_offset_that_a_car_may_have_is_too_much_for_a_car_that_becomes_a_pedestrian():
    def tracks_where_it_jumps_as(category):
        clip = _clip(lambda k: _seen(0, 0) if k < 10 else _seen(0, 2.1, category))
        return [t.category for t in hindsight_tracks(clip)]

    assert tracks_where_it_jumps_as(CAR) == [CAR]
    assert tracks_where_it_jumps_as(PEDESTRIAN) == [CAR, PEDESTRIAN]


def test_one_box_of_twice_the_length_does_not_stretch_a_car():
    (track,) = hindsight_tracks(_clip(lambda k: _seen(0, 0, length_m=9.0 if k == 3 else 4.0)))
    assert track.size_m[0] == 4.0


def test_a_parked_car_takes_the_heading_that_most_boxes_vote_for():
    (track,) = hindsight_tracks(
        _clip(lambda k: _seen(0, 0, yaw_rad=1.0 - (math.pi if k % 4 == 0 else 0.0)))
    )
    assert track.yaw_world_rad == pytest.approx(np.full(20, 1.0))


def test_a_moving_car_points_where_it_moves_whatever_the_boxes_say():
    (track,) = hindsight_tracks(_clip(lambda k: _seen(0.0, 2.0 * k, yaw_rad=-math.pi / 2)))
    assert track.yaw_world_rad == pytest.approx(np.full(20, math.pi / 2), abs=0.05)


def test_a_car_that_brakes_hard_stays_one_track_and_keeps_the_heading_it_came_with():
    def road(k):  # 12 m/s, then 6 m/s2 from t = 3 s for 2 s
        braking_s = min(max(k / RATE_HZ - 3.0, 0.0), 2.0)
        driven_m = 12.0 * min(k / RATE_HZ, 3.0) + 12.0 * braking_s - 3.0 * braking_s**2
        return _seen(-driven_m, 0.0)

    (track,) = hindsight_tracks(_clip(road, instants=40))
    assert np.abs(track.yaw_world_rad[[0, 39]]) == pytest.approx([math.pi, math.pi], abs=0.1)
    assert track.xy_world[39] == pytest.approx([-48.0, 0.0], abs=0.1)
    truth_x_m = np.array([road(k)[2][0] for k in range(40)])
    assert np.abs(track.xy_world[:, 0] - truth_x_m).max() < 0.3


def test_confidence_grows_with_score_and_length_and_falls_inside_a_gap():
    def best(road, instants=20):
        (track,) = hindsight_tracks(_clip(road, instants=instants))
        return track.confidence

    plain = best(lambda k: _seen(0, 0, score=0.5))
    assert best(lambda k: _seen(0, 0, score=0.9))[10] > plain[10]
    assert best(lambda k: _seen(0, 0, score=0.5), instants=5)[2] < plain[10]
    gap = best(lambda k: None if 8 <= k < 14 else _seen(2.0 * k, 0.0))
    assert gap[11] < gap[3]
    assert ((plain > 0) & (plain <= 1)).all()


def test_smoothing_a_clip_lowers_the_position_error_of_its_boxes_by_a_third():
    rng = np.random.default_rng(5)
    speed = rng.uniform(-8, 8, 12)
    truth = np.array([[(s * k / 10.0, 10.0 * n) for k in range(50)] for n, s in enumerate(speed)])
    noisy = truth + rng.normal(0, SIGMA_M, truth.shape)
    is_seen = rng.random(truth.shape[:2]) > 0.25

    def road(n):
        return lambda k: _seen(*noisy[n, k]) if is_seen[n, k] else None

    tracks = hindsight_tracks(_clip(*map(road, range(12)), instants=50, rate_hz=10))
    assert len(tracks) == 12
    errors = [t.xy_world - truth[round(float(t.xy_world[0, 1]) / 10.0), t.frame] for t in tracks]
    rms = math.sqrt(np.concatenate([(e**2).sum(axis=1) for e in errors]).mean())
    assert rms < 0.67 * SIGMA_M * math.sqrt(2.0)


def test_a_clip_without_boxes_has_no_tracks():
    assert hindsight_tracks([]) == ()
    assert hindsight_tracks(_clip(instants=5)) == ()


def test_stamps_that_go_back_are_refused():
    with pytest.raises(OperatorError, match="stamps that increase"):
        hindsight_tracks(_clip(lambda k: _seen(0, 0))[::-1])


def test_settings_decide_what_is_too_short():
    clip = _clip(lambda k: _seen(0, 0), instants=4)
    assert len(hindsight_tracks(clip)) == 1
    assert hindsight_tracks(clip, HindsightSettings(min_hits=5)) == ()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_boxes_of_an_instant_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    starts, speeds = rng.uniform(-20, 20, (5, 2)), rng.uniform(-2, 2, (5, 2))
    seen = [
        [_seen(*(starts[n] + k * speeds[n])) for n in range(5) if rng.random() < 0.8]
        for k in range(12)
    ]
    shuffled = [[s[i] for i in rng.permutation(len(s))] for s in seen]
    found, again = (
        sorted(tuple(np.round(t.xy_world, 6).ravel()) for t in hindsight_tracks(clip))
        for clip in (
            [_instant(k, s) for k, s in enumerate(seen)],
            [_instant(k, s) for k, s in enumerate(shuffled)],
        )
    )
    assert found == again


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_every_box_belongs_to_at_most_one_track_and_tracks_have_no_holes(seed):
    rng = np.random.default_rng(seed)
    clip = [
        _instant(k, [_seen(*rng.uniform(-8, 8, 2)) for _ in range(int(rng.integers(0, 6)))])
        for k in range(12)
    ]
    tracks = hindsight_tracks(clip)
    per_instant = np.zeros(12, int)
    for track in tracks:
        assert (np.diff(track.frame) == 1).all()
        assert track.is_measured[[0, -1]].all() and track.is_measured.sum() == track.hits
        assert ((track.score > 0) == track.is_measured).all()
        np.add.at(per_instant, track.frame[track.is_measured], 1)
    assert (per_instant <= [len(d.score) for d in clip]).all()


def test_a_camera_box_is_less_certain_along_the_ray_and_when_far():
    near, far = measured_covariance(np.array([[10.0, 0.0], [0.0, 30.0]]), np.zeros(2))
    assert near == pytest.approx(np.diag([0.7**2, 0.3**2]))
    assert far == pytest.approx(np.diag([0.5**2, 1.5**2]))


def test_a_box_at_the_vehicle_itself_still_has_a_covariance():
    assert measured_covariance(np.zeros((1, 2)), np.zeros(2))[0] == pytest.approx(0.09 * np.eye(2))
