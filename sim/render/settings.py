"""Settings of pictures; reading them needs no Panda3D."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StaticSceneSettings:
    """How much of the ground, the scenery and the horizon is kept ready around the ego."""

    tile_reach: int = 2
    """Ground tiles on each side of the ego's own; 2 tiles of 51 m cover the far plane."""
    cells: int = 24
    """Scenery is merged in this many by this many cells of the map."""
    horizon_m: float = 97.0
    """Radius of the hazy ring that hides the edge of the ground; a little inside the far plane."""


@dataclass
class RenderSettings:
    """Settings of drawing the world."""

    pipe: str = "p3tinydisplay"
    """Panda3D display: ``p3tinydisplay`` (software, pip only) or ``p3headlessgl`` (EGL)."""
    near_m: float = 0.4
    """Things nearer to a camera are not drawn."""
    far_m: float = 100.0
    """Things further from a camera are not drawn."""
    sky_rgb: tuple[float, float, float] = (0.62, 0.75, 0.90)
    """Colour of the sky by day: red, green and blue, 0 to 1."""
    static_scene: StaticSceneSettings = field(default_factory=StaticSceneSettings)
