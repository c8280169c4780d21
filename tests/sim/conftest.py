"""One small world to look at, and records to put into it. Painting a map takes a second: do it once."""

import math
from collections.abc import Callable, Iterator

import pytest

from edge.contracts.classes import CAR
from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.scene import Attribute
from edge.contracts.sensors import EgoState, Route
from edge.contracts.time import frame_stamp_ns
from sim.place.ground import Ground
from sim.place.maps import RoadMap, load_map
from sim.place.scenery import Scenery, furnish
from sim.render.cameras import Renderer
from sim.sense.rig import default_rig
from sim.world.snapshot import MESH_SIZES, Entity, Snapshot

EntityMaker = Callable[..., Entity]
SnapshotMaker = Callable[..., Snapshot]


@pytest.fixture(scope="session")
def road_map() -> RoadMap:
    return load_map("suburb")


@pytest.fixture(scope="session")
def ground(road_map: RoadMap) -> Ground:
    return Ground(road_map)


@pytest.fixture(scope="session")
def scenery(road_map: RoadMap, ground: Ground) -> Scenery:
    return furnish(road_map, ground)


@pytest.fixture(scope="session")
def rig() -> Rig:
    return default_rig()


@pytest.fixture(scope="session")
def renderer(road_map: RoadMap, rig: Rig, ground: Ground, scenery: Scenery) -> Iterator[Renderer]:
    renderer = Renderer(road_map, rig, ground=ground, scenery=scenery)
    yield renderer
    renderer.close()


@pytest.fixture(scope="session")
def ego_pose(road_map: RoadMap) -> Pose:
    """On a straight piece of road, away from junctions."""
    place = road_map.places[20]
    return Pose.from_xy_yaw(place.x_m, place.y_m, place.yaw_rad)


@pytest.fixture(scope="session")
def entity_at(ego_pose: Pose) -> EntityMaker:
    """Make an entity at a place relative to the ego, of its mesh's nominal size."""

    def make(
        mesh: str,
        ahead_m: float,
        left_m: float = 0.0,
        turn_rad: float = 0.0,
        *,
        entity_id: int = 1,
        speed_mps: float = 0.0,
        **changes: object,
    ) -> Entity:
        x, y, _ = ego_pose @ [ahead_m, left_m, 0.0]
        yaw = ego_pose.yaw_rad + turn_rad
        length, width, height = MESH_SIZES[mesh]
        values = {
            "category": CAR if mesh == "van" else mesh,
            "length_m": length,
            "width_m": width,
            "height_m": height,
            "color_rgb": (0.2, 0.4, 0.8),
            "attribute": Attribute.MOVING if speed_mps else Attribute.STOPPED,
        }
        return Entity(
            entity_id=entity_id,
            mesh=mesh,
            x_m=float(x),
            y_m=float(y),
            yaw_rad=yaw,
            vx_mps=speed_mps * math.cos(yaw),
            vy_mps=speed_mps * math.sin(yaw),
            **(values | changes),  # type: ignore[arg-type]
        )

    return make


@pytest.fixture(scope="session")
def snapshot_of(ego_pose: Pose, rig: Rig) -> SnapshotMaker:
    """Make a snapshot of entities around the ego."""

    def make(*entities: Entity, frame_index: int = 0) -> Snapshot:
        stamp_ns = frame_stamp_ns(frame_index)
        ego = EgoState(stamp_ns=stamp_ns, world_from_ego=ego_pose, speed_mps=8.0)
        return Snapshot(frame_index, stamp_ns, ego, Route(), entities, body=rig.body)

    return make
