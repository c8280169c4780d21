"""The rig of a simulated vehicle, ``conf/rig/sim_eight.yaml`` unless another is asked for."""

from __future__ import annotations

import functools
from dataclasses import replace

from conf.named import load
from edge.board.rig import RigFile, rig_of
from edge.contracts.rig import Rig

RIG = "sim_eight"


@functools.cache
def default_rig(width_px: int | None = None, height_px: int | None = None) -> Rig:
    """Return the rig that simulated vehicles carry.

    Args:
        width_px: Columns of every image instead of the file's.
        height_px: Rows of every image instead of the file's.
    """
    file = load("rig", RIG, RigFile)
    cameras = {
        name: replace(
            camera, width_px=width_px or camera.width_px, height_px=height_px or camera.height_px
        )
        for name, camera in file.cameras.items()
    }
    return rig_of(replace(file, cameras=cameras))
