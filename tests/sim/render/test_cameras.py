import hashlib
import math
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from panda3d import core

from edge.contracts.errors import OperatorError
from edge.contracts.geometry import Pose
from edge.contracts.projection import pixels_from_ego
from edge.contracts.rig import Camera, Intrinsics, Projection, Rig
from edge.perceive.tensors import IMAGE_SLOTS, MIRRORED_SLOTS
from sim.place.ground import Ground
from sim.place.maps import RoadMap
from sim.place.scenery import Scenery
from sim.render.cameras import MAX_ENTITIES, Renderer, world_from_unit
from sim.render.meshes import mesh_of
from sim.render.panda import UNDRAWN_PX, camera_node, geom, open_buffer, vertex_rows
from sim.render.settings import RenderSettings
from sim.sense.rig import default_rig
from sim.sense.sight import survey
from sim.world.snapshot import MESH_SIZES, Entity, Snapshot

CAMERAS = tuple(slot.name for slot in IMAGE_SLOTS)

EntityMaker = Callable[..., Entity]
SnapshotMaker = Callable[..., Snapshot]

FRONT_MAIN = CAMERAS.index("front_main")


def visible_pixels(ids: NDArray[np.int32]) -> dict[int, int]:
    """Count the pixels that show each entity in any array of ids, such as one camera's."""
    entity_ids, counts = np.unique(ids[ids > 0], return_counts=True)
    return dict(zip(entity_ids.tolist(), counts.tolist(), strict=True))


def test_images_are_contiguous_rgb_of_the_rigs_size(
    renderer: Renderer, snapshot_of: SnapshotMaker
) -> None:
    render = renderer.render(snapshot_of(), with_ids=True)
    assert [image.shape for image in render.images] == [(128, 256, 3)] * 8
    assert all(image.dtype == np.uint8 and image.flags.c_contiguous for image in render.images)
    assert render.ids is not None and [view.shape for view in render.ids] == [(128, 256)] * 8
    assert not np.any(render.ids) and render.visible_px == {}
    front = render.images[FRONT_MAIN]
    sky, road = front[2].mean(axis=0), front[-8:].mean((0, 1))
    assert sky[2] > sky[0], "the sky is blue: channels are red, green, blue"
    assert abs(road[2] - road[0]) < 40


def test_entities_are_drawn_where_the_calibration_says_to_a_tenth_of_a_pixel(
    road_map: RoadMap,
    rig: Rig,
    ground: Ground,
    entity_at: EntityMaker,
    snapshot_of: SnapshotMaker,
) -> None:
    one_far_house = Scenery(
        np.zeros(1, np.uint8),
        np.array([[5000.0, 5000.0, 0.0, 1.0, 1.0, 1.0]]),
        np.full((1, 3), 0.5),
    )
    renderer = Renderer(road_map, rig, ground=ground, scenery=one_far_house)
    shifts, seen_by = [], set()
    for turn in np.linspace(0.0, 2.0, 40):
        ring = [
            # A box on wheels: an edge is drawn half a pixel too wide on every side, which moves the
            # centre of a shape that is thin at one end, and not that of this one.
            entity_at("truck", 12.0 * math.cos(a), 12.0 * math.sin(a), 2.0 * a, entity_id=i + 1)
            for i, a in enumerate(np.linspace(-math.pi, math.pi, 3, endpoint=False) + turn)
        ]
        snapshot = snapshot_of(*ring)
        ids = renderer.render(snapshot, with_ids=True).ids
        assert ids is not None
        ego_from_world = snapshot.ego.world_from_ego.inverse()
        for entity in ring:
            matrix = world_from_unit(entity)
            triangles = mesh_of("truck").triangles @ matrix[:3, :3].T + matrix[:3, 3]
            for camera, view in zip(rig.cameras, ids, strict=True):
                uvd = pixels_from_ego(camera, ego_from_world @ triangles.reshape(-1, 3))
                u, v, depth = uvd.T
                is_inside = u.min() > 1 and u.max() < 255 and v.min() > 1 and v.max() < 127
                if depth.min() < 0.5 or not is_inside:
                    continue
                drawn = view == entity.entity_id
                expected = _silhouette(uvd[:, :2].reshape(-1, 3, 2))
                shifts.append(_centre_px(drawn) - _centre_px(expected))
                seen_by.add(camera.name)
    renderer.close()
    assert len(seen_by) >= 6 and len(shifts) > 50
    assert np.abs(shifts).max() < 0.8, "each silhouette"
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1, "all of them together"


