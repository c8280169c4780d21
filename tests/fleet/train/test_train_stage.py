from pathlib import Path

import msgspec
import pytest

from edge.contracts.classes import ANIMAL, CAR, SHIPPED_CLASSES
from edge.contracts.errors import OperatorError, SchemaError
from fleet.dataset.frozen import DatasetManifest
from fleet.train.job import TrainJob, run_id_in, train_job
from fleet.train.order import last_report, learnt, starting_from, with_classes
from fleet.train.recipe import fine_tune, read_fit
from fleet.work.process import Progress
from fleet.work.task import JobInputs
from models.settings import FitSettings


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


def test_recipe_from_nothing_is_the_default_of_the_code() -> None:
    assert read_fit("baseline") == FitSettings()


def test_new_class_starts_anew_with_weighted_peaks() -> None:
    fit = fine_tune(["animal"])
    assert (fit.steps, fit.learning_rate, fit.is_batchnorm_frozen) == (1800, 8e-4, True)
    assert (fit.positive_weights, fit.reset_classes) == ({"animal": 4.0}, ["animal"])


def test_recipe_of_ones_own_keeps_its_weight_of_a_new_class(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("steps: 7\npositive_weights: {animal: 2.0}\n")
    fit = fine_tune(["animal", "debris"], str(file))
    assert (fit.steps, fit.reset_classes) == (7, ["animal", "debris"])
    assert fit.positive_weights == {"animal": 2.0, "debris": 4.0}


def test_unknown_training_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(OperatorError, match=r"no training recipe 'fine_tun'.* mean fine_tune"):
        read_fit("fine_tun")


def test_what_the_parent_has_learnt_does_not_start_anew() -> None:
    recipe = fine_tune(["animal", "debris"])
    assert starting_from(recipe, [CAR]) == recipe
    second = starting_from(recipe, [CAR, ANIMAL])
    assert second.reset_classes == ["debris"]
    assert second.positive_weights == recipe.positive_weights


JOB = TrainJob(size="pico", fresh=(), fit=FitSettings())
THIRTEEN = (*SHIPPED_CLASSES, "scooter")


def test_a_run_is_named_by_its_classes_and_one_of_the_shipped_keeps_its_name() -> None:
    assert JOB.run_id == "t-ed51b0db85860ea4"
    assert msgspec.structs.replace(JOB, categories=THIRTEEN).run_id != JOB.run_id


def test_a_class_is_taught_only_where_the_run_lists_it(tmp_path: Path) -> None:
    job = msgspec.structs.replace(JOB, fit=fine_tune(["scooter"]))
    with pytest.raises(OperatorError, match="cannot learn 'scooter': its channels are car, truck"):
        train_job(job, JobInputs({}, tmp_path, {}), tmp_path)


def test_a_fine_tuned_network_keeps_its_parents_channels_and_adds_the_new_class() -> None:
    assert with_classes(SHIPPED_CLASSES, ["scooter", "animal"]) == THIRTEEN


def test_a_network_has_learnt_what_its_parent_knew_and_what_there_is_enough_of() -> None:
    counted = DatasetManifest(
        dataset_id="d-1", name="x", split="train", blob_id="0" * 64, size_bytes=0, samples=1, places=1,
        clips=(), instances={"scooter": 20, "bus": 19, "tuk_tuk": 50}, encounters={}, label_sources={},
    )  # fmt: skip
    assert learnt([counted], [CAR], THIRTEEN) == (CAR, "scooter")


def test_record_of_the_first_schema_still_names_its_run(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    record.write_text('{"schema": 1, "run_id": "t-1", "job": {"fresh": [{"path": "/a"}]}}')
    assert run_id_in(record) == "t-1"
    record.write_text("{torn")
    with pytest.raises(SchemaError, match="is no record of a training run"):
        run_id_in(record)
