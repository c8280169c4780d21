"""What counts as wrong, and what does not count at all."""

import numpy as np
import pytest
import torch

from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES
from edge.perceive.tensors import BOX_CHANNELS, PICO
from models.examples import Labels
from models.losses import MISTAKEN, LossWeights, Targets, loss_of, make_targets

ANIMAL_ROW = SHIPPED_CLASSES.index(ANIMAL)
N = PICO.bev_cells
ONES = torch.ones(len(SHIPPED_CLASSES))
CAR = np.array([[0, 10.0, 2.0, 0.8, 4.5, 1.8, 1.5, 0.3, 3.0, 1.0, 1.0]], np.float32)
UNKNOWN_FUTURE = np.full((1, 12, 2), np.nan, np.float32)


def _cell(x_m: float, y_m: float) -> tuple[int, int]:
    return int((x_m + 32) / PICO.cell_m), int((y_m + 32) / PICO.cell_m)


def _outputs(targets: Targets, heat_logit: float = -10.0) -> dict[str, torch.Tensor]:
    """Say that there is nothing, and be unsure of all else."""
    k = PICO.queries
    return {
        "heatmap": torch.full(targets.heatmap.shape, heat_logit),
        "boxes": torch.zeros(len(targets.heatmap), BOX_CHANNELS, N, N),
        "segmentation": torch.zeros(len(targets.heatmap), 4, N, N),
        "query_cells": torch.zeros(len(targets.heatmap), k, dtype=torch.int64),
        "futures": torch.zeros(len(targets.heatmap), k, 6, 12, 2),
        "future_scores": torch.zeros(len(targets.heatmap), k, 6),
        "plans": torch.zeros(len(targets.heatmap), 16, 12, 3),
        "plan_scores": torch.zeros(len(targets.heatmap), 16),
    }


def _heat_loss(labels: Labels, outputs: dict[str, torch.Tensor]) -> float:
    return loss_of(outputs, make_targets([labels], PICO), ONES, LossWeights())[1]["heatmap"]


def test_a_box_is_a_peak_in_its_cell_with_its_regression() -> None:
    targets = make_targets([Labels(boxes=CAR, futures=UNKNOWN_FUTURE)], PICO)
    row, column = _cell(10.0, 2.0)
    assert targets.heatmap[0, 0, row, column] == 1.0
    assert targets.heatmap[0, 1:].max() == 0.0
    assert len(targets.cells) == 9
    centre = targets.cells.tolist().index(row * N + column)
    assert targets.boxes[centre, 3].exp() == pytest.approx(4.5)


def test_a_box_outside_the_grid_teaches_nothing() -> None:
    far = CAR.copy()
    far[0, 1] = 40.0
    targets = make_targets([Labels(boxes=far, futures=UNKNOWN_FUTURE)], PICO)
    assert targets.heatmap.max() == 0.0
    assert len(targets.cells) == 0


def test_a_false_alarm_in_an_ignored_disc_costs_nothing() -> None:
    empty = Labels()
    masked = Labels(ignored=np.array([[10.0, 2.0, 3.0]], np.float32))
    outputs = _outputs(make_targets([empty], PICO))
    outputs["heatmap"][0, 0, _cell(10.0, 2.0)[0], _cell(10.0, 2.0)[1]] = 4.0
    assert _heat_loss(empty, outputs) > 1.0
    assert _heat_loss(masked, outputs) < 0.1


def test_silence_about_a_class_nobody_looked_for_is_not_evidence() -> None:
    unseen = np.ones(len(SHIPPED_CLASSES), np.bool_)
    unseen[ANIMAL_ROW] = False
    silent = Labels(is_absence_known=unseen)
    looked = Labels(is_absence_known=unseen, looked=np.array([[10.0, 2.0, 3.0]], np.float32))
    outputs = _outputs(make_targets([silent], PICO))
    outputs["heatmap"][0, ANIMAL_ROW, _cell(10.0, 2.0)[0], _cell(10.0, 2.0)[1]] = 4.0
    assert _heat_loss(silent, outputs) < 0.1
    assert _heat_loss(looked, outputs) > 1.0


def test_silence_of_radar_and_teacher_is_evidence_and_a_sign_lifts_it() -> None:
    """An animal is claimed at (10, 2), where no teacher could deny it: radar can."""
    unseen = np.ones(len(SHIPPED_CLASSES), np.bool_)
    unseen[ANIMAL_ROW] = False
    silent = Labels(is_absence_known=unseen, signs=np.zeros((0, 3), np.float32))
    heard = Labels(is_absence_known=unseen, signs=np.array([[10.5, 2.5, 2.0]], np.float32))
    outputs = _outputs(make_targets([silent], PICO))
    outputs["heatmap"][0, ANIMAL_ROW, *_cell(10.0, 2.0)] = 5.0
    assert _heat_loss(silent, outputs) > 1.0
    assert _heat_loss(heard, outputs) < 0.1