def _silhouette(triangles_px: np.ndarray) -> np.ndarray:
    """Draw the union of triangles (T, 3, 2), of a view of 256 x 128 pixels, 16 times as fine."""
    fine = np.zeros((128 * 16, 256 * 16), dtype=np.uint8)
    for corners in np.rint(triangles_px * 16.0 - 0.5).astype(np.int32):
        cv2.fillConvexPoly(fine, corners, 1)
    return cv2.resize(fine.astype(np.float32), (256, 128), interpolation=cv2.INTER_AREA)


def _centre_px(weights: np.ndarray) -> np.ndarray:
    """Give the centroid (u, v) of pixels' weights (H, W); a pixel's centre lies at + 0.5."""
    rows, columns = np.indices(weights.shape)
    return np.array([np.average(columns, weights=weights), np.average(rows, weights=weights)]) + 0.5


@pytest.mark.parametrize("pipe", ["p3tinydisplay", "p3headlessgl"])
@pytest.mark.parametrize("size_px", [(256, 128), (320, 96)])
def test_squares_lie_at_their_pixels_all_over_the_view(pipe: str, size_px: tuple[int, int]) -> None:
    width, height = size_px
    try:
        engine, buffer = open_buffer(pipe, width, height)
    except OperatorError as error:
        pytest.skip(str(error))
    intrinsics = msgspec.structs.replace(
        Intrinsics.from_fov(math.radians(60.0), width, height),
        cx_px=0.47 * width,
        cy_px=0.4 * height,
    )
    camera = Camera(name="front_main", intrinsics=intrinsics, ego_from_cam=Pose())
    root = core.NodePath("world")
    view = camera_node(camera, 0.4, 100.0, undrawn_px=UNDRAWN_PX.get(pipe, 0.0))
    view.reparent_to(root)
    buffer.make_display_region().set_camera(view)
    target = core.Texture()
    buffer.add_render_texture(
        target, core.GraphicsOutput.RTM_copy_ram, core.GraphicsOutput.RTP_color
    )
    rng, offsets = np.random.default_rng(0), []
    for _ in range(40):
        squares = [
            np.array([column * width / 6 + 8.0, row * height / 3 + 8.0]) + rng.uniform(0.0, 2.0, 2)
            for row in range(3)
            for column in range(6)
        ]
        drawable = core.GeomNode("squares")
        drawable.add_geom(geom(*vertex_rows(*_facing_squares(squares, 14.0, intrinsics))))
        shown = root.attach_new_node(drawable)
        shown.set_two_sided(True)
        engine.render_frame()
        shown.remove_node()
        flat = np.frombuffer(target.get_ram_image(), dtype=np.uint8)
        codes = flat.reshape(height, width, 4)[::-1, :, 3]
        for code, corner in enumerate(squares, start=1):
            offsets.append([*(corner + 7.0), *(_centre_px(codes == code) - (corner + 7.0))])
    engine.remove_all_windows()
    u, v, du, dv = np.array(offsets).T
    quarters = [(u > width / 2) == east for east in (False, True)]
    quarters += [(v > height / 2) == south for south in (False, True)]
    for quarter in quarters:
        assert abs(du[quarter].mean()) < 0.1 and abs(dv[quarter].mean()) < 0.1


def _facing_squares(
    corners_px: list[np.ndarray], side_px: float, k: Intrinsics, depth_m: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """Give triangles (2 N, 3, 3) in the camera's frame and their colours; alpha counts from 1."""
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)]) * side_px
    u, v = np.moveaxis(np.array(corners_px)[:, None] + square, -1, 0)  # (N, 6) each
    x, y = (u - k.cx_px) / k.fx_px * depth_m, (v - k.cy_px) / k.fy_px * depth_m
    triangles = np.stack([x, y, np.full_like(x, depth_m)], axis=-1).reshape(-1, 3, 3)
    rgba = np.full((len(triangles), 3, 4), 200, dtype=np.uint8)
    rgba[..., 3] = np.repeat(np.arange(1, len(corners_px) + 1), 2)[:, None]
    return triangles, rgba


