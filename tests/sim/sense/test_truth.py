import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.classes import TRUCK
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.scene import Attribute, BoxSource
from sim.sense.sight import survey
from sim.sense.truth import TRUTH_MAGIC, TruthFrame, TruthLog, read_truth, truth_boxes
from sim.world.snapshot import Entity, Snapshot

EntityMaker = Callable[..., Entity]
SnapshotMaker = Callable[..., Snapshot]


@pytest.fixture(scope="module")
def frames(entity_at: EntityMaker, snapshot_of: SnapshotMaker) -> list[TruthFrame]:
    made = []
    for k in range(5):
        snapshot = snapshot_of(entity_at("animal", 10.0 + k, entity_id=9), frame_index=k)
        boxes = truth_boxes(survey(snapshot), {9: 100 + k}, {9: "animal_crossing-1"})
        pose = snapshot.ego.world_from_ego
        made.append(TruthFrame(stamp_ns=snapshot.stamp_ns, world_from_ego=pose, boxes=boxes))
    return made


def written(path: Path, frames: list[TruthFrame], vehicle_id: str = "v1") -> Path:
    with TruthLog.open(path, vehicle_id) as log:
        for frame in frames:
            log.append(frame)
    return path


def test_box_is_centred_upright_and_moves_over_the_ground(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    lying = entity_at(
        "truck",
        12.0,
        2.0,
        math.pi,
        entity_id=4,
        speed_mps=3.0,
        roll_rad=math.pi / 2,
        width_m=3.2,
        height_m=2.4,
        attribute=Attribute.FALLEN,
    )
    (truth,) = truth_boxes(survey(snapshot_of(lying)), {4: 77})
    box = truth.box
    assert (box.x_m, box.y_m, box.z_m) == pytest.approx((12.0, 2.0, 1.2))
    assert (box.length_m, box.width_m, box.height_m) == (8.0, 3.2, 2.4)
    assert abs(box.yaw_rad) == pytest.approx(math.pi)
    assert (box.vx_mps, box.vy_mps) == pytest.approx((-3.0, 0.0), abs=1e-9)
    assert (box.category, box.attribute) == (TRUCK, Attribute.FALLEN)
    assert box.source is BoxSource.UNKNOWN
    assert (truth.entity_id, truth.visible_px, truth.encounter_id) == (4, 77, None)


def test_who_shows_no_pixel_is_still_true(
    entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    bus = entity_at("bus", 12.0, turn_rad=math.pi / 2, entity_id=1)
    behind = entity_at("pedestrian", 25.0, entity_id=2)
    truth = {
        t.entity_id: t for t in truth_boxes(survey(snapshot_of(bus, behind)), {1: 900}, {2: "e"})
    }
    assert truth[2].visible_px == 0 and truth[2].hidden_ratio == 1.0
    assert truth[2].encounter_id == "e"


def test_log_gives_back_what_was_written(tmp_path: Path, frames: list[TruthFrame]) -> None:
    path = written(tmp_path / "deep" / "v1.truth", frames)
    assert read_truth(path, "v1") == {frame.stamp_ns: frame for frame in frames}


def test_log_goes_on_where_it_ended(tmp_path: Path, frames: list[TruthFrame]) -> None:
    path = written(tmp_path / "v1.truth", frames[:2])
    written(path, frames[2:])
    assert list(read_truth(path, "v1").values()) == frames


@given(cut=st.integers(1, 2000))
def test_torn_end_loses_only_the_torn_frames(
    cut: int, tmp_path_factory: pytest.TempPathFactory, frames: list[TruthFrame]
) -> None:
    path = written(tmp_path_factory.mktemp("torn") / "v1.truth", frames)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    left = list(read_truth(path, "v1").values())
    assert left == frames[: len(left)]
    written(path, frames[len(left) :])
    assert list(read_truth(path, "v1").values()) == frames


def test_flipped_byte_ends_the_log_before_its_record(
    tmp_path: Path, frames: list[TruthFrame]
) -> None:
    path = written(tmp_path / "v1.truth", frames)
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    assert list(read_truth(path, "v1").values()) == frames[:-1]


def test_log_of_another_vehicle_is_refused(tmp_path: Path, frames: list[TruthFrame]) -> None:
    path = written(tmp_path / "v1.truth", frames)
    with pytest.raises(OperatorError, match="of vehicle v1, not of v2"):
        read_truth(path, "v2")
    with pytest.raises(OperatorError, match="of vehicle v1, not of v2"):
        TruthLog.open(path, "v2")
    assert len(read_truth(path, "v1")) == 5


def test_file_that_is_no_log_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary")
    with pytest.raises(SchemaError, match="no truth log"):
        read_truth(path, "v1")
    with pytest.raises(SchemaError, match="no truth log"):
        TruthLog.open(path, "v1")
    assert path.read_bytes() == b"dear diary"


def test_empty_and_barely_begun_logs_hold_nothing(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("begun", TRUTH_MAGIC[:3]), ("bare", TRUTH_MAGIC)):
        path = tmp_path / name
        path.write_bytes(content)
        assert read_truth(path, "v1") == {}
        written(path, [TruthFrame(stamp_ns=1, world_from_ego=Pose(), boxes=())])
        assert list(read_truth(path, "v1")) == [1]
