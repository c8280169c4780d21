"""Records of the contracts as Foxglove messages, so that Foxglove, Lichtblick and Rerun show a clip as it is.

Frames of reference: ``world`` → ``ego`` (each tick) → ``front_main`` … (once). Axes already agree: x
forward, y left, z up for the ego; x right, y down, z forward for a camera. Pixels do not: Foxglove, like
ROS, puts the centre of the top-left pixel at (0, 0), the contracts put it at (0.5, 0.5).
"""

from __future__ import annotations

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.Color_pb2 import Color
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.LinePrimitive_pb2 import LinePrimitive
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.Pose_pb2 import Pose as PoseMessage
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.SceneEntity_pb2 import SceneEntity
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from edge.clip_file.instant import Instant
from edge.contracts.classes import row_of
from edge.contracts.errors import SchemaError
from edge.contracts.geometry import Pose
from edge.contracts.rig import Camera, Projection
from edge.contracts.scene import Box3D, Perception, Plan
from edge.contracts.sensors import RADAR_FIELDS, EgoState, RadarScan
from edge.contracts.time import NS_PER_S

WORLD, EGO = "world", "ego"

RADAR_COLUMNS = ("x", "y", "z", *RADAR_FIELDS[2:])
"""The point cloud's fields: viewers insist on z, which the radar does not measure and is 0."""
SENSOR_COLUMN = "sensor"
"""One more field, uint8, where more than one radar measured."""
_RADAR_KEPT = (0, 1, 3, 4)
_RADAR_STRIDE = 4 * len(RADAR_COLUMNS)
_POINT = np.dtype([("values", "<f4", len(RADAR_COLUMNS)), (SENSOR_COLUMN, "u1")])
_DISTORTION_MODELS = {
    Projection.BROWN_CONRADY: "plumb_bob",
    Projection.FISHEYE: "kannala_brandt",
}

_PLAN_COLOR = (0.2, 0.9, 0.4)


def compressed_image(jpeg: bytes, frame_id: str, stamp_ns: int) -> CompressedImage:
    """Wrap a JPEG."""
    return CompressedImage(
        timestamp=_timestamp(stamp_ns), frame_id=frame_id, data=jpeg, format="jpeg"
    )


def jpeg_from_message(payload: bytes) -> bytes:
    """Unwrap a JPEG.

    Raises:
        SchemaError: It is not a CompressedImage that holds a JPEG.
    """
    try:
        message = CompressedImage.FromString(payload)
    except DecodeError as error:
        raise SchemaError(f"an image message does not decode: {error}") from error
    if message.format != "jpeg":
        raise SchemaError(f"an image is encoded as {message.format!r}, expected 'jpeg'")
    jpeg: bytes = message.data
    return jpeg


def point_cloud(sensed: Instant, stamp_ns: int) -> PointCloud:
    """Return a radar scan as points in the ego frame."""
    points = sensed.radar_points
    columns = np.zeros((len(points), len(RADAR_COLUMNS)), "<f4")
    columns[:, _RADAR_KEPT] = points
    fields = [
        PackedElementField(name=name, offset=4 * i, type=PackedElementField.FLOAT32)
        for i, name in enumerate(RADAR_COLUMNS)
    ]
    stride, data = _RADAR_STRIDE, columns.tobytes()
    if sensed.radar_sensor:
        rows = np.zeros(len(points), _POINT)
        rows["values"], rows[SENSOR_COLUMN] = columns, np.frombuffer(sensed.radar_sensor, np.uint8)
        stride, data = _POINT.itemsize, rows.tobytes()
        fields.append(
            PackedElementField(
                name=SENSOR_COLUMN, offset=_RADAR_STRIDE, type=PackedElementField.UINT8
            )
        )
    return PointCloud(
        timestamp=_timestamp(stamp_ns),
        frame_id=EGO,
        pose=_pose(Pose()),
        point_stride=stride,
        fields=fields,
        data=data,
    )


