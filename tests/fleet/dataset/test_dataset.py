"""Rows from two roads, frozen for ever, opened as examples."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.clip_file import EncodedFrame, decode_instant, encode_instant
from edge.contracts.classes import ANIMAL, CAR, SHIPPED_CLASSES, Category
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.scene import Box3D
from edge.contracts.sensors import (
    EgoState,
    FrameSet,
    FrameStatus,
    RadarScan,
    Route,
    UltrasonicScan,
    frames_of,
)
from edge.perceive.tensors import PICO, slot_images
from fleet.dataset.frozen import Dataset, TrainingView, drop_images, freeze
from fleet.dataset.recipe import DataRecipe, RecipePart, build_set, load_recipe
from fleet.labeler import LabelCost
from fleet.sample.futures import with_futures
from fleet.sample.row import (
    Disc,
    LabelSource,
    Sample,
    SampleBox,
    SampleLabels,
    senses_of,
    training_labels,
)
from fleet.store import FolderStore, blob_key
from models.losses import make_targets
from sim.sense.rig import default_rig

RIG = default_rig()
QUARTER_NS = 250_000_000


def _frame_set(stamp_ns: int, shade: int = 90) -> FrameSet:
    images = np.full((8, 128, 256, 3), shade, np.uint8)
    images[:, :, :128] = 200
    return FrameSet(
        index=0,
        stamp_ns=stamp_ns,
        frames=frames_of(images, stamp_ns),
        radar=RadarScan(np.array([[10.0, 1.0, -2.0, 5.0]], np.float32)),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose(), speed_mps=5.0),
        route=Route(points_ego=((0.0, 0.0), (30.0, 0.0))),
    )


def _box(category: Category = CAR, x_m: float = 10.0, **more: object) -> SampleBox:
    box = Box3D(category=category, x_m=x_m, y_m=0.0, z_m=0.8, length_m=4.5, width_m=1.8,
                height_m=1.5, yaw_rad=0.0)  # fmt: skip
    fields = {"box": box, "track": "t1", "source": LabelSource.ANNOTATED, **more}
    return SampleBox(**fields)  # type: ignore[arg-type]


def _sample(name: str, *boxes: SampleBox) -> Sample:
    return Sample(
        sample_id=(name * 64)[:64],
        clip_id="clip",
        place_id=f"place-{name}",
        rig_id=RIG.rig_id,
        now=encode_instant(_frame_set(QUARTER_NS)),
        earlier=encode_instant(_frame_set(0)),
        labels=SampleLabels(boxes=boxes),
        tags=("none",),
    )


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_the_same_rows_in_any_order_are_the_same_dataset(store: FolderStore) -> None:
    a, b = _sample("a", _box()), _sample("b")
    first = freeze([a, b], [RIG], store, name="x", split="train")
    second = freeze([b, a], [RIG], store, name="x", split="train")
    assert first == second
    assert (first.samples, first.places, first.instances) == (2, 2, {"car": 1})


def test_another_label_is_another_dataset(store: FolderStore) -> None:
    first = freeze([_sample("a", _box())], [RIG], store, name="x", split="train")
    second = freeze([_sample("a", _box(x_m=11.0))], [RIG], store, name="x", split="train")
    assert first.dataset_id != second.dataset_id


def test_rows_come_back_as_they_went_in(store: FolderStore) -> None:
    manifest = freeze([_sample("a", _box(encounter_id="e1"))], [RIG], store, name="x", split="gate")
    dataset = Dataset(store.get(manifest.blob_id))
    row = dataset[0]
    assert (row.sample_id, row.place_id, row.tags) == ("a" * 64, "place-a", ("none",))
    assert row.labels.boxes[0].encounter_id == "e1"
    assert dataset.rig_of(row) == RIG
    assert manifest.encounters == {"car": 1}


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(SchemaError, match="not a dataset"):
        Dataset(b"PAR1 but not really")


def test_images_survive_their_jpeg() -> None:
    frame_set = _frame_set(0)
    again = decode_instant(encode_instant(frame_set), RIG)
    for seen, shown in zip(again.frames, frame_set.frames, strict=True):
        assert np.abs(seen.image.astype(int) - shown.image).mean() < 2.0
    assert np.array_equal(again.radar.points_ego, frame_set.radar.points_ego)


def test_a_reading_that_makes_no_sense_is_not_learnt_from() -> None:
    points = np.array([[1e30, 1, 0, 5], [np.nan] * 4, [10, 1, -2, 5]], np.float32)
    ranges_m = np.array([np.nan, np.inf, -1.0, *[2.0] * 9], np.float32)
    wild = replace(_frame_set(0), radar=RadarScan(points), ultrasonics=UltrasonicScan(ranges_m))
    silent = replace(
        _frame_set(0), ultrasonics=UltrasonicScan(np.array([*[5.0] * 3, *[2.0] * 9], np.float32))
    )
    rows = [encode_instant(frame_set) for frame_set in (wild, silent)]
    images = np.zeros((8, 3, 96, 192), np.uint8)
    learnt, expected = (senses_of(row, RIG, PICO, images) for row in rows)
    np.testing.assert_array_equal(learnt.radar_points, expected.radar_points)
    np.testing.assert_array_equal(learnt.ultrasonics, expected.ultrasonics)
    judged = decode_instant(rows[0], RIG)
    np.testing.assert_array_equal(judged.radar.points_ego, points[2:])
    np.testing.assert_array_equal(judged.ultrasonics.ranges_m, silent.ultrasonics.ranges_m)


def test_a_missing_camera_stays_missing() -> None:
    instant = encode_instant(_frame_set(0))
    gone = EncodedFrame(b"", 0, FrameStatus.MISSING)
    again = decode_instant(
        msgspec.structs.replace(instant, frames=(gone, *instant.frames[1:])), RIG
    )
    assert again.usable == (False,) + (True,) * 7
    assert again.frames[0].image is None and not slot_images(again, RIG, PICO)[0].any()


def test_two_openings_share_one_decoded_file(store: FolderStore, tmp_path: Path) -> None:
    manifest = freeze([_sample("a", _box())], [RIG], store, name="x", split="train")
    views = [
        TrainingView(Dataset(store.get(manifest.blob_id)), PICO, tmp_path, "key") for _ in range(2)
    ]
    assert np.array_equal(views[0][0].senses.images, views[1][0].senses.images)
    assert views[1][0].senses.images.shape == (8, 3, 96, 192)
    assert len(list(tmp_path.glob("key-*.npy"))) == 1


@pytest.mark.parametrize("kept_bytes", [0, 5, 200])
def test_a_damaged_file_of_decoded_images_is_made_again(
    store: FolderStore, tmp_path: Path, kept_bytes: int
) -> None:
    manifest = freeze([_sample("a", _box())], [RIG], store, name="x", split="train")
    data = Dataset(store.get(manifest.blob_id))
    first = TrainingView(data, PICO, tmp_path, "key")[0].senses.images.copy()
    (path,) = tmp_path.glob("key-*.npy")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    again = TrainingView(data, PICO, tmp_path, "key")[0].senses.images
    assert np.array_equal(again, first)


def test_dropping_decoded_images_leaves_those_of_other_datasets(tmp_path: Path) -> None:
    for name in ("d-1-192.npy", "d-1-192.lock", "d-2-192.npy"):
        (tmp_path / name).write_bytes(b"")
    drop_images(tmp_path, "d-1")
    assert [path.name for path in tmp_path.iterdir()] == ["d-2-192.npy"]


def test_what_hardly_shows_is_neither_positive_nor_negative() -> None:
    labels = training_labels(
        SampleLabels(boxes=(_box(visible_px=5), _box(x_m=20.0, visible_px=500))), PICO
    )
    assert labels.boxes[:, 1].tolist() == [20.0]
    assert labels.ignored[0, :2].tolist() == [10.0, 0.0]


def test_absence_of_a_class_nobody_knows_is_not_known() -> None:
    known = tuple(c for c in SHIPPED_CLASSES if c != ANIMAL)
    looked = (Disc(1.0, 2.0, 3.0),)
    labels = training_labels(SampleLabels(absence_known=known, looked=looked), PICO)
    assert not labels.is_absence_known[SHIPPED_CLASSES.index(ANIMAL)]
    assert labels.looked.tolist() == [[1.0, 2.0, 3.0]]


def test_rows_of_before_the_flag_teach_driving() -> None:
    said = SampleLabels(ego_future=((1.0, 0.0, 0.0),) * 12)
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(said))
    del fields["teaches_driving"]
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=SampleLabels)
    assert training_labels(old, PICO).ego_future is not None


def test_trouble_is_not_imitated_and_what_others_did_in_it_is_learnt() -> None:
    labels = SampleLabels(
        boxes=(_box(future=((1.0, 0.0),) * 12),), ego_future=((1.0, 0.0, 0.0),) * 12
    )
    trouble = msgspec.structs.replace(labels, teaches_driving=False)
    taught, masked = (
        make_targets([training_labels(said, PICO)], PICO) for said in (labels, trouble)
    )
    assert bool(taught.ego_futures.isfinite().all())
    assert not bool(masked.ego_futures.isfinite().any())
    assert len(taught.centre_futures) == len(masked.centre_futures) == 1


def test_a_future_is_where_the_track_goes_seen_from_now() -> None:
    """The ego drives 1 m, the car 2 m per quarter: it gains 2 m a step in the frame of now."""
    stamps = [k * QUARTER_NS for k in range(13)]
    poses = {s: Pose(x_m=float(k)) for k, s in enumerate(stamps)}
    labels = {
        s: SampleLabels(boxes=(_box(x_m=10.0 + k),)) for k, s in enumerate(stamps)
    }  # 2 m a step in the world
    now = with_futures(0, labels, poses)
    assert [x for x, _ in now.boxes[0].future[:3]] == pytest.approx([2.0, 4.0, 6.0])
    assert [x for x, _, _ in now.ego_future[:2]] == pytest.approx([1.0, 2.0])


def test_a_future_cut_short_is_unknown() -> None:
    stamps = [k * QUARTER_NS for k in range(5)]
    labels = {s: SampleLabels(boxes=(_box(),)) for s in stamps}
    assert with_futures(0, labels, {s: Pose() for s in stamps}).boxes[0].future == ()


class _Runner:
    """Renders nothing, counts how often it is asked."""

    calls = 0
    cost = LabelCost()

    def rows(self, recipe: DataRecipe, on_progress: object) -> list[Sample]:
        self.calls += 1
        return [_sample("a", _box())]

    def rigs(self) -> list[object]:
        return [RIG]


class _KnownRunner(_Runner):
    """Says what it is made of."""

    made = "yesterday's renderer"

    def made_of(self, recipe: DataRecipe) -> str:
        return self.made


RECIPE = DataRecipe(name="x", split="train", parts=(RecipePart(road_map="grid", places=1),))


def test_a_recipe_is_rendered_once(store: FolderStore, tmp_path: Path) -> None:
    runner = _KnownRunner()
    first = build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    again = build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    assert first == again
    assert runner.calls == 1


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("blob", b""),
        ("blob", b"rowz"),
        ("manifest", b""),
        ("manifest", b'{"name": "x"}'),
        ("manifest", b"\xff\xfe"),
        ("manifest", b"[" * 5_000),
    ],
)
def test_a_set_that_is_damaged_in_the_cache_is_dropped_reported_and_made_again(
    store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str, content: bytes
) -> None:
    runner, cache = _KnownRunner(), tmp_path / "cache"
    first = build_set(RECIPE, runner, store, cache)  # type: ignore[arg-type]
    blob, (remembered,) = store.root / blob_key(first.blob_id), cache.iterdir()
    (blob if what == "blob" else remembered).write_bytes(content)
    again = build_set(RECIPE, runner, store, cache)  # type: ignore[arg-type]
    assert again == first and runner.calls == 2
    assert len(Dataset(store.get(again.blob_id))) == 1
    dropped = [r for r in caplog.records if r.message == "cached_set_dropped"]
    assert [r.__dict__["file"] for r in dropped] == [str(remembered)]
    assert build_set(RECIPE, runner, store, cache) == first  # type: ignore[arg-type]
    assert runner.calls == 2


def test_a_set_whose_blob_is_gone_is_made_again(store: FolderStore, tmp_path: Path) -> None:
    runner = _KnownRunner()
    first = build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    (store.root / blob_key(first.blob_id)).unlink()
    assert build_set(RECIPE, runner, store, tmp_path / "cache") == first  # type: ignore[arg-type]
    assert len(Dataset(store.get(first.blob_id))) == 1


def test_a_set_of_another_renderer_is_not_taken_for_this_one(
    store: FolderStore, tmp_path: Path
) -> None:
    runner = _KnownRunner()
    build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    runner.made = "today's renderer"
    build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    assert runner.calls == 2
    assert len(list((tmp_path / "cache").iterdir())) == 2, "what was there is left alone"


def test_the_set_of_a_runner_that_does_not_say_what_it_is_made_of_is_never_believed(
    store: FolderStore, tmp_path: Path
) -> None:
    runner = _Runner()
    for _ in range(2):
        build_set(RECIPE, runner, store, tmp_path / "cache")  # type: ignore[arg-type]
    assert runner.calls == 2


def test_another_seed_is_another_recipe() -> None:
    part = RecipePart(road_map="grid", places=1)
    first = DataRecipe(name="x", split="train", parts=(part,))
    assert msgspec.structs.replace(first, seed=1).recipe_id != first.recipe_id


def test_a_misspelt_key_in_a_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nsplit: train\nparts: [{road_map: grid, place: 3}]\n")
    with pytest.raises(OperatorError, match="place"):
        load_recipe(str(path))


def test_a_class_is_learnt_in_the_channel_of_the_runs_list() -> None:
    labels = SampleLabels(boxes=(_box("scooter"),), absence_known=("scooter",))
    arrays = training_labels(labels, PICO, ("scooter", CAR))
    assert arrays.boxes[:, 0].tolist() == [0.0]
    assert arrays.is_absence_known.tolist() == [True, False]


def test_a_box_of_a_class_that_the_run_does_not_list_is_neither_positive_nor_negative() -> None:
    labels = SampleLabels(boxes=(_box("scooter"), _box(CAR, x_m=20.0)))
    arrays = training_labels(labels, PICO, SHIPPED_CLASSES)
    assert arrays.boxes[:, 1].tolist() == [20.0]
    assert arrays.ignored[0, :2].tolist() == [10.0, 0.0]
