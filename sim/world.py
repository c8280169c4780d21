"""The world as the renderer, the sensors and the vehicle see it: one ``step()`` per camera frame."""

from sim.snapshot import MESH_SIZES, SNAPSHOT_RANGE_M, Actor, Snapshot

__all__ = ["MESH_SIZES", "SNAPSHOT_RANGE_M", "Actor", "Snapshot"]
