from pathlib import Path

from edge.contracts.classes import ANIMAL, CAR
from fleet.train.order import fine_tune, last_report, starting_from
from fleet.work.process import Progress


def test_loss_of_a_run_is_the_sum_of_its_parts_in_the_last_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "progress.jsonl"
    log.write_text(
        '{"step": 50, "steps": 1200, "heatmap": 2.0, "boxes": 1.0, "wall_s": 3.0}\n'
        '{"step": 100, "steps": 1200, "heatmap": 1.25, "boxes": 0.5, "wall_s": 6.0}\n'
        '{"step": 150, "steps"'
    )
    assert last_report(log) == Progress(done=100, total=1200, note="loss 1.750")


def test_run_that_has_not_said_a_word_shows_no_loss(tmp_path: Path) -> None:
    assert last_report(tmp_path / "progress.jsonl") is None


def test_what_the_parent_has_learnt_does_not_start_anew() -> None:
    recipe = fine_tune(["animal", "debris"])
    assert starting_from(recipe, [CAR]) == recipe
    second = starting_from(recipe, [CAR, ANIMAL])
    assert second.reset_classes == ["debris"]
    assert second.positive_weights == recipe.positive_weights
