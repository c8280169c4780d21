"""Low-poly meshes of road users whose front and back cannot be confused.

A network learns heading only from meshes that show it: with front-back symmetric boxes the sine and cosine of
the two possible answers cancel and the learnt yaw is noise. So bonnets are lower than cabins, head lamps are
white and tail lamps red, windscreens differ from rear windows, cabs from boxes, faces from hair. Every mesh
fills the unit box x, y in [-0.5, 0.5], z in [0, 1] (x forward, y left, z up), so that a truth box scaled to
an entity's size touches the drawn object on all sides. Shading is baked into the face colours (a bright sky,
no sun direction), because lights are slow in software rendering.
"""

from __future__ import annotations

from functools import cache

from edge.contracts.rows import complete
from sim.render.sculpture import (
    BOTTOM,
    FRONT,
    HEAD_LAMP,
    LEFT,
    REAR,
    RIGHT,
    RUBBER,
    TAIL_LAMP,
    TOP,
    Mesh,
    Paint,
    Sculpture,
)
from sim.world.snapshot import MESH_SIZES

BODYWORK = Paint(1.0, 1.0, 1.0, is_tinted=True)
TRIM = Paint(0.6, 0.6, 0.6, is_tinted=True)
UNDERSIDE = Paint(0.16, 0.15, 0.15)
WINDSCREEN = Paint(0.52, 0.66, 0.78)
WINDOW = Paint(0.16, 0.20, 0.25)
GRILLE = Paint(0.13, 0.13, 0.14)
YELLOW_LAMP = Paint(1.0, 1.0, 0.10, is_glowing=True)
CARGO = Paint(0.90, 0.90, 0.87)
DOORS = Paint(0.62, 0.63, 0.64)
STEEL = Paint(0.50, 0.50, 0.48)
SKIN = Paint(0.88, 0.68, 0.54)
HAIR = Paint(0.20, 0.14, 0.10)
TROUSERS = Paint(0.20, 0.22, 0.34)
SHOES = Paint(0.08, 0.08, 0.08)
ORANGE = Paint(0.98, 0.40, 0.05)
WHITE = Paint(0.94, 0.94, 0.92)
RED = Paint(0.80, 0.10, 0.08)
FUR_DARK = Paint(0.68, 0.66, 0.64, is_tinted=True)
FUR_LIGHT = Paint(0.90, 0.84, 0.74)


def _car(s: Sculpture) -> None:
    lower = [
        (2.15, 0.20, 0.84),
        (2.25, 0.58, 0.87),
        (2.12, 0.78, 0.85),
        (0.95, 0.98, 0.86),
        (-2.05, 1.02, 0.84),
        (-2.25, 0.95, 0.84),
        (-2.25, 0.50, 0.87),
        (-2.12, 0.20, 0.84),
    ]
    s.profile(
        lower, [GRILLE, BODYWORK, BODYWORK, None, BODYWORK, BODYWORK, TRIM, UNDERSIDE], BODYWORK
    )
    cabin = [(1.00, 0.95, 0.80), (0.20, 1.50, 0.64), (-1.45, 1.50, 0.64), (-2.10, 0.98, 0.78)]
    s.profile(cabin, [WINDSCREEN, BODYWORK, WINDOW, None], WINDOW)
    s.wheels((1.40, -1.35), 0.90, 0.34)
    s.front_pair(HEAD_LAMP, 2.28, (0.42, 0.84), (0.58, 0.76))
    s.rear_pair(TAIL_LAMP, -2.28, (0.48, 0.84), (0.62, 0.90))
    s.corner_lamps(0.89, (1.98, 2.22), (-2.24, -2.00), 0.68)


def _van(s: Sculpture) -> None:
    outline = [
        (2.50, 0.25, 0.92),
        (2.60, 0.60, 0.96),
        (2.50, 1.00, 0.95),
        (1.95, 1.22, 0.95),
        (1.15, 2.12, 0.86),
        (0.90, 2.20, 0.86),
        (-2.55, 2.20, 0.88),
        (-2.60, 0.30, 0.96),
    ]
    s.profile(
        outline,
        [GRILLE, BODYWORK, BODYWORK, WINDSCREEN, BODYWORK, BODYWORK, BODYWORK, UNDERSIDE],
        BODYWORK,
    )
    s.side_panels(WINDOW, (0.55, 1.45), 0.99, (1.22, 1.72))
    s.wheels((1.65, -1.60), 1.0, 0.36)
    s.front_pair(HEAD_LAMP, 2.62, (0.52, 0.92), (0.70, 0.98))
    s.rear_pair(TAIL_LAMP, -2.64, (0.74, 0.95), (0.75, 1.55))
    s.corner_lamps(0.99, (2.28, 2.56), (-2.60, -2.45), 0.85)
    s.rear_pair(WINDOW, -2.64, (0.10, 0.66), (1.30, 1.95))