def scan_from_message(payload: bytes) -> RadarScan:
    """Read a radar scan back.

    Raises:
        SchemaError: It is not a PointCloud with these columns.
    """
    try:
        message = PointCloud.FromString(payload)
    except DecodeError as error:
        raise SchemaError(f"a radar message does not decode: {error}") from error
    names = tuple(field.name for field in message.fields)
    has_sensor = names == (*RADAR_COLUMNS, SENSOR_COLUMN)
    stride = _POINT.itemsize if has_sensor else _RADAR_STRIDE
    if not (has_sensor or names == RADAR_COLUMNS) or message.point_stride != stride:
        raise SchemaError(f"a radar message has the columns {names[:8]}, expected {RADAR_COLUMNS}")
    if len(message.data) % stride:
        raise SchemaError(f"a radar message ends within a point: {len(message.data)} bytes")
    if has_sensor:
        rows = np.frombuffer(message.data, _POINT)
        columns, sensor = rows["values"], rows[SENSOR_COLUMN].copy()
    else:
        columns, sensor = np.frombuffer(message.data, "<f4").reshape(-1, len(RADAR_COLUMNS)), None
    return RadarScan(np.ascontiguousarray(columns[:, _RADAR_KEPT], np.float32), sensor)


def calibration(camera: Camera, stamp_ns: int) -> CameraCalibration:
    """Return a camera's projection, with its distortion where it has one."""
    k = camera.intrinsics
    cx_px, cy_px = k.cx_px - 0.5, k.cy_px - 0.5
    return CameraCalibration(
        timestamp=_timestamp(stamp_ns),
        frame_id=camera.name,
        width=k.width_px,
        height=k.height_px,
        distortion_model=_DISTORTION_MODELS.get(k.projection, ""),
        D=k.distortion,
        K=[k.fx_px, 0.0, cx_px, 0.0, k.fy_px, cy_px, 0.0, 0.0, 1.0],
        R=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        P=[k.fx_px, 0.0, cx_px, 0.0, 0.0, k.fy_px, cy_px, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def camera_transform(camera: Camera, stamp_ns: int) -> FrameTransform:
    """Return the pose of a camera in the ego frame."""
    return _transform(EGO, camera.name, camera.ego_from_cam, stamp_ns)


def ego_transform(ego: EgoState, stamp_ns: int) -> FrameTransform:
    """Return the pose of the ego in the world frame."""
    return _transform(WORLD, EGO, ego.world_from_ego, stamp_ns)


def scene_update(perception: Perception, plan: Plan | None, stamp_ns: int) -> SceneUpdate:
    """Draw the boxes and the plan; each tick's replace the last one's."""
    boxes = SceneEntity(timestamp=_timestamp(stamp_ns), frame_id=EGO, id="boxes")
    for box in perception.boxes:
        _add_box(boxes, box)
    entities = [boxes]
    if plan is not None:
        line = SceneEntity(timestamp=_timestamp(stamp_ns), frame_id=EGO, id="plan")
        line.lines.add(
            type=LinePrimitive.LINE_STRIP,
            pose=_pose(Pose()),
            thickness=0.3,
            points=[{"x": p.x_m, "y": p.y_m, "z": 0.1} for p in plan.points],
            color=_color(_PLAN_COLOR, 0.8),
        )
        entities.append(line)
    return SceneUpdate(entities=entities)


def _add_box(entity: SceneEntity, box: Box3D) -> None:
    pose = Pose.from_xy_yaw(box.x_m, box.y_m, box.yaw_rad, box.z_m)
    entity.cubes.add(
        pose=_pose(pose),
        size={"x": box.length_m, "y": box.width_m, "z": box.height_m},
        color=_color(row_of(box.category).color_rgb, 0.5),
    )
    top = Pose(x_m=box.x_m, y_m=box.y_m, z_m=box.z_m + 0.5 * box.height_m + 0.3)
    entity.texts.add(
        pose=_pose(top),
        billboard=True,
        font_size=0.6,
        color=_color((1.0, 1.0, 1.0), 1.0),
        text=f"{box.category} {box.score:.2f}",
    )


def _transform(parent: str, child: str, parent_from_child: Pose, stamp_ns: int) -> FrameTransform:
    pose = _pose(parent_from_child)
    return FrameTransform(
        timestamp=_timestamp(stamp_ns),
        parent_frame_id=parent,
        child_frame_id=child,
        translation=pose.position,
        rotation=pose.orientation,
    )


def _pose(pose: Pose) -> PoseMessage:
    return PoseMessage(
        position=Vector3(x=pose.x_m, y=pose.y_m, z=pose.z_m),
        orientation=Quaternion(x=pose.qx, y=pose.qy, z=pose.qz, w=pose.qw),
    )


def _color(rgb: tuple[float, float, float], alpha: float) -> Color:
    return Color(r=rgb[0], g=rgb[1], b=rgb[2], a=alpha)


def _timestamp(stamp_ns: int) -> Timestamp:
    return Timestamp(seconds=stamp_ns // NS_PER_S, nanos=stamp_ns % NS_PER_S)
