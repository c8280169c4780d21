"""Half a minute of fine-tuning must teach the shipped baseline an animal that it has never seen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edge.contracts.classes import ANIMAL, SHIPPED_CLASSES
from edge.perceive.engine import OnnxEngine
from edge.perceive.tensors import PICO
from fleet.dataset.frozen import Dataset, DatasetManifest, freeze
from fleet.dataset.recipe import DataRecipe, RecipePart
from fleet.disk import sha256_of
from fleet.evaluate import match, operating_point
from fleet.evaluate.predict import eval_frames, predict_dataset
from fleet.store import FolderStore
from fleet.train.job import PARENT, TrainJob, train_job
from fleet.train.recipe import fine_tune
from fleet.work.task import JobInputs
from fleet.zoo import zoo_folder
from models.export import swap_weights
from models.weights import load_weights
from sim.recipes import RecipeStage

STEPS = 250
THRESHOLD = 0.3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Train on one core, as the stage does; on busy cores, threads wait for each other for minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetManifest, FolderStore]:
    """A handful of frames with animals in them, labelled with full care."""
    part = RecipePart(
        road_map="suburb",
        scenario="animal_crossing",
        places=6,
        instants_per_visit=3,
        instant_gap_s=0.5,
    )
    recipe = DataRecipe(name="handful", split="train", parts=(part,), seed=11)
    runner = RecipeStage()
    store = FolderStore(tmp_path_factory.mktemp("store"))
    rows = runner.rows(recipe, lambda count: None)
    return freeze(rows, runner.rigs(), store, name="handful", split="train"), store


def recall_of(model: Path, dataset: Dataset) -> float:
    """Run a model over the frames and count the animals that it finds."""
    said = predict_dataset(dataset, OnnxEngine(model), PICO, categories=SHIPPED_CLASSES)
    answers = {sample_id: boxes for sample_id, boxes, _ in said}
    matches = match(list(eval_frames(dataset, answers)))
    return operating_point(matches, ANIMAL, THRESHOLD).recall or 0.0


def test_a_short_fine_tune_raises_recall_on_a_handful_of_frames(
    frames: tuple[DatasetManifest, FolderStore], tmp_path: Path
) -> None:
    manifest, store = frames
    assert manifest.instances["animal"] >= 10
    dataset = Dataset(store.get(manifest.blob_id))
    path = tmp_path / "frames.parquet"
    path.write_bytes(store.get(manifest.blob_id))
    baseline = zoo_folder("pico")
    fit = fine_tune(["animal"])
    fit.steps, fit.fresh_ratio, fit.log_every = STEPS, 1.0, STEPS
    job = TrainJob(
        size="pico",
        fresh=(manifest.dataset_id,),
        parent_sha256=sha256_of(baseline / "weights.bin"),
        fit=fit,
    )
    paths = {manifest.dataset_id: path, PARENT: baseline / "weights.bin"}
    train_job(job, JobInputs(paths, tmp_path / "cache", {}), tmp_path / "run")
    tuned = tmp_path / "tuned.onnx"
    net = load_weights(tmp_path / "run" / "weights.bin", PICO)
    swap_weights(baseline / "fp32.onnx", net, tuned)
    before, after = recall_of(baseline / "fp32.onnx", dataset), recall_of(tuned, dataset)
    assert before < 0.05
    assert after > before + 0.2