def test_ids_and_pixel_counts_name_the_entities_that_are_seen(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    near = entity_at("bus", 14.0, 0.0, math.pi / 2, entity_id=70_001)
    behind_it = entity_at("pedestrian", 24.0, 0.0, entity_id=5)
    beside = entity_at("traffic_cone", 8.0, 3.0, entity_id=12)
    render = renderer.render(snapshot_of(near, behind_it, beside), with_ids=True)
    assert render.ids is not None
    assert set(render.visible_px) == {70_001, 12}, "the bus hides the pedestrian"
    assert visible_pixels(np.stack(render.ids)) == render.visible_px
    assert set(np.unique(render.ids)) == {0, 12, 70_001}
    alone = renderer.render(snapshot_of(behind_it))
    assert alone.ids is None
    assert alone.visible_px[5] > 50


def test_every_code_comes_back_exactly(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    # A ring of cones, each in plain view: any rounding of the code would name the wrong one.
    crowd = [
        entity_at(
            "traffic_cone",
            (8.0 + 3.0 * (i % 3)) * math.cos(0.026 * i) + 1.3,
            (8.0 + 3.0 * (i % 3)) * math.sin(0.026 * i),
            entity_id=i + 1,
        )
        for i in range(MAX_ENTITIES)
    ]
    too_far = entity_at("traffic_cone", 80.0, entity_id=999)
    for shown in (crowd, crowd[:100], [*crowd, too_far]):
        render = renderer.render(snapshot_of(*shown), with_ids=True)
        assert render.ids is not None
        assert set(render.visible_px) <= {entity.entity_id for entity in crowd[: len(shown)]}
        assert len(render.visible_px) > 0.9 * min(len(shown), MAX_ENTITIES)
    x, y = survey(snapshot_of(*crowd)).boxes_ego[:, :2].T
    first = CAMERAS.index("front_main")
    for entity_id in (1, 2, 3):
        u, v, _ = pixels_from_ego(
            default_rig().cameras[first], np.array([x[entity_id - 1], y[entity_id - 1], 0.4])
        )
        assert render.ids[first][int(v), int(u)] == entity_id


def test_front_and_back_of_a_car_look_different(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    def redness(turn_rad: float) -> float:
        render = renderer.render(
            snapshot_of(entity_at("car", 10.0, turn_rad=turn_rad)), with_ids=True
        )
        assert render.ids is not None
        shown = np.stack(render.images)[np.stack(render.ids) == 1].astype(float)
        return float(((shown[:, 0] > 250) & (shown[:, 1] < 30)).mean())

    assert redness(0.0) > 0.05, "its tail lamps"
    assert redness(math.pi) == 0.0


def test_picture_depends_on_the_snapshot_alone(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    some = [entity_at("car", 8.0 + 6.0 * i, 3.0, entity_id=i + 1) for i in range(4)]
    others = [
        entity_at(m, 6.0 + 3.0 * i, -2.0, entity_id=90 - i, color_rgb=(0.9, 0.1, 0.1))
        for i, m in enumerate(MESH_SIZES)
    ]
    first = renderer.render(snapshot_of(*some), with_ids=True)
    renderer.render(snapshot_of(*others))
    renderer.render(snapshot_of())
    again = renderer.render(snapshot_of(*reversed(some)), with_ids=True)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.ids is not None and again.ids is not None
    np.testing.assert_array_equal(first.ids, again.ids)


def test_two_processes_render_the_same_bytes() -> None:
    program = textwrap.dedent(
        """
        import hashlib, math
        from edge.contracts.classes import CAR
        from edge.contracts.geometry import Pose
        from edge.contracts.sensors import EgoState, Route
        from sim.render.cameras import Renderer
        from sim.place.maps import load_map
        from sim.sense.rig import default_rig
        from sim.world.snapshot import MESH_SIZES, Entity, Snapshot

        road_map = load_map("grid")
        place = road_map.places[5]
        entities = tuple(
            Entity(i + 1, CAR, mesh, place.x_m + 4 + 4 * i, place.y_m + 3 * math.sin(i), i,
                  *MESH_SIZES[mesh], color_rgb=(0.1 * (i % 9), 0.5, 0.3))
            for i, mesh in enumerate(MESH_SIZES)
        )
        ego = EgoState(stamp_ns=0, world_from_ego=Pose.from_xy_yaw(place.x_m, place.y_m, 0.1))
        renderer = Renderer(road_map, default_rig())
        render = renderer.render(Snapshot(0, 0, ego, Route(), entities), with_ids=True)
        shown = [part.tobytes() for part in (*render.images, *render.ids)]
        print(hashlib.sha256(b"".join(shown)).hexdigest())
        """
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == len(hashlib.sha256().hexdigest())


def test_mirrored_scene_of_entities_gives_mirrored_ids(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    def ids_of(sign: float) -> np.ndarray:
        places = [(12.0, 2.5), (4.0, 7.0), (-9.0, 3.0), (-3.0, -6.0)]
        vans = [
            entity_at("van", x, sign * y, sign * 0.7 * i, entity_id=i + 1)
            for i, (x, y) in enumerate(places)
        ]
        render = renderer.render(snapshot_of(*vans), with_ids=True)
        assert render.ids is not None
        return np.stack(render.ids)

    here, there = ids_of(1.0), ids_of(-1.0)
    mirrored = there[list(MIRRORED_SLOTS), :, ::-1]
    assert (here > 0).sum() > 10_000
    assert (here != mirrored).sum() < 0.03 * (here > 0).sum()


def test_a_quarter_roll_fills_the_box_as_it_lies(entity_at: EntityMaker) -> None:
    lying = entity_at(
        "truck", 10.0, length_m=8.0, width_m=3.2, height_m=2.4, roll_rad=math.pi / 2, z_m=0.5
    )
    corners = mesh_of("truck").triangles.reshape(-1, 3)
    matrix = world_from_unit(lying)
    world = corners @ matrix[:3, :3].T + matrix[:3, 3]
    c, s = math.cos(lying.yaw_rad), math.sin(lying.yaw_rad)
    flat = world[:, :2] - (lying.x_m, lying.y_m)
    local = np.column_stack([flat @ (c, s), flat @ (-s, c), world[:, 2]])
    np.testing.assert_allclose(local.min(axis=0), (-4.0, -1.6, 0.5), atol=1e-9)
    np.testing.assert_allclose(local.max(axis=0), (4.0, 1.6, 2.9), atol=1e-9)


def test_ground_follows_the_ego_across_tiles(
    renderer: Renderer, snapshot_of: SnapshotMaker, road_map: RoadMap
) -> None:
    here = snapshot_of()
    first = renderer.render(here).images
    for place in road_map.places[40:60:5]:
        pose = Pose.from_xy_yaw(place.x_m, place.y_m, place.yaw_rad)
        ego = msgspec.structs.replace(here.ego, world_from_ego=pose)
        road = renderer.render(Snapshot(0, 0, ego, here.route, ())).images[FRONT_MAIN][80:, 64:192]
        assert np.abs(road.astype(int).mean(axis=(0, 1)) - 75).max() < 45, "asphalt ahead"
    np.testing.assert_array_equal(renderer.render(here).images, first)


def test_driving_on_takes_no_more_memory(
    renderer: Renderer, entity_at: EntityMaker, snapshot_of: SnapshotMaker
) -> None:
    crowd = [entity_at("car", 5.0 * i, 4.0, entity_id=i + 1) for i in range(1, 30)]
    here = snapshot_of(*crowd)

    def drive_on(frames: range) -> int:
        for k in frames:
            moved = Pose.from_xy_yaw(0.1 * k, 0.0, 0.001 * k)
            pose = here.ego.world_from_ego @ moved
            ego = msgspec.structs.replace(here.ego, world_from_ego=pose)
            entities = tuple(replace(a, x_m=a.x_m + 0.1 * k, yaw_rad=0.01 * k) for a in crowd)
            renderer.render(Snapshot(k, 0, ego, here.route, entities))
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = drive_on(range(20))
    assert drive_on(range(20, 170)) - before < 12e6


def test_two_renderers_do_not_disturb_each_other(
    renderer: Renderer,
    road_map: RoadMap,
    ground: Ground,
    scenery: Scenery,
    entity_at: EntityMaker,
    snapshot_of: SnapshotMaker,
) -> None:
    snapshot = snapshot_of(entity_at("van", 9.0))
    first = renderer.render(snapshot).images
    small = Renderer(road_map, default_rig(64, 32), ground=ground, scenery=scenery)
    assert {image.shape for image in small.render(snapshot_of()).images} == {(32, 64, 3)}
    small.close()
    np.testing.assert_array_equal(renderer.render(snapshot).images, first)


@pytest.mark.parametrize("chosen", [(1,), (0, 1, 2, 4, 5, 6)], ids=["one camera", "six cameras"])
def test_rig_of_fewer_cameras_sees_what_those_cameras_of_the_eight_see(
    chosen: tuple[int, ...],
    road_map: RoadMap,
    ground: Ground,
    scenery: Scenery,
    renderer: Renderer,
    entity_at: EntityMaker,
    snapshot_of: SnapshotMaker,
) -> None:
    rig = default_rig()
    few = msgspec.structs.replace(rig, cameras=tuple(rig.cameras[k] for k in chosen))
    snapshot = snapshot_of(entity_at("bus", 12.0, 2.0, entity_id=7))
    expected = renderer.render(snapshot, with_ids=True)
    small = Renderer(road_map, few, ground=ground, scenery=scenery)
    seen = small.render(snapshot, with_ids=True)
    small.close()
    np.testing.assert_array_equal(seen.images, [expected.images[k] for k in chosen])
    assert expected.ids is not None and seen.ids is not None
    np.testing.assert_array_equal(seen.ids, [expected.ids[k] for k in chosen])
    assert seen.visible_px == {7: int((np.stack(seen.ids) == 7).sum())}


def test_rig_with_a_fisheye_is_refused(road_map: RoadMap, ground: Ground) -> None:
    rig = default_rig()
    lens = msgspec.structs.replace(
        rig.cameras[3].intrinsics, projection=Projection.FISHEYE, distortion=(0.0,) * 4
    )
    odd = msgspec.structs.replace(rig.cameras[3], intrinsics=lens)
    bent = msgspec.structs.replace(rig, cameras=(*rig.cameras[:3], odd, *rig.cameras[4:]))
    with pytest.raises(OperatorError, match=f"camera {odd.name} has projection"):
        Renderer(road_map, bent, ground=ground)


def test_cameras_of_a_rig_may_differ_in_size(
    road_map: RoadMap,
    ground: Ground,
    scenery: Scenery,
    entity_at: EntityMaker,
    snapshot_of: SnapshotMaker,
) -> None:
    """Each view shows what a rig of its own size shows in it, bit by bit."""
    snapshot = snapshot_of(entity_at("bus", 12.0, 2.0, entity_id=7))
    rig, sizes = default_rig(), [(256, 128), (96, 160), (320, 180), (64, 32), (256, 128)]
    cameras = tuple(
        msgspec.structs.replace(camera, intrinsics=camera.intrinsics.scaled(*size))
        for camera, size in zip(rig.cameras, sizes, strict=False)
    )
    mixed = Renderer(
        road_map, msgspec.structs.replace(rig, cameras=cameras), ground=ground, scenery=scenery
    )
    seen = mixed.render(snapshot, with_ids=True)
    mixed.close()
    assert seen.ids is not None
    shown_px = 0
    for camera, image, ids in zip(cameras, seen.images, seen.ids, strict=True):
        one = msgspec.structs.replace(rig, cameras=(camera,))
        alone = Renderer(road_map, one, ground=ground, scenery=scenery)
        expected = alone.render(snapshot, with_ids=True)
        alone.close()
        np.testing.assert_array_equal(image, expected.images[0])
        assert expected.ids is not None
        np.testing.assert_array_equal(ids, expected.ids[0])
        shown_px += expected.visible_px.get(7, 0)
    assert seen.visible_px == {7: shown_px} and shown_px > 0


def test_unknown_display_is_refused_with_the_remedy(
    road_map: RoadMap, ground: Ground, scenery: Scenery
) -> None:
    with pytest.raises(OperatorError, match="use p3tinydisplay"):
        Renderer(
            road_map,
            default_rig(),
            RenderSettings(pipe="p3nothing"),
            ground=ground,
            scenery=scenery,
        )
