import math

import cv2
import numpy as np
import pytest

from edge.contracts.classes import CAR
from edge.contracts.projection import pixels_from_ego
from edge.contracts.rig import Camera, Intrinsics, Rig, ego_from_cam
from edge.contracts.scene import Box3D, Plan, PlanPoint, PlanSource
from edge.contracts.sensors import RadarScan, Route
from edge.perceive.tensors import IMAGE_SLOTS, GroundClass
from sim.show.pictures import (
    CANDIDATE_RGB,
    INCUMBENT_RGB,
    PLAN_RGB,
    TRUTH_RGB,
    Layer,
    birds_eye,
    box_corners,
    draw_boxes,
    mosaic,
    png_bytes,
)

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

FRONT_MAIN = CAMERAS.index("front_main")


def car(x_m: float, y_m: float, yaw_rad: float = 0.0) -> Box3D:
    return Box3D(
        category=CAR,
        x_m=x_m,
        y_m=y_m,
        z_m=0.75,
        length_m=4.0,
        width_m=2.0,
        height_m=1.5,
        yaw_rad=yaw_rad,
        score=0.8,
    )


def painted(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Pixels (K, 2), row and column, in nearly this colour."""
    return np.argwhere(np.abs(image.astype(int) - color).max(axis=-1) < 40)


def test_corners_begin_at_the_front_left() -> None:
    corners = box_corners(car(10.0, 0.0, math.pi / 2))  # facing left: its front is at y = 2
    np.testing.assert_allclose(corners[0], (9.0, 2.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(corners[5], (11.0, 2.0, 1.5), atol=1e-12)


def test_drawn_box_covers_its_projection_and_nothing_else(rig: Rig) -> None:
    camera = rig.cameras[FRONT_MAIN]
    image = np.zeros((256, 512, 3), dtype=np.uint8)
    draw_boxes(image, camera, Layer("truth", [car(14.0, 2.0)]))
    rows, columns = painted(image, TRUTH_RGB).T
    u, v, _ = (2.0 * pixels_from_ego(camera, box_corners(car(14.0, 2.0)))).T
    assert (columns.min(), columns.max()) == pytest.approx((u.min(), u.max()), abs=2)
    assert (rows.min(), rows.max()) == pytest.approx((v.min(), v.max()), abs=2)


def test_front_face_is_tinted_only_when_it_faces_the_camera(rig: Rig) -> None:
    def filled(yaw_rad: float) -> float:
        image = np.full((256, 512, 3), 100, dtype=np.uint8)
        draw_boxes(image, rig.cameras[FRONT_MAIN], Layer("truth", [car(10.0, 0.0, yaw_rad)]))
        return float((image != 100).any(axis=-1).mean())

    assert filled(math.pi) > 2.0 * filled(0.0)


def test_boxes_behind_and_across_the_near_plane_do_no_harm(rig: Rig) -> None:
    image = np.zeros((128, 256, 3), dtype=np.uint8)
    draw_boxes(image, rig.cameras[FRONT_MAIN], Layer("truth", [car(-20.0, 0.0)]))
    assert not image.any()
    draw_boxes(image, rig.cameras[FRONT_MAIN], Layer("truth", [car(2.0, 1.5)]))
    assert image.any()


def test_words_of_boxes_in_one_place_do_not_cover_each_other(rig: Rig) -> None:
    def plates(count: int) -> int:
        image = np.full((768, 768, 3), 200, dtype=np.uint8)
        boxes = [car(14.0, 0.0)] * count
        layer = Layer("model", boxes, CANDIDATE_RGB, has_labels=True)
        draw_boxes(image, rig.cameras[FRONT_MAIN], layer, weight=2)
        return int((image < 60).all(axis=-1).sum())

    assert plates(3) == pytest.approx(3 * plates(1), rel=0.1)


def test_mosaic_shows_eight_views_and_a_legend_in_every_layers_colour(rig: Rig) -> None:
    images = np.full((8, 128, 256, 3), 60, dtype=np.uint8)
    layers = [
        Layer("truth", [car(12.0, 0.0)]),
        Layer("incumbent", [car(12.5, 0.5)], INCUMBENT_RGB, has_labels=True),
        Layer("candidate", [], CANDIDATE_RGB),
    ]
    picture = mosaic(images, rig, layers, title="a moment")
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 2 * 2 * 128 and picture.shape[1] > 4 * 2 * 256
    legend, body = picture[:26], picture[26:]
    assert all(len(painted(legend, layer.color_rgb)) > 80 for layer in layers)
    assert len(painted(body, TRUTH_RGB)) > 50 and len(painted(body, INCUMBENT_RGB)) > 50
    assert len(painted(body, CANDIDATE_RGB)) == 0
    assert not (images != 60).any(), "the images themselves stay as they were"


def test_mosaic_puts_each_camera_in_its_place(rig: Rig) -> None:
    images = np.zeros((8, 128, 256, 3), dtype=np.uint8)
    images[CAMERAS.index("forward_left")] = (200, 0, 0)
    images[CAMERAS.index("rearward_right")] = (0, 0, 200)
    body = mosaic(images, rig)[26:]
    reds, blues = painted(body, (200, 0, 0)), painted(body, (0, 0, 200))
    assert reds.max(axis=0)[0] < 256 and reds.max(axis=0)[1] < 512
    assert blues.min(axis=0)[0] >= 256 and blues.min(axis=0)[1] >= 1024


def test_birds_eye_has_forward_up_and_left_left() -> None:
    picture = birds_eye([Layer("truth", [car(20.0, 10.0)])], range_m=40.0, size_px=400)
    chart = picture[-400:]
    rows, columns = painted(chart, TRUTH_RGB).T
    assert rows.mean() == pytest.approx(200 - 20 * 5, abs=3)
    assert columns.mean() == pytest.approx(200 - 10 * 5, abs=3)


def test_birds_eye_shows_radar_route_and_plan() -> None:
    radar = RadarScan(np.array([(30.0, 0.0, -6.0, 0.0), (-30.0, 0.0, 6.0, 0.0)], dtype=np.float32))
    points = tuple(
        PlanPoint(x_m=float(k), y_m=-k / 2, yaw_rad=0.0, speed_mps=5.0) for k in range(20)
    )
    plan = Plan(
        stamp_ns=0,
        source=PlanSource.NETWORK,
        points=points,
        step_s=0.25,
        acceleration_mps2=0.0,
        steering_rad=0.0,
        min_ttc_s=60.0,
    )
    route = Route(points_ego=tuple((2.0 * k, 0.0) for k in range(10)))
    chart = birds_eye([], radar=radar, route=route, plan=plan, size_px=400)[-400:]
    nearing, leaving = painted(chart, (96, 150, 255)), painted(chart, (236, 92, 80))
    assert nearing[:, 0].mean() == pytest.approx(50, abs=2)
    assert leaving[:, 0].mean() == pytest.approx(350, abs=2)
    assert painted(chart, PLAN_RGB)[:, 1].max() > 230, "the plan bends to the right"


def test_birds_eye_lays_the_ground_under_the_scene() -> None:
    ground = np.zeros((80, 80), dtype=np.uint8)
    ground[60:, :] = GroundClass.DRIVABLE  # the quarter ahead
    chart = birds_eye([], ground=ground, size_px=400)[-400:]
    assert chart[20, 30].sum() > chart[380, 30].sum()


def test_png_keeps_the_colours() -> None:
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    image[..., 0] = 255
    decoded = cv2.imdecode(np.frombuffer(png_bytes(image), dtype=np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], image)


def test_mosaic_lays_out_any_rig_and_shows_a_missing_camera_black() -> None:
    cameras = [
        Camera(
            name=name,
            intrinsics=Intrinsics.from_fov(1.2, *size),
            ego_from_cam=ego_from_cam(1.0, 0.0, 1.5, yaw_rad=yaw_rad, pitch_rad=0.0),
        )
        for name, yaw_rad, size in (
            ("rear", 3.1, (64, 48)),
            ("right", -1.0, (32, 32)),
            ("left", 1.0, (64, 32)),
        )
    ]
    other = Rig(name="three", cameras=tuple(cameras))
    red = np.full((48, 64, 3), (200, 0, 0), np.uint8)
    green = np.full((32, 64, 3), (0, 200, 0), np.uint8)
    body = mosaic([red, None, green], other, scale=1)[26:]
    assert painted(body, (0, 200, 0)).max(axis=0).tolist() == [31, 63], "left is on the left, ahead"
    assert painted(body, (200, 0, 0)).min(axis=0)[0] > 31, "the rear is below"