def _truck(s: Sculpture) -> None:
    s.hull(
        (2.25, 4.0),
        (-1.15, 1.15),
        (0.45, 2.75),
        BODYWORK,
        top_x=(2.25, 3.85),
        faces={BOTTOM: UNDERSIDE},
    )
    s.polygon(
        WINDSCREEN,
        (3.94, -1.05, 1.60),
        (3.94, 1.05, 1.60),
        (3.88, 1.05, 2.50),
        (3.88, -1.05, 2.50),
    )
    s.front_panel(GRILLE, 4.03, (-0.60, 0.60), (0.75, 1.30))
    s.front_pair(HEAD_LAMP, 4.03, (0.68, 1.08), (0.70, 1.00))
    s.side_panels(WINDOW, (2.70, 3.70), 1.19, (1.60, 2.30))
    s.hull((-4.0, 2.05), (-1.2, 1.2), (0.95, 3.2), CARGO, faces={BOTTOM: UNDERSIDE, REAR: DOORS})
    s.rear_panel(GRILLE, -4.03, (-0.04, 0.04), (1.00, 3.10))
    s.hull((-3.95, 2.3), (-0.45, 0.45), (0.50, 0.95), UNDERSIDE, faces={TOP: None, BOTTOM: STEEL})
    s.rear_panel(GRILLE, -4.0, (-1.15, 1.15), (0.60, 0.95))
    s.rear_pair(TAIL_LAMP, -4.05, (0.60, 1.15), (0.62, 0.93))
    s.corner_lamps(1.19, (3.75, 3.98), (-4.04, -3.80), 0.80)
    s.axles((3.05, -2.60), 1.19, 0.48)


def _bus(s: Sculpture) -> None:
    s.hull((-5.5, 5.5), (-1.25, 1.25), (0.35, 3.1), BODYWORK, faces={BOTTOM: UNDERSIDE})
    s.side_panels(WINDOW, (-5.1, 5.2), 1.29, (1.35, 2.45))
    s.front_panel(WINDSCREEN, 5.54, (-1.15, 1.15), (1.05, 2.45))
    s.front_panel(YELLOW_LAMP, 5.54, (-0.90, 0.90), (2.58, 2.98))
    s.front_pair(HEAD_LAMP, 5.54, (0.70, 1.15), (0.55, 0.85))
    s.rear_panel(WINDOW, -5.54, (-0.80, 0.80), (1.95, 2.60))
    s.rear_panel(GRILLE, -5.54, (-0.75, 0.75), (0.60, 1.45))
    s.rear_pair(TAIL_LAMP, -5.55, (0.90, 1.18), (0.60, 1.50))
    s.corner_lamps(1.29, (5.15, 5.50), (-5.50, -5.20), 0.72)
    s.wheels((3.3, -2.9), 1.28, 0.48)


def _trailer(s: Sculpture) -> None:
    s.hull((-4.5, 3.6), (-1.25, 1.25), (0.95, 3.4), CARGO, faces={BOTTOM: UNDERSIDE, REAR: DOORS})
    s.side_panels(BODYWORK, (-4.3, 3.4), 1.29, (1.30, 2.00))
    s.front_panel(TRIM, 3.64, (-1.1, 1.1), (1.2, 2.6))
    s.hull((3.0, 4.5), (-0.5, 0.5), (0.60, 0.98), STEEL, faces={TOP: TRIM})
    s.rear_panel(RED, -4.53, (-1.2, 1.2), (0.95, 1.12))
    s.rear_pair(TAIL_LAMP, -4.56, (0.70, 1.20), (0.62, 0.95))
    s.hull((-4.4, -0.6), (-0.5, 0.5), (0.5, 0.95), UNDERSIDE, faces={TOP: None, BOTTOM: STEEL})
    s.axles((-1.6, -2.9), 1.24, 0.48)


def _construction_vehicle(s: Sculpture) -> None:
    engine: dict[int, Paint | None] = {REAR: GRILLE, FRONT: None}
    s.hull((-3.25, -0.3), (-0.85, 0.85), (0.75, 1.95), BODYWORK, top_x=(-3.0, -0.3), faces=engine)
    cabin: dict[int, Paint | None] = {FRONT: WINDSCREEN, TOP: None, BOTTOM: None}
    s.hull((-0.9, 0.7), (-0.75, 0.75), (1.10, 2.65), WINDOW, faces=cabin)
    s.hull((-1.0, 0.8), (-0.8, 0.8), (2.65, 2.85), BODYWORK, faces={BOTTOM: None})
    s.hull((-0.25, 0.05), (-0.15, 0.15), (2.85, 3.0), YELLOW_LAMP, faces={BOTTOM: None})
    s.hull((-0.3, 1.5), (-0.6, 0.6), (0.55, 1.25), TRIM, faces={REAR: None, TOP: None})
    arms = [(2.50, 0.60, 0.5), (2.55, 0.90, 0.5), (0.70, 1.80, 0.5), (0.40, 1.50, 0.5)]
    s.profile(arms, [None, BODYWORK, None, BODYWORK], BODYWORK)
    s.hull((2.35, 3.25), (-1.25, 1.25), (0.0, 0.25), STEEL, faces={BOTTOM: UNDERSIDE})
    s.hull((2.35, 2.55), (-1.25, 1.25), (0.25, 1.15), STEEL, faces={BOTTOM: None})
    s.wheels((1.25, -1.9), 1.05, 0.75)
    s.rear_pair(TAIL_LAMP, -3.29, (0.50, 0.80), (0.85, 1.10))
    s.front_pair(HEAD_LAMP, 1.54, (0.32, 0.58), (1.00, 1.24))


