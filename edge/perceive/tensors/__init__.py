"""Inputs and outputs of the network: the one definition, for vehicle and fleet alike.

Training, labelling, calibration, golden answers and the vehicle all build their inputs and read their
outputs here, in numpy and OpenCV, so that a model is evaluated on exactly what it will drive on.

BEV grid: (n, n) over [-range, range) metres, row = x forward, column = y left.

This is the public face; models and fleet import from here alone. Read ``spec`` (sizes and shapes),
``table`` (camera geometry), ``memory``, ``inputs``, then ``outputs`` and ``boxes``.
"""

from edge.perceive.tensors.boxes import (
    decode_boxes,
    yaw_from_double,
)
from edge.perceive.tensors.inputs import (
    ego_token,
    network_inputs,
    radar_raster,
    radar_tokens,
    route_points_at,
    slot_images,
    ultrasonic_tokens,
)
from edge.perceive.tensors.memory import (
    Memory,
    Recollection,
    empty_memory,
    memory_inputs,
    recollect,
)
from edge.perceive.tensors.outputs import (
    NetOutput,
    OutputFault,
    read_outputs,
)
from edge.perceive.tensors.slots import (
    IMAGE_SLOTS,
    MIRRORED_SLOTS,
    absent_slots,
    cameras_of_slots,
    mirrored_rig,
    unused_cameras,
)
from edge.perceive.tensors.spec import (
    BOX_CHANNELS,
    EGO_WIDTH,
    FUTURE_STEP_S,
    FUTURE_STEPS,
    MEMORY_POSE_WIDTH,
    MODES,
    NANO,
    PICO,
    RADAR_CHANNELS,
    RADAR_TOKEN_WIDTH,
    SEGMENTATION_CLASSES,
    SMALL,
    SPECS,
    ULTRASONIC_TOKEN_WIDTH,
    GroundClass,
    NetSpec,
    input_specs,
    is_drivable,
    output_specs,
)
from edge.perceive.tensors.table import (
    CalibrationTable,
    calibration_table,
)

__all__ = [
    "BOX_CHANNELS",
    "EGO_WIDTH",
    "FUTURE_STEPS",
    "FUTURE_STEP_S",
    "IMAGE_SLOTS",
    "MEMORY_POSE_WIDTH",
    "MIRRORED_SLOTS",
    "MODES",
    "NANO",
    "PICO",
    "RADAR_CHANNELS",
    "RADAR_TOKEN_WIDTH",
    "SEGMENTATION_CLASSES",
    "SMALL",
    "SPECS",
    "ULTRASONIC_TOKEN_WIDTH",
    "CalibrationTable",
    "GroundClass",
    "Memory",
    "NetOutput",
    "NetSpec",
    "OutputFault",
    "Recollection",
    "absent_slots",
    "calibration_table",
    "cameras_of_slots",
    "decode_boxes",
    "ego_token",
    "empty_memory",
    "input_specs",
    "is_drivable",
    "memory_inputs",
    "mirrored_rig",
    "network_inputs",
    "output_specs",
    "radar_raster",
    "radar_tokens",
    "read_outputs",
    "recollect",
    "route_points_at",
    "slot_images",
    "ultrasonic_tokens",
    "unused_cameras",
    "yaw_from_double",
]
