"""Road users, roads and situations for paper-sized planning tests."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edge.contracts.classes import CAR
from edge.contracts.scene import Agent, Box3D, Trajectory
from edge.contracts.sensors import Route
from edge.plan.path import Path, path_from_points


def make_agent(
    x_m: float, y_m: float, vx_mps: float = 0.0, vy_mps: float = 0.0, **changes
) -> Agent:
    """A confirmed car of 4 m by 2 m, unless ``changes`` of its box say otherwise."""
    box = {
        "category": CAR,
        "x_m": x_m,
        "y_m": y_m,
        "z_m": 0.8,
        "length_m": 4.0,
        "width_m": 2.0,
        "height_m": 1.5,
        "yaw_rad": 0.0,
        "vx_mps": vx_mps,
        "vy_mps": vy_mps,
    }
    futures: Sequence[Trajectory] = changes.pop("futures", ())
    is_confirmed = changes.pop("is_confirmed", True)
    return Agent(
        track_id=1,
        box=Box3D(**(box | changes)),
        first_seen_ns=0,
        hits=20,
        is_confirmed=is_confirmed,
        futures=tuple(futures),
    )


@pytest.fixture
def agent() -> Callable[..., Agent]:
    return make_agent


@pytest.fixture
def straight_route() -> Route:
    """100 m straight ahead at 10 m/s."""
    points = tuple((2.0 * k, 0.0) for k in range(51))
    return Route(points_ego=points, speed_limit_mps=10.0)


@pytest.fixture
def straight_path() -> Path:
    path = path_from_points(np.array([[0.0, 0.0], [100.0, 0.0]]))
    assert path is not None
    return path
