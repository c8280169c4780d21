"""Axes, units and frames of reference.

Axes: *world* x east, y north, z up; *ego* x forward, y left, z up, origin on the ground under the rear axle;
*cam* x right, y down, z forward. Metres, radians, right-handed. A transform is named ``a_from_b`` so that
``points_a = a_from_b @ points_b`` can be checked by reading it.
"""

from __future__ import annotations

import math
from typing import Self, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contracts.fields import Metres, Unit

Array = NDArray[np.float64]


def wrap_rad(angle_rad: float) -> float:
    """Bring an angle into [-pi, pi)."""
    wrapped = math.remainder(angle_rad, math.tau)
    return -math.pi if wrapped == math.pi else wrapped


class Pose(msgspec.Struct, frozen=True, kw_only=True):
    """A rigid transform: unit quaternion (Hamilton, scalar first) and translation in metres."""

    x_m: Metres = 0.0
    y_m: Metres = 0.0
    z_m: Metres = 0.0
    qw: Unit = 1.0
    qx: Unit = 0.0
    qy: Unit = 0.0
    qz: Unit = 0.0

    def __post_init__(self) -> None:
        norm = math.sqrt(self.qw**2 + self.qx**2 + self.qy**2 + self.qz**2)
        if not abs(norm - 1.0) < 1e-3:
            raise ValueError(f"a rotation needs a unit quaternion, got norm {norm:.6f}")

    @classmethod
    def from_xy_yaw(cls, x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> Self:
        """Build the pose of something that stands on flat ground."""
        half = 0.5 * wrap_rad(yaw_rad)
        return cls(x_m=x_m, y_m=y_m, z_m=z_m, qw=math.cos(half), qz=math.sin(half))

    @classmethod
    def from_matrix(cls, matrix: Array) -> Self:
        """Build a pose from a (4, 4) homogeneous matrix (Shepperd's method for the quaternion)."""
        r = np.asarray(matrix, dtype=np.float64)[:3, :3]
        diagonal = np.array([r[0, 0] + r[1, 1] + r[2, 2], r[0, 0], r[1, 1], r[2, 2]])
        k = int(np.argmax(diagonal))
        if k == 0:
            q = np.array([1 + diagonal[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
        else:
            i, j, n = k - 1, k % 3, (k + 1) % 3
            q = np.empty(4)
            q[0] = r[n, j] - r[j, n]
            q[1 + i] = 1 + r[i, i] - r[j, j] - r[n, n]
            q[1 + j] = r[j, i] + r[i, j]
            q[1 + n] = r[n, i] + r[i, n]
        q = q / np.linalg.norm(q)
        x, y, z = (float(v) for v in np.asarray(matrix)[:3, 3])
        return cls(
            x_m=x, y_m=y, z_m=z, qw=float(q[0]), qx=float(q[1]), qy=float(q[2]), qz=float(q[3])
        )

    @property
    def yaw_rad(self) -> float:
        """Heading about z, in [-pi, pi]."""
        return math.atan2(
            2.0 * (self.qw * self.qz + self.qx * self.qy),
            1.0 - 2.0 * (self.qy**2 + self.qz**2),
        )

    @property
    def rotation(self) -> Array:
        """The (3, 3) rotation matrix."""
        w, x, y, z = self.qw, self.qx, self.qy, self.qz
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    @property
    def translation(self) -> Array:
        """The (3,) translation in metres."""
        return np.array([self.x_m, self.y_m, self.z_m])

    @property
    def matrix(self) -> Array:
        """The (4, 4) homogeneous matrix."""
        out = np.eye(4)
        out[:3, :3] = self.rotation
        out[:3, 3] = self.translation
        return out

    def inverse(self) -> Pose:
        """Turn ``a_from_b`` into ``b_from_a``."""
        x, y, z = -self.rotation.T @ self.translation
        return Pose(
            x_m=float(x),
            y_m=float(y),
            z_m=float(z),
            qw=self.qw,
            qx=-self.qx,
            qy=-self.qy,
            qz=-self.qz,
        )

    @overload
    def __matmul__(self, other: Pose) -> Pose: ...
    @overload
    def __matmul__(self, other: Array) -> Array: ...
    def __matmul__(self, other: Pose | Array) -> Pose | Array:
        """Compose two poses, or move points of shape (..., 3)."""
        if isinstance(other, Pose):
            return Pose.from_matrix(self.matrix @ other.matrix)
        return np.asarray(other, dtype=np.float64) @ self.rotation.T + self.translation
