"""A sealed clip as a source of frame sets, and a run of the vehicle's own code over it.

The images are what JPEG left of them and fewer were recorded than driven, so a replay concludes
nearly, not exactly, what the drive did; the stamps are the drive's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.clip_file import Clip, ClipFrame, decode_instant
from edge.contracts.rig import Rig
from edge.contracts.scene import Perception, Plan, PlanSource, Rung
from edge.contracts.sensors import FrameSet


@dataclass(frozen=True)
class ClipSource:
    """Gives a clip's frame sets, oldest first, decoding each when it is asked for."""

    clip: Clip

    @property
    def rate_hz(self) -> float:
        """How many frame sets a second it has."""
        return self.clip.manifest.recorded_hz

    @property
    def rig(self) -> Rig:
        """The calibration that the clip was recorded with."""
        return self.clip.manifest.rig

    def __len__(self) -> int:
        return len(self.clip.frames)

    def __iter__(self) -> Iterator[FrameSet]:
        """Decode the frame sets one by one.

        Raises:
            SchemaError: An image does not decode.
        """
        for frame in self.clip.frames:
            yield decode_instant(frame.sensed, self.rig)


@dataclass(frozen=True)
class ReplayedTick:
    """Conclusions of a replay in one tick, beside those of the drive."""

    index: int
    stamp_ns: int
    rung: Rung
    boxes: int
    agents: int
    plan_source: PlanSource
    min_ttc_s: float
    recorded_boxes: int | None
    recorded_plan_source: PlanSource | None
    """None when the clip holds no conclusions for this tick."""


def replay_ticks(
    clip: Clip, tick: Callable[[FrameSet], tuple[Perception, Plan]]
) -> tuple[ReplayedTick, ...]:
    """Run ``tick`` over a clip, oldest frame set first, and summarise each result.

    Raises:
        SchemaError: An image does not decode.
    """
    rows = []
    for frame, sensed in zip(clip.frames, ClipSource(clip), strict=True):
        perception, plan = tick(sensed)
        rows.append(_row(frame, perception, plan))
    return tuple(rows)


def _row(frame: ClipFrame, perception: Perception, plan: Plan) -> ReplayedTick:
    return ReplayedTick(
        index=frame.index,
        stamp_ns=frame.stamp_ns,
        rung=perception.rung,
        boxes=len(perception.boxes),
        agents=len(perception.agents),
        plan_source=plan.source,
        min_ttc_s=plan.min_ttc_s,
        recorded_boxes=None if frame.perception is None else len(frame.perception.boxes),
        recorded_plan_source=None if frame.plan is None else frame.plan.source,
    )
