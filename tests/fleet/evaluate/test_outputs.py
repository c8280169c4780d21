"""Which outputs are alive: better than the constant that never looks, surely and by enough."""

import math
from typing import Any

import numpy as np
import pytest

from edge.contracts.classes import CAR, SHIPPED_CLASSES, TRAFFIC_CONE
from fleet.evaluate import (
    GateSettings,
    Output,
    OutputVerdict,
    believed_velocities,
    judge_outputs,
    match,
)
from fleet.evaluate.order import tuned

THRESHOLDS = {CAR: 0.5}


def judged(frame: Any, truth: Any, box: Any, says: Any, **sizes: Any) -> dict[str, OutputVerdict]:
    """Judge a network on cars of which every fifth drives at 10 m/s and the others are parked.

    ``says``: (rng, true speed) to (speed, attribute).
    """
    sizes = {"places": 8, "frames": 10, "category": CAR, "score": 0.9} | sizes
    rng, frames = np.random.default_rng(0), []
    for k in range(sizes["places"] * sizes["frames"]):
        truths, boxes = [], []
        for j in range(5):
            speed_mps = 10.0 if j == 0 else 0.0
            at = {"category": sizes["category"], "y_m": 6.0 * j - 12.0}
            said_mps, attribute = says(rng, speed_mps)
            truths.append(
                truth(**at, vx_mps=speed_mps, attribute="moving" if speed_mps else "parked")
            )
            boxes.append(box(**at, vx_mps=said_mps, attribute=attribute, score=sizes["score"]))
        place = f"p{k % sizes['places']}"
        frames.append(frame(truths, boxes, frame_id=f"f{k}", place_id=place))
    verdicts = judge_outputs(match(frames), dict.fromkeys(SHIPPED_CLASSES, 0.5))
    return {str(v.output): v for v in verdicts if v.category == sizes["category"]}


def test_a_velocity_that_is_always_zero_is_dead(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, speed: (0.0, "parked"))
    assert not found[Output.VELOCITY].is_alive
    assert found[Output.VELOCITY].error == found[Output.VELOCITY].constant_error
    assert "velocity of car: dead" in str(found[Output.VELOCITY])
    assert believed_velocities(list(found.values())) == {}


def test_a_velocity_that_is_right_up_to_noise_is_believed_with_its_error_per_axis(
    frame, truth, box
):
    found = judged(frame, truth, box, lambda rng, v: (v + rng.normal(0.0, 1.0), "parked"))
    sigma = believed_velocities(list(found.values()))
    # The noise of 1 m/s lies on one axis of two: root mean square per axis 1 / sqrt(2).
    assert sigma == {CAR: pytest.approx(math.sqrt(0.5), rel=0.06)}


def test_a_velocity_that_is_exact_is_not_taken_for_exact(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, speed: (speed, "parked"))
    assert believed_velocities(list(found.values())) == {CAR: 0.05}


@pytest.mark.parametrize("share", [1e-5, 0.1])
def test_a_sure_gain_that_is_too_small_to_matter_is_dead(frame, truth, box, share):
    found = judged(frame, truth, box, lambda rng, speed: (share * speed, "parked"))
    assert found[Output.VELOCITY].error < found[Output.VELOCITY].constant_error
    assert not found[Output.VELOCITY].is_alive


def test_a_gain_at_one_place_alone_is_luck(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, v: (v, "parked"), places=1, frames=80)
    assert not found[Output.VELOCITY].is_alive


def test_a_gain_over_few_cars_is_luck(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, v: (v, "parked"), places=4, frames=2)
    assert found[Output.VELOCITY].found == 40
    assert not found[Output.VELOCITY].is_alive


def test_a_velocity_that_helps_movers_and_shakes_what_is_parked_is_dead(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, v: (v + rng.normal(0.0, 5.0), "parked"))
    assert not found[Output.VELOCITY].is_alive


def test_boxes_below_the_threshold_do_not_count(frame, truth, box):
    found = judged(frame, truth, box, lambda rng, v: (v, "parked"), score=0.4)
    assert found[Output.VELOCITY].found == 0
    assert not found[Output.VELOCITY].is_alive


def test_an_attribute_is_compared_with_the_commonest_one(frame, truth, box):
    dead = judged(frame, truth, box, lambda rng, v: (v, "parked"))[Output.ATTRIBUTE]
    wrong = judged(frame, truth, box, lambda rng, v: (v, "stopped"))[Output.ATTRIBUTE]
    alive = judged(frame, truth, box, lambda rng, v: (v, "moving" if v else "parked"))
    assert (dead.error, dead.constant_error, dead.is_alive) == (0.2, 0.2, False)
    assert (wrong.error, wrong.is_alive) == (1.0, False)
    assert alive[Output.ATTRIBUTE].is_alive


def test_cones_have_no_velocity_to_judge(frame, truth, box):
    cone = {"category": TRAFFIC_CONE}
    assert judged(frame, truth, box, lambda rng, v: (v, "parked"), **cone) == {}


def test_what_the_tune_set_says_of_velocity_stands_beside_the_thresholds(frame, truth, box):
    frames = [
        frame(
            [truth(vx_mps=speed, y_m=y) for y, speed in ((-5.0, 8.0), (5.0, 0.0))],
            [box(vx_mps=0.9 * speed, y_m=y, score=0.9) for y, speed in ((-5.0, 8.0), (5.0, 0.0))],
            frame_id=f"f{k}",
            place_id=f"p{k % 6}",
        )
        for k in range(60)
    ]
    said = tuned(match(frames), [], GateSettings())
    assert said.thresholds[CAR] == pytest.approx(0.9)
    assert said.velocity_sigma_mps == {CAR: pytest.approx(0.4)}  # 0.8 m/s on one axis of one in two
