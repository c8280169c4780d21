import numpy as np
import pytest

from sim.render.meshes import mesh_of
from sim.render.sculpture import HEAD_LAMP, TAIL_LAMP, Mesh, Paint
from sim.world.snapshot import MESH_SIZES

WITH_LAMPS = ("car", "van", "truck", "bus", "motorcycle", "bicycle", "construction_vehicle")


def painted(mesh: Mesh, paint: Paint) -> np.ndarray:
    """Centres (K, 3) of the triangles in exactly this colour."""
    same = np.all(np.isclose(mesh.colors, (paint.red, paint.green, paint.blue)), axis=1)
    return mesh.triangles[same].mean(axis=1)


@pytest.mark.parametrize("name", MESH_SIZES)
def test_mesh_fills_its_unit_box(name: str) -> None:
    corners = mesh_of(name).triangles.reshape(-1, 3)
    np.testing.assert_allclose(corners.min(axis=0), (-0.5, -0.5, 0.0), atol=1e-12)
    np.testing.assert_allclose(corners.max(axis=0), (0.5, 0.5, 1.0), atol=1e-12)


@pytest.mark.parametrize("name", MESH_SIZES)
def test_mesh_has_few_triangles_and_none_is_degenerate(name: str) -> None:
    triangles = mesh_of(name).triangles * MESH_SIZES[name]
    edges = triangles[:, 1:] - triangles[:, :1]
    areas = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    assert 12 <= len(triangles) <= 100
    assert areas.min() > 1e-4


@pytest.mark.parametrize("name", MESH_SIZES)
def test_mesh_is_wound_outward(name: str) -> None:
    # By the divergence theorem a closed surface seen from outside has a positive volume.
    a, b, c = np.moveaxis(mesh_of(name).triangles - (0.0, 0.0, 0.5), 1, 0)
    assert (a * np.cross(b, c)).sum() / 6.0 > 0.0


@pytest.mark.parametrize("name", WITH_LAMPS)
def test_white_lamps_are_ahead_and_red_ones_behind(name: str) -> None:
    mesh = mesh_of(name)
    heads, tails = painted(mesh, HEAD_LAMP), painted(mesh, TAIL_LAMP)
    assert len(heads) >= 2 and len(tails) >= 2
    assert heads[:, 0].min() > 0.1
    assert tails[:, 0].max() < -0.3


def test_bonnet_is_lower_than_the_boot_half_of_a_car() -> None:
    corners = mesh_of("car").triangles.reshape(-1, 3)
    ahead = corners[corners[:, 0] > 0.3, 2].max()
    behind = corners[corners[:, 0] < -0.3, 2].max()
    assert ahead < 0.65 < behind


def test_full_brightness_is_kept_for_lamps() -> None:
    for name in MESH_SIZES:
        colors = mesh_of(name).colors
        brightest = np.unique(colors[(colors == 1.0).any(axis=1)], axis=0)
        assert all(color[0] == 1.0 and color[2] in (1.0, 0.04, 0.1) for color in brightest)


def test_underside_of_a_truck_is_darker_than_its_box() -> None:
    mesh = mesh_of("truck")
    edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    is_below = (normal[:, 2] < 0) & (np.abs(normal[:, :2]).max(axis=1) < 1e-12)
    is_above = (normal[:, 2] > 0) & (np.abs(normal[:, :2]).max(axis=1) < 1e-12)
    assert np.median(mesh.colors[is_below]) < 0.3 < np.median(mesh.colors[is_above])
