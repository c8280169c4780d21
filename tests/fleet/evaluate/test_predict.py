"""What a model expected of a sample, against the sample's own future."""

from dataclasses import replace

import numpy as np
import pytest

from edge.clip_file import EncodedFrame, Instant
from edge.contracts.geometry import Pose
from edge.contracts.scene import Trajectory
from edge.contracts.sensors import EgoState, Route
from edge.perceive.tensors import PICO, NetOutput, Recollection
from fleet.evaluate.predict import open_loop
from fleet.sample.row import LabelSource, Sample, SampleBox, SampleLabels

STEPS = PICO.plan_steps
STILL = ((0.0, 0.0),) * STEPS


@pytest.fixture
def sample(box):
    """The ego drives at 10 m/s straight on; a car 10 m ahead moves off at 4 m/s, another stands."""

    def label(track, vx_mps, future, **fields):
        return SampleBox(
            box=box(vx_mps=vx_mps, **fields),
            track=track,
            source=LabelSource.ANNOTATED,
            visible_px=100,
            future=future,
        )

    moving = tuple((k + 1.0, 0.0) for k in range(STEPS))
    boxes = (label("a", 4.0, moving), label("b", 0.0, STILL, y_m=8.0))
    driven = tuple((2.5 * (k + 1), 0.0, 0.0) for k in range(STEPS))
    now = Instant(
        stamp_ns=0,
        ego=EgoState(stamp_ns=0, world_from_ego=Pose(), speed_mps=10.0),
        route=Route(points_ego=((0.0, 0.0), (30.0, 0.0))),
        frames=(EncodedFrame(b"", 0),) * 8,
        radar=b"",
        ultrasonics=b"",
    )
    return Sample(
        sample_id="a" * 64,
        clip_id="c",
        place_id="p",
        rig_id="r" * 64,
        now=now,
        earlier=None,
        labels=SampleLabels(boxes=boxes, ego_future=driven),
    )


@pytest.fixture
def said(box):
    """A model that finds both cars, forecasts that both stand, and likes its sixth plan best."""
    plans = np.full((PICO.plan_count, STEPS, 3), 99.0, np.float32)
    plans[5] = 0.0
    plans[5, :, 0] = 2.5 * np.arange(1, STEPS + 1)
    plans[5, :, 1] = 3.0
    boxes = (box(), box(y_m=8.0))
    futures = tuple(
        (Trajectory(points_ego=((b.x_m, b.y_m),) * STEPS, step_s=0.25, probability=1.0),)
        for b in boxes
    )
    return NetOutput(
        boxes=boxes,
        futures=futures,
        segmentation=np.zeros((48, 48), np.uint8),
        plans=plans,
        plan_scores=np.eye(PICO.plan_count, dtype=np.float32)[5],
        recollection=Recollection(
            stamp_ns=0,
            world_from_ego=Pose(),
            features=np.zeros((0, PICO.width), np.float32),
            points_ego=np.zeros((0, 2), np.float32),
            scores=np.zeros(0, np.float32),
        ),
    )


def test_the_plan_with_the_best_score_is_measured_beside_driving_straight_on(sample, said):
    found = open_loop(sample, said, PICO)
    assert found.place_id == "p"
    assert found.plan_l2_m == pytest.approx(3.0)
    assert found.straight_l2_m == pytest.approx(0.0, abs=1e-9)


def test_only_what_moves_is_asked_for_its_forecast(sample, said):
    """The moving car gains 1 m a step on the forecast: 6.5 m; the standing one is right for nothing."""
    assert open_loop(sample, said, PICO).forecast_ade_m == pytest.approx((6.5,))


def test_a_sample_without_a_future_is_not_measured(sample, said):
    blind = replace(sample, labels=SampleLabels(boxes=sample.labels.boxes))
    assert open_loop(blind, said, PICO) is None
