"""The one definition of what enters and leaves a network."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contracts.classes import (
    BARRIER,
    BUS,
    CAR,
    PEDESTRIAN,
    SHIPPED_CLASSES,
    TRAFFIC_CONE,
    TRUCK,
)
from edge.contracts.geometry import Pose, wrap_rad
from edge.contracts.rig import Camera, Intrinsics, Rig, UltrasonicMount
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    Route,
    UltrasonicScan,
    frames_of,
)
from edge.perceive.tensors import (
    BOX_CHANNELS,
    IMAGE_SLOTS,
    PICO,
    SPECS,
    GroundClass,
    Memory,
    OutputFault,
    Recollection,
    calibration_table,
    decode_boxes,
    input_specs,
    is_drivable,
    memory_inputs,
    network_inputs,
    output_specs,
    radar_raster,
    read_outputs,
    route_points_at,
    yaw_from_double,
)

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

LOW = dict.fromkeys(SHIPPED_CLASSES, 0.3)


def _looking(yaw_rad: float, fov_deg: float) -> tuple[Pose, Intrinsics]:
    forward = np.array([math.cos(yaw_rad), math.sin(yaw_rad), 0.0])
    right = np.array([math.sin(yaw_rad), -math.cos(yaw_rad), 0.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, [0.0, 0.0, -1.0], forward], axis=1)
    matrix[:3, 3] = (0.0, 0.0, 1.5)
    return Pose.from_matrix(matrix), Intrinsics.from_fov(math.radians(fov_deg), 256, 128)


@pytest.fixture(scope="module")
def rig() -> Rig:
    views = [(0, 60), (0, 30), (0, 120), (60, 70), (-60, 70), (120, 70), (-120, 70), (180, 70)]
    cameras = []
    for name, (yaw_deg, fov_deg) in zip(CAMERAS, views, strict=True):
        pose, intrinsics = _looking(math.radians(yaw_deg), fov_deg)
        cameras.append(Camera(name=name, intrinsics=intrinsics, ego_from_cam=pose))
    mounts = tuple(UltrasonicMount(x_m=3.0, y_m=0.0, yaw_rad=0.0) for _ in range(12))
    return Rig(name="test", cameras=tuple(cameras), ultrasonics=mounts)


def _frame_set(stamp_ns: int = 0, x_m: float = 0.0) -> FrameSet:
    rng = np.random.default_rng(0)
    return FrameSet(
        index=0,
        stamp_ns=stamp_ns,
        frames=frames_of(rng.integers(0, 255, (8, 128, 256, 3), dtype=np.uint8), 0),
        radar=RadarScan(np.array([[10.0, 0.0, -2.0, 5.0]], np.float32)),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=stamp_ns, world_from_ego=Pose.from_xy_yaw(x_m, 0.0, 0.0)),
    )


def _outputs() -> dict[str, np.ndarray]:
    return {t.name: np.zeros(t.shape, np.float32) for t in output_specs(PICO, len(SHIPPED_CLASSES))}


def test_a_cell_ahead_is_read_from_the_sharpest_camera_that_sees_it(rig: Rig) -> None:
    table = calibration_table(rig, PICO)
    n = PICO.bev_cells
    row, column = n - 1, n // 2  # 31 m ahead, just left of the axis
    camera = table.index[row * n + column] // (PICO.feature_height * PICO.feature_width)
    assert camera == CAMERAS.index("front_narrow")


def test_a_turned_table_looks_where_the_turned_grid_points(rig: Rig) -> None:
    plain = calibration_table(rig, PICO).index.reshape(2, PICO.bev_cells, PICO.bev_cells)
    turned = calibration_table(rig, PICO, math.pi / 2)
    turned_index = turned.index.reshape(2, PICO.bev_cells, PICO.bev_cells)
    # the grid's forward row is the vehicle's left column after a quarter turn
    assert np.array_equal(turned_index[0, 40, 24], plain[0, 23, 40])


def test_inputs_have_the_shapes_and_types_of_the_contract(rig: Rig) -> None:
    for spec in SPECS.values():
        inputs = network_inputs(_frame_set(), calibration_table(rig, spec), Memory(), spec)
        assert list(inputs) == [t.name for t in input_specs(spec)]
        for tensor in input_specs(spec):
            assert inputs[tensor.name].shape == tensor.shape
            assert inputs[tensor.name].dtype == tensor.dtype


def _looked_up(rig: Rig, *missing: str) -> tuple[np.ndarray, np.ndarray]:
    """Say which camera each cell is read from, 8 for none, and the geometry beside it."""
    frame_set = _frame_set()
    gone = Frame(None, 0, FrameStatus.MISSING)
    frames = [gone if CAMERAS[k] in missing else f for k, f in enumerate(frame_set.frames)]
    frame_set = replace(frame_set, frames=tuple(frames))
    inputs = network_inputs(frame_set, calibration_table(rig, PICO), Memory(), PICO)
    return inputs["table"] // (PICO.feature_height * PICO.feature_width), inputs["geometry"]


def test_cells_of_a_missing_camera_go_to_the_next_sharpest_that_sees_them(rig: Rig) -> None:
    whole, _ = _looked_up(rig)
    for missing in CAMERAS:
        cameras, geometry = _looked_up(rig, missing)
        own = whole == CAMERAS.index(missing)
        assert CAMERAS.index(missing) not in cameras
        np.testing.assert_array_equal(cameras[~own], whole[~own])
        valid = geometry[0, 3 : 4 * len(PICO.heights_m) : 4].reshape(-1)
        np.testing.assert_array_equal(valid == 1.0, cameras < 8)
    narrow = whole == CAMERAS.index("front_narrow")
    seen_by, _ = _looked_up(rig, "front_narrow")
    assert narrow.any() and (seen_by[narrow] == CAMERAS.index("front_main")).all()


def test_with_two_front_cameras_missing_the_third_looks_ahead(rig: Rig) -> None:
    whole, _ = _looked_up(rig)
    ahead = whole == CAMERAS.index("front_narrow")
    seen_by, _ = _looked_up(rig, "front_narrow", "front_main")
    assert (seen_by[ahead] == CAMERAS.index("front_wide")).all()


def test_with_every_camera_missing_no_cell_is_seen(rig: Rig) -> None:
    cameras, geometry = _looked_up(rig, *CAMERAS)
    assert (cameras == 8).all()
    assert not geometry[0, : 4 * len(PICO.heights_m)].any()


def test_a_missing_camera_is_looked_up_once_and_the_table_kept(rig: Rig) -> None:
    _looked_up(rig, "rear")
    made = calibration_table.cache_info().misses
    _looked_up(rig, "rear")
    assert calibration_table.cache_info().misses == made


def test_a_radar_point_lands_in_its_cell() -> None:
    points = np.array([[10.0, -5.0, 2.0, 10.0], [100.0, 0.0, 0.0, 0.0]], np.float32)
    raster = radar_raster(points, PICO)
    row, column = int((10 + 32) / PICO.cell_m), int((-5 + 32) / PICO.cell_m)
    assert raster[0, :, row, column].tolist() == pytest.approx([0.5, 0.4, 1.0, 1.0])
    assert raster[0, 0].sum() == 0.5


def test_memory_moves_with_the_vehicle() -> None:
    then = Recollection(
        stamp_ns=0,
        world_from_ego=Pose(),
        features=np.ones((48, 64), np.float32),
        points_ego=np.tile(np.array([[10.0, 0.0]], np.float32), (48, 1)),
        scores=np.full(48, 0.5, np.float32),
    )
    now = Pose.from_xy_yaw(4.0, 0.0, math.pi / 2)  # 4 m on, turned left
    features, pose = memory_inputs(then, 250_000_000, now, PICO)
    assert features.shape == (1, 48, 64)
    assert (pose[0, 0, :2] * 32.0).tolist() == pytest.approx([0.0, -6.0], abs=1e-5)
    assert pose[0, 0, 4] == pytest.approx(1.0)


def test_memory_recalls_a_quarter_of_a_second_ago_and_forgets_older() -> None:
    memory = Memory()
    for tick in range(36):
        blank = np.zeros((48, 64), np.float32)
        memory = memory.with_(
            Recollection(tick * 10**9 // 36, Pose(), blank, blank[:, :2], blank[:, 0])
        )
    recalled = memory.at(36 * 10**9 // 36)
    assert recalled is not None and recalled.stamp_ns == 27 * 10**9 // 36
    assert len(memory.recollections) < 15
    assert Memory().at(0) is None


def test_memory_recalls_nothing_of_before_the_clock_stepped_back() -> None:
    blank = np.zeros((48, 64), np.float32)

    def at(tick: int) -> Recollection:
        return Recollection(tick * 10**9 // 36, Pose(), blank, blank[:, :2], blank[:, 0])

    memory = Memory()
    for tick in range(36, 72):
        memory = memory.with_(at(tick))
    back = at(68)
    assert memory.at(back.stamp_ns) is None
    assert memory.with_(back).recollections == (back,)


def test_a_peak_becomes_a_box_at_its_offset() -> None:
    heatmap = np.zeros((len(SHIPPED_CLASSES), 48, 48), np.float32)
    regression = np.zeros((BOX_CHANNELS, 48, 48), np.float32)
    heatmap[0, 30, 20] = 0.9
    regression[:, 30, 20] = [
        0.5,
        0,
        0.8,
        math.log(4),
        math.log(2),
        math.log(1.5),
        0,
        1,
        -1,
        0,
        3,
        4,
    ]
    cells, boxes = decode_boxes(
        heatmap, regression, PICO, categories=SHIPPED_CLASSES, thresholds=LOW
    )
    assert cells == [30 * 48 + 20]
    box = boxes[0]
    assert (box.category, box.score) == (CAR, pytest.approx(0.9))
    assert box.x_m == pytest.approx(31 * PICO.cell_m - 32)
    assert box.y_m == pytest.approx(20.5 * PICO.cell_m - 32)
    assert (box.length_m, box.width_m) == (pytest.approx(4), pytest.approx(2))
    assert abs(box.yaw_rad) == pytest.approx(math.pi)
    assert (box.vx_mps, box.vy_mps) == (3, 4)


def test_a_weaker_peak_of_the_same_kind_close_by_is_suppressed() -> None:
    heatmap = np.zeros((len(SHIPPED_CLASSES), 48, 48), np.float32)
    regression = np.zeros((BOX_CHANNELS, 48, 48), np.float32)
    truck, pedestrian = SHIPPED_CLASSES.index(TRUCK), SHIPPED_CLASSES.index(PEDESTRIAN)
    heatmap[0, 30, 20] = 0.9
    heatmap[truck, 31, 20] = 0.5
    heatmap[pedestrian, 30, 21] = 0.5
    _, boxes = decode_boxes(heatmap, regression, PICO, categories=SHIPPED_CLASSES, thresholds=LOW)
    assert [b.category for b in boxes] == [CAR, PEDESTRIAN]


def test_a_category_without_threshold_is_not_reported() -> None:
    heatmap = np.full((len(SHIPPED_CLASSES), 48, 48), 0.9, np.float32)
    regression = np.zeros((BOX_CHANNELS, 48, 48), np.float32)
    _, boxes = decode_boxes(
        heatmap, regression, PICO, categories=SHIPPED_CLASSES, thresholds={BUS: 0.5}
    )
    assert {b.category for b in boxes} == {BUS}


@given(st.floats(-math.pi, math.pi))
def test_heading_survives_its_encoding(yaw_rad: float) -> None:
    decoded = yaw_from_double(
        math.sin(2 * yaw_rad), math.cos(2 * yaw_rad), math.cos(yaw_rad), math.sin(yaw_rad)
    )
    assert wrap_rad(decoded - yaw_rad) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_a_fault(poison: float) -> None:
    outputs = _outputs()
    outputs["boxes"][0, 0, 0, 0] = poison
    with pytest.raises(OutputFault, match="boxes holds a NaN or infinity"):
        read_outputs(outputs, _frame_set(), PICO, categories=SHIPPED_CLASSES, thresholds=LOW)


def test_a_missing_or_misshapen_output_is_a_fault() -> None:
    outputs = _outputs()
    del outputs["plans"]
    with pytest.raises(OutputFault, match="plans is missing"):
        read_outputs(outputs, _frame_set(), PICO, categories=SHIPPED_CLASSES, thresholds=LOW)
    outputs = _outputs() | {"heatmap": np.zeros((1, 3, 48, 48), np.float32)}
    with pytest.raises(OutputFault, match="heatmap: expected"):
        read_outputs(outputs, _frame_set(), PICO, categories=SHIPPED_CLASSES, thresholds=LOW)


def test_futures_of_a_box_come_from_the_query_that_stands_on_it() -> None:
    outputs = _outputs()
    outputs["heatmap"][0, 0, 30, 20] = 0.9
    outputs["query_cells"][0] = np.arange(48)
    outputs["query_cells"][0, 7] = 30 * 48 + 20
    outputs["futures"][0, 7, 2] = [(k, 0.0) for k in range(12)]
    outputs["future_scores"][0, 7, 2] = 1.0
    output = read_outputs(outputs, _frame_set(), PICO, categories=SHIPPED_CLASSES, thresholds=LOW)
    best = output.futures[0][0]
    assert best.probability == 1.0
    assert best.points_ego[3][0] == pytest.approx(output.boxes[0].x_m + 3.0)


def test_the_route_goes_straight_on_where_it_ends() -> None:
    assert route_points_at(Route(), (5.0,)).tolist() == [[5.0, 0.0]]
    bent = Route(points_ego=((0.0, 0.0), (10.0, 0.0), (10.0, 10.0)))
    assert route_points_at(bent, (15.0,)).tolist() == [[10.0, 5.0]]


def test_a_cone_at_a_barrier_stays_a_thing_of_its_own() -> None:
    heatmap = np.zeros((len(SHIPPED_CLASSES), 48, 48), np.float32)
    regression = np.zeros((BOX_CHANNELS, 48, 48), np.float32)
    heatmap[SHIPPED_CLASSES.index(BARRIER), 30, 20] = 0.9
    heatmap[SHIPPED_CLASSES.index(TRAFFIC_CONE), 30, 20] = 0.5
    _, boxes = decode_boxes(
        heatmap,
        regression,
        PICO,
        categories=SHIPPED_CLASSES,
        thresholds=dict.fromkeys(SHIPPED_CLASSES, 0.1),
    )
    assert [b.category for b in boxes] == [BARRIER, TRAFFIC_CONE]


def test_road_and_crossing_are_drivable_and_pavement_is_not() -> None:
    ground = np.array(list(GroundClass), np.uint8)
    assert [g for g in GroundClass if is_drivable(ground)[g]] == [
        GroundClass.DRIVABLE,
        GroundClass.CROSSING,
    ]
    assert output_specs(PICO, 1)[2].shape[1] == len(GroundClass)
