"""Lay the views of a rig's cameras out in one buffer: rows of at most four, each as high as its highest."""

from __future__ import annotations

from dataclasses import dataclass

from edge.contracts.rig import Rig

_COLUMNS = 4
"""The most views side by side in the buffer."""


@dataclass(frozen=True)
class Tile:
    """Where one view lies, in pixels from the top left corner of the buffer."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    @property
    def rows(self) -> slice:
        """Rows of the buffer that show the view."""
        return slice(self.top_px, self.top_px + self.height_px)

    @property
    def columns(self) -> slice:
        """Columns of the buffer that show the view."""
        return slice(self.left_px, self.left_px + self.width_px)


@dataclass(frozen=True)
class Sheet:
    """The buffer of a rig: its size, and one tile per camera in the rig's order."""

    width_px: int
    height_px: int
    tiles: tuple[Tile, ...]

    def region(self, tile: Tile) -> tuple[float, float, float, float]:
        """Return left, right, bottom and top of a tile as shares of the buffer, from its bottom left."""
        return (
            tile.columns.start / self.width_px,
            tile.columns.stop / self.width_px,
            1.0 - tile.rows.stop / self.height_px,
            1.0 - tile.rows.start / self.height_px,
        )


def sheet_of(rig: Rig) -> Sheet:
    """Lay out the views of a rig; cameras may differ in size."""
    sizes = [(c.intrinsics.width_px, c.intrinsics.height_px) for c in rig.cameras]
    tiles: list[Tile] = []
    top = 0
    for first in range(0, len(sizes), _COLUMNS):
        row, left = sizes[first : first + _COLUMNS], 0
        for width, height in row:
            tiles.append(Tile(left, top, width, height))
            left += width
        top += max(height for _, height in row)
    return Sheet(max(tile.columns.stop for tile in tiles), top, tuple(tiles))