def test_a_class_that_sank_out_of_sight_still_has_a_gradient() -> None:
    """A clamped sigmoid would have none at a logit of -20."""
    animal = CAR.copy()
    animal[0, 0] = ANIMAL_ROW
    targets = make_targets([Labels(boxes=animal, futures=UNKNOWN_FUTURE)], PICO)
    outputs = _outputs(targets, heat_logit=-20.0)
    outputs["heatmap"].requires_grad_()
    loss_of(outputs, targets, ONES, LossWeights())[0].backward()
    row, column = _cell(10.0, 2.0)
    gradient = outputs["heatmap"].grad
    assert gradient is not None
    assert gradient[0, ANIMAL_ROW, row, column] < -0.5


def test_what_weighs_on_finding_a_class_weighs_on_mistaking_another_for_it() -> None:
    targets = make_targets([Labels(boxes=CAR, futures=UNKNOWN_FUTURE)], PICO)
    weight = ONES.clone()
    weight[ANIMAL_ROW] = 4.0

    def cost_of_firing_at(x_m: float, weights: torch.Tensor) -> float:
        outputs = _outputs(targets)
        quiet = loss_of(outputs, targets, weights, LossWeights())[1]["heatmap"]
        row, column = _cell(x_m, 2.0)
        outputs["heatmap"][0, ANIMAL_ROW, row, column] = 4.0
        return loss_of(outputs, targets, weights, LossWeights())[1]["heatmap"] - quiet

    on_the_car, beside = 10.0, 20.0
    assert cost_of_firing_at(on_the_car, weight) == pytest.approx(
        (1.0 + MISTAKEN * 3.0) * cost_of_firing_at(on_the_car, ONES), rel=1e-3
    )
    assert cost_of_firing_at(beside, weight) == pytest.approx(cost_of_firing_at(beside, ONES))


def test_a_heading_off_by_half_a_turn_costs_only_the_front_vote() -> None:
    targets = make_targets([Labels(boxes=CAR, futures=UNKNOWN_FUTURE)], PICO)
    right, flipped = _outputs(targets), _outputs(targets)
    for outputs, sign in ((right, 1.0), (flipped, -1.0)):
        dense = outputs["boxes"].permute(0, 2, 3, 1).reshape(-1, BOX_CHANNELS)
        dense[targets.cells] = targets.boxes
        dense[targets.cells, 8:10] *= sign
        outputs["boxes"] = dense.reshape(1, N, N, BOX_CHANNELS).permute(0, 3, 1, 2)
    parts = [loss_of(o, targets, ONES, LossWeights())[1] for o in (right, flipped)]
    assert parts[0]["boxes"] == pytest.approx(0.0, abs=1e-6)
    assert parts[1]["boxes"] == pytest.approx(0.0, abs=1e-6)
    assert parts[1]["front"] > 2 * parts[0]["front"]


def test_the_best_of_the_proposals_is_the_one_that_learns() -> None:
    labels = Labels(ego_future=np.ones((12, 3), np.float32))
    targets = make_targets([labels], PICO)
    outputs = _outputs(targets)
    outputs["plans"][0, 5] = 0.9
    outputs["plans"].requires_grad_()
    loss_of(outputs, targets, ONES, LossWeights())[0].backward()
    gradient = outputs["plans"].grad
    assert gradient is not None
    assert {k for k in range(16) if gradient[0, k].abs().sum() > 0} == {5}


def test_an_example_that_teaches_no_driving_moves_no_plan() -> None:
    """The second example has no ego future: its plans, wherever they are, cost and learn nothing."""
    taught = Labels(ego_future=np.ones((12, 3), np.float32))
    both = make_targets([taught, Labels()], PICO)
    outputs = _outputs(both)
    outputs["plans"][1] = 50.0
    for name in ("plans", "plan_scores"):
        outputs[name].requires_grad_()
    total, parts = loss_of(outputs, both, ONES, LossWeights())
    total.backward()
    alone = make_targets([taught], PICO)
    assert parts["plans"] == pytest.approx(
        loss_of(_outputs(alone), alone, ONES, LossWeights())[1]["plans"]
    )
    for name in ("plans", "plan_scores"):
        gradient = outputs[name].grad
        assert gradient is not None
        assert gradient[0].abs().sum() > 0.0
        assert gradient[1].abs().sum() == 0.0


def test_labels_without_anything_still_give_a_finite_loss() -> None:
    targets = make_targets([Labels()], PICO)
    total, _ = loss_of(_outputs(targets), targets, ONES, LossWeights())
    assert torch.isfinite(total)