def _two_wheels(s: Sculpture, wheelbase: float, radius: float, half: float) -> None:
    """Add two upright wheels in line, seen from both sides and, thin, from the ends."""
    for x in (0.5 * wheelbase, -0.5 * wheelbase):
        s.hull(
            (x - 0.55 * radius, x + 0.55 * radius),
            (-half, half),
            (0.0, 2 * radius),
            RUBBER,
            faces={TOP: None, BOTTOM: None, LEFT: None, RIGHT: None},
        )
    s.wheels((0.5 * wheelbase, -0.5 * wheelbase), half, radius)


def _motorcycle(s: Sculpture) -> None:
    _two_wheels(s, 1.44, 0.33, 0.08)
    s.hull(
        (-0.75, 0.70),
        (-0.16, 0.16),
        (0.42, 0.88),
        BODYWORK,
        top_x=(-0.85, 0.45),
        faces={BOTTOM: None},
    )
    s.hull((0.42, 0.58), (-0.40, 0.40), (0.98, 1.04), STEEL, faces={LEFT: None, RIGHT: None})
    s.hull(  # The rider leans over the tank, towards the front.
        (-0.50, -0.12),
        (-0.24, 0.24),
        (0.85, 1.38),
        TROUSERS,
        top_x=(-0.12, 0.22),
        faces={BOTTOM: None},
    )
    s.hull((0.02, 0.32), (-0.14, 0.14), (1.34, 1.62), WHITE, faces={BOTTOM: None, FRONT: WINDOW})
    s.front_panel(HEAD_LAMP, 0.74, (-0.13, 0.13), (0.72, 0.94))
    s.rear_panel(TAIL_LAMP, -0.90, (-0.11, 0.11), (0.72, 0.88))


def _bicycle(s: Sculpture) -> None:
    _two_wheels(s, 1.10, 0.35, 0.03)
    s.hull((-0.45, 0.45), (-0.04, 0.04), (0.45, 0.62), STEEL, faces={FRONT: None, REAR: None})
    s.hull((0.34, 0.46), (-0.33, 0.33), (0.98, 1.04), STEEL, faces={LEFT: None, RIGHT: None})
    s.hull((-0.05, 0.16), (-0.14, 0.14), (0.28, 0.95), TROUSERS, top_x=(-0.28, 0.02))
    s.hull(
        (-0.32, -0.02),
        (-0.20, 0.20),
        (0.92, 1.46),
        BODYWORK,
        top_x=(-0.10, 0.18),
        faces={BOTTOM: None},
    )
    s.hull((-0.02, 0.20), (-0.10, 0.10), (1.46, 1.75), HAIR, faces={BOTTOM: None, FRONT: SKIN})
    s.front_panel(HEAD_LAMP, 0.56, (-0.08, 0.08), (0.78, 0.94))
    s.rear_panel(TAIL_LAMP, -0.52, (-0.08, 0.08), (0.72, 0.88))


def _pedestrian(s: Sculpture) -> None:
    no_lid: dict[int, Paint | None] = {TOP: None, BOTTOM: SHOES}
    s.hull((0.02, 0.25), (0.03, 0.17), (0.0, 0.84), TROUSERS, top_x=(-0.08, 0.12), faces=no_lid)
    s.hull((-0.25, -0.05), (-0.17, -0.03), (0.0, 0.84), TROUSERS, top_x=(-0.11, 0.10), faces=no_lid)
    s.hull((-0.13, 0.13), (-0.20, 0.20), (0.80, 1.45), BODYWORK, faces={BOTTOM: None})
    for y, x in ((0.20, -0.12), (-0.30, 0.02)):
        s.hull(
            (x, x + 0.12),
            (y, y + 0.10),
            (0.80, 1.42),
            TRIM,
            top_x=(-0.06, 0.06),
            faces={BOTTOM: SKIN},
        )
    s.hull((-0.12, 0.12), (-0.10, 0.10), (1.45, 1.75), HAIR, faces={FRONT: SKIN, BOTTOM: None})


