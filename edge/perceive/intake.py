"""Clean what was sensed, find a step of the clock or a jump of the pose, and judge each sensor."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts.clean import by_reading, clean, is_reachable
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D
from edge.contracts.sensors import FrameSet, Reading
from edge.contracts.time import NS_PER_S, is_one_time_base
from edge.perceive.sensor_watch import SensorState, SensorWatch, SensorWatchSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TakenIn:
    """A clean frame set, and what there is to know of it before anything looks at it."""

    sensors: SensorState
    has_stepped: bool = False
    """Whether its stamp begins a new time base: what holds stamps starts anew."""
    has_jumped: bool = False
    """Whether localisation has jumped: what holds places of the world starts anew."""
    is_repeated: bool = False
    """Whether its stamp is the last one's: it says nothing about waiting."""
    is_lost: bool = False
    """Whether own motion has not been read for longer than it may be held."""

    @property
    def frame_set(self) -> FrameSet:
        """Clean, with the status of each image."""
        return self.sensors.frame_set


@dataclass(eq=False)
class SensorIntake:
    """Takes in the frame sets of one vehicle; call ``take`` with each, in the order in which they came."""

    rig: Rig
    settings: SensorWatchSettings
    hold_s: float
    """How long own motion is held from the last reading that made sense."""

    def __post_init__(self) -> None:
        self._watch = SensorWatch(self.rig, self.settings)
        self._last: FrameSet | None = None
        self._known_ns: int | None = None
        """When own motion was last read."""
        self._faulty: tuple[str, ...] = ()

    def take(self, frame_set: FrameSet) -> TakenIn:
        """Clean a frame set and say what is new about its clock, place and sensors; log what changed."""
        last = self._last
        frame_set = clean(frame_set, self.rig, last)
        has_stepped = last is not None and not is_one_time_base(last.stamp_ns, frame_set.stamp_ns)
        has_jumped = last is not None and not is_reachable(last, frame_set)
        if has_stepped:
            self._begin_time_base(frame_set.stamp_ns)
        kinds = {drop.reading for drop in frame_set.dropped}
        if not {Reading.POSE, Reading.EGO} & kinds:
            self._known_ns = frame_set.stamp_ns
        sensors = self._watch.update(frame_set)
        self._last = frame_set
        _log_changes(last, frame_set, has_stepped=has_stepped, has_jumped=has_jumped)
        self._log_sensors(sensors)
        return TakenIn(
            sensors=sensors,
            has_stepped=has_stepped,
            has_jumped=has_jumped,
            is_repeated=last is not None and last.stamp_ns == frame_set.stamp_ns,
            is_lost=self._is_lost(frame_set.stamp_ns),
        )

    def note_boxes(self, boxes: Sequence[Box3D], frame_set: FrameSet) -> None:
        """Compare the boxes of the frame set that was taken in last with its radar points."""
        self._watch.note_boxes(boxes, frame_set)

    def _begin_time_base(self, stamp_ns: int) -> None:
        self._watch.reset()
        if self._known_ns is not None:
            self._known_ns = stamp_ns

    def _is_lost(self, stamp_ns: int) -> bool:
        known_ns = self._known_ns
        return known_ns is None or stamp_ns - known_ns > self.hold_s * NS_PER_S

    def _log_sensors(self, sensors: SensorState) -> None:
        if sensors.faults != self._faulty:
            fields = {"stamp_ns": sensors.frame_set.stamp_ns, "faults": list(sensors.faults)}
            _log.warning("sensors_changed", extra=fields)
        self._faulty = sensors.faults


def _log_changes(
    last: FrameSet | None, now: FrameSet, *, has_stepped: bool, has_jumped: bool
) -> None:
    """Log a step of the clock, a jump of the place, and lost readings of a kind that the last tick had."""
    if has_stepped and last is not None:
        _log.warning("clock_stepped", extra={"last_ns": last.stamp_ns, "stamp_ns": now.stamp_ns})
    if has_jumped and last is not None:
        places = (last.ego.world_from_ego.translation, now.ego.world_from_ego.translation)
        fields = {"stamp_ns": now.stamp_ns, "way_m": round(math.dist(*places))}
        _log.warning("place_jumped", extra=fields)
    dropped = by_reading(now.dropped)
    if dropped.keys() - by_reading(last.dropped if last else ()):
        counts = {str(kind): count for kind, count in dropped.items()}
        _log.warning("readings_dropped", extra={"stamp_ns": now.stamp_ns} | counts)