def _traffic_cone(s: Sculpture) -> None:
    s.hull((-0.225, 0.225), (-0.225, 0.225), (0.0, 0.05), RUBBER, faces={BOTTOM: None})
    for (r0, z0), (r1, z1), paint in (
        ((0.18, 0.05), (0.135, 0.28), ORANGE),
        ((0.135, 0.28), (0.095, 0.48), WHITE),
        ((0.095, 0.48), (0.04, 0.75), ORANGE),
    ):
        lid = None if z1 < 0.75 else paint
        s.hull(
            (-r0, r0),
            (-r0, r0),
            (z0, z1),
            paint,
            top_x=(-r1, r1),
            top_y=(-r1, r1),
            faces={TOP: lid, BOTTOM: None},
        )


def _barrier(s: Sculpture) -> None:
    for y in (-0.85, 0.65):
        s.hull(
            (-0.25, 0.25),
            (y, y + 0.2),
            (0.0, 0.15),
            STEEL,
            top_x=(-0.08, 0.08),
            faces={BOTTOM: None},
        )
        s.hull(
            (-0.04, 0.04), (y + 0.06, y + 0.14), (0.15, 0.5), STEEL, faces={TOP: None, BOTTOM: None}
        )
    for k in range(5):
        y = -1.0 + 0.4 * k
        ends: dict[int, Paint | None] = {BOTTOM: None, LEFT: None, RIGHT: None}
        s.hull((-0.06, 0.06), (y, y + 0.4), (0.45, 1.0), (RED, WHITE)[k % 2], faces=ends)


def _animal(s: Sculpture) -> None:
    s.hull(
        (-0.70, 0.42),
        (-0.24, 0.24),
        (0.68, 1.14),
        BODYWORK,
        top_x=(-0.62, 0.34),
        top_y=(-0.17, 0.17),
        faces={REAR: FUR_LIGHT, BOTTOM: FUR_LIGHT},
    )
    for x, foot in ((0.26, 0.34), (0.14, 0.04), (-0.52, -0.46), (-0.62, -0.78)):
        y = 0.10 if foot in (0.34, -0.78) else -0.20
        s.hull(
            (foot, foot + 0.08),
            (y, y + 0.09),
            (0.0, 0.70),
            FUR_DARK,
            top_x=(x, x + 0.13),
            faces={TOP: None, BOTTOM: None},
        )
    s.hull(
        (0.20, 0.44),
        (-0.13, 0.13),
        (0.95, 1.42),
        BODYWORK,
        top_x=(0.50, 0.70),
        top_y=(-0.09, 0.09),
        faces={BOTTOM: None, TOP: None},
    )
    s.hull(
        (0.46, 0.92),
        (-0.09, 0.09),
        (1.22, 1.42),
        BODYWORK,
        top_x=(0.46, 0.74),
        faces={FRONT: FUR_DARK},
    )
    s.polygon(FUR_DARK, (0.52, 0.05, 1.40), (0.52, 0.275, 1.50), (0.44, 0.07, 1.42))
    s.polygon(FUR_DARK, (0.44, -0.07, 1.42), (0.52, -0.275, 1.50), (0.52, -0.05, 1.40))
    s.polygon(
        FUR_LIGHT,
        (-0.70, 0.06, 0.80),
        (-0.70, -0.06, 0.80),
        (-0.66, -0.05, 1.12),
        (-0.66, 0.05, 1.12),
    )


def _debris(s: Sculpture) -> None:
    s.hull(
        (-0.45, 0.10), (-0.30, 0.25), (0.0, 0.40), RUBBER, top_x=(-0.35, -0.02), top_y=(-0.15, 0.2)
    )
    s.hull((-0.30, 0.45), (-0.35, 0.05), (0.0, 0.16), TRIM, top_x=(-0.15, 0.40), top_y=(-0.25, 0.0))
    s.hull((0.05, 0.38), (0.08, 0.35), (0.0, 0.26), WHITE, top_x=(0.12, 0.30), faces={BOTTOM: None})


_SCULPTORS = complete(
    {
        "car": _car,
        "van": _van,
        "truck": _truck,
        "bus": _bus,
        "trailer": _trailer,
        "construction_vehicle": _construction_vehicle,
        "motorcycle": _motorcycle,
        "bicycle": _bicycle,
        "pedestrian": _pedestrian,
        "traffic_cone": _traffic_cone,
        "barrier": _barrier,
        "animal": _animal,
        "debris": _debris,
    },
    MESH_SIZES,
    "sim/render/meshes.py",
)


@cache
def mesh_of(name: str) -> Mesh:
    """Build the mesh of that name, a key of ``MESH_SIZES``."""
    sculpture = Sculpture()
    _SCULPTORS[name](sculpture)
    return sculpture.mesh()
