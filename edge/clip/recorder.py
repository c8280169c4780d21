"""Keep the last seconds as JPEG, seal what lies around trigger events, keep the best clips of a drive.

Three decisions a reader would question. A clip is sealed only when no later event can overlap it any
more, so that overlapping windows always become one clip. A quota keeps the *worthiest* clips and not
the first, and what it has once let go stays out, so that the outcome does not depend on the order in
which clips came. And the random control stream lives apart (own windows, own quota, chosen by hash):
were it merged with, or displaced by, what a trigger found, it would estimate nothing.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.clip.quota import Quota, Rank
from edge.clip.window import Window, join_window
from edge.clip_file import (
    PART_SUFFIX,
    Clip,
    ClipFrame,
    encode_jpegs,
    encode_manifest,
    read_clip,
    write_clip,
)
from edge.contracts.campaign import Campaign
from edge.contracts.clean import clean, total_dropped
from edge.contracts.clip import ClipManifest, Privacy, TriggerEvent, TriggerRule
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import CameraRig, FrameSet
from edge.contracts.time import FRAME_RATE_HZ, Clock, is_one_time_base

CLIP_SUFFIX = ".mcap"

_log = logging.getLogger(__name__)


@dataclass
class RecorderSettings:
    """How clips are recorded; how many and how long is the campaigns' business."""

    privacy: str = "unknown"
    """Why images may leave: ``synthetic`` or ``blurred``. The recorder refuses to start on anything else."""
    frame_step: int = 3
    """Record every n-th frame set: 3 is 12 Hz, a third of the bytes and of the JPEG work."""
    jpeg_quality: int = 90
    max_clip_s: float = 8.0
    """Windows merge up to this length; the next event then starts a clip of its own."""
    keeps_futures: bool = False
    """Whether agents keep their predicted trajectories, a third of a clip's bytes; a replay remakes them."""


@dataclass(frozen=True)
class Drive:
    """One drive of one vehicle: what each of its clips says about itself."""

    vehicle_id: str
    drive_id: str
    bundle_id: str
    rig: CameraRig
    clock: Clock
    software: str = ""


@dataclass(frozen=True)
class SealedClip:
    """A whole clip on disk."""

    path: Path
    manifest_bytes: bytes
    clip_id: str
    blob_id: str
    size_bytes: int
    worth: float


@dataclass(frozen=True)
class DriveClips:
    """What a drive brought home."""

    kept: tuple[SealedClip, ...]
    """Best first."""
    captured: int
    """Windows that events opened; ``captured = len(kept) + evicted + lost``."""
    evicted: int
    """Let go because a quota had better ones."""
    lost: int
    """Could not be sealed: no frame was recorded, they do not read back, or the disk refused."""
    control_captured: int
    """Of ``captured``, those of the random stream: its kept share corrects its stated probability."""


_Stream = tuple[str, bool]
"""Whose quota: campaign, and whether its random control stream or its other rules."""


class Recorder:
    """Turns ticks and events of one drive into the best sealed clips. Feed it every tick, then close it."""

    def __init__(
        self,
        settings: RecorderSettings,
        drive: Drive,
        campaigns: Sequence[Campaign],
        folder: Path,
    ) -> None:
        """Start a drive: sweep the half-written files that a killed one left in ``folder``.

        Args:
            settings: How to record.
            drive: What every clip says about itself.
            campaigns: Their windows and quotas. A campaign that arms ``RANDOM`` beside other rules may
                keep its ``max_clips_per_drive`` and ``max_bytes_per_drive`` of each.
            folder: Where sealed clips go; made when missing.

        Raises:
            OperatorError: The settings' privacy does not let images leave, or a number makes no sense.
        """
        self._settings = settings
        self._privacy = _leaving(settings.privacy)
        if settings.frame_step < 1:
            raise OperatorError(f"frame_step is {settings.frame_step}; it must be at least 1")
        self._drive = drive
        self._campaigns = {campaign.campaign_id: campaign for campaign in campaigns}
        self._quotas: dict[_Stream, Quota] = {
            (campaign.campaign_id, is_control): Quota(
                campaign.max_clips_per_drive, campaign.max_bytes_per_drive
            )
            for campaign in campaigns
            for is_control in (False, True)
        }
        self._before = max((_ticks(c.before_s) for c in campaigns), default=0)
        after = max((_ticks(c.after_s) for c in campaigns), default=0)
        # Two events of one tick must always fit into one clip, for they may have one clip_id.
        self._longest = max(
            _ticks(settings.max_clip_s), self._before + after + 2 * settings.frame_step
        )
        self._folder = folder
        self._ring: deque[ClipFrame] = deque()
        self._windows: tuple[Window, ...] = ()
        self._clips: dict[str, SealedClip] = {}
        self._holders: dict[str, set[_Stream]] = {}
        self._captured = self._evicted = self._lost = self._control_captured = 0
        self._last: FrameSet | None = None
        self._time_base = 0
        self._is_encoding = True
        """Whether the last frame could be encoded: what goes on failing is logged once."""
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob("*" + PART_SUFFIX):
            part.unlink()

    def add(
        self,
        frame_set: FrameSet,
        perception: Perception | None,
        plan: Plan | None,
        events: Sequence[TriggerEvent],
    ) -> None:
        """Record one tick and the events that fired in it; seal what has become complete.

        A clip lies within one time base: when the clock steps, open windows are sealed as they are.
        """
        index, last = frame_set.index, self._last
        if last is not None and not _follows(frame_set, last):
            self._seal(self._windows)
            self._ring.clear()
            self._time_base += 1
        self._last = frame_set = clean(frame_set, last)
        if index % self._settings.frame_step == 0 and not self._is_recorded(frame_set):
            self._keep(frame_set, perception, plan)
        for event in events:
            self._windows = join_window(self._windows, self._window(event, index), self._longest)
        self._seal([w for w in self._windows if index >= w.last + self._reach])
        needed = min([index - self._reach, *(w.first for w in self._windows)])
        while self._ring and self._ring[0].index < needed:
            self._ring.popleft()

    def close(self) -> DriveClips:
        """End the drive: seal what is open, marking the frames that never came; tell what was kept."""
        self._seal(self._windows)
        kept = sorted(self._clips.values(), key=lambda clip: (-clip.worth, clip.clip_id))
        return DriveClips(
            kept=tuple(kept),
            captured=self._captured,
            evicted=self._evicted,
            lost=self._lost,
            control_captured=self._control_captured,
        )

    @property
    def _reach(self) -> int:
        """How far back from a later tick a window can still begin, rounded up to recorded frames."""
        return self._before + self._settings.frame_step

    def _is_recorded(self, frame_set: FrameSet) -> bool:
        """Tell a frame set that was given again, by its index or its stamp."""
        newest = self._ring[-1] if self._ring else None
        return newest is not None and (
            frame_set.index == newest.index or frame_set.stamp_ns == newest.stamp_ns
        )

    def _keep(self, frame_set: FrameSet, perception: Perception | None, plan: Plan | None) -> None:
        """Put a frame into the ring; one whose images cannot be encoded is missing from its clips."""
        try:
            self._ring.append(self._encode(frame_set, perception, plan))
        # Images that are none fail in as many ways as there are wrong ones, and must not stop a drive.
        except Exception as error:  # noqa: BLE001
            if self._is_encoding:
                fields = {"stamp_ns": frame_set.stamp_ns, "reason": str(error)}
                _log.warning("frame_not_recorded", extra=fields)
            self._is_encoding = False
            return
        self._is_encoding = True

    def _encode(
        self, frame_set: FrameSet, perception: Perception | None, plan: Plan | None
    ) -> ClipFrame:
        jpegs: list[bytes | None] = [None] * len(frame_set.images)
        present = frame_set.is_present.nonzero()[0]
        encoded = encode_jpegs(frame_set.images[present], self._settings.jpeg_quality)
        for camera, jpeg in zip(present, encoded, strict=True):
            jpegs[camera] = jpeg
        if perception is not None and not self._settings.keeps_futures:
            perception = _without_futures(perception)
        return ClipFrame(
            index=frame_set.index,
            stamp_ns=frame_set.stamp_ns,
            jpegs=tuple(jpegs),
            radar=frame_set.radar,
            ultrasonics=frame_set.ultrasonics,
            ego=frame_set.ego,
            route=frame_set.route,
            perception=perception,
            plan=plan,
            dropped=frame_set.dropped,
        )

    def _window(self, event: TriggerEvent, index: int) -> Window:
        """Give the frames that an event asks for, widened to frames that are recorded."""
        campaign, step = self._campaigns[event.campaign_id], self._settings.frame_step
        return Window(
            first=(index - _ticks(campaign.before_s)) // step * step,
            last=-(-(index + _ticks(campaign.after_s)) // step) * step,
            events=(event,),
            is_control=event.rule is TriggerRule.RANDOM,
        )

    def _seal(self, windows: Sequence[Window]) -> None:
        for window in windows:
            self._captured += 1
            self._control_captured += window.is_control
            self._seal_one(window)
        self._windows = tuple(w for w in self._windows if w not in windows)

    def _seal_one(self, window: Window) -> None:
        """Write a window's clip, unless no quota would keep it, and let its quotas decide."""
        drive = self._drive
        clip_id = ClipManifest.make_id(
            drive.vehicle_id, drive.drive_id, window.events[0], self._time_base
        )
        if clip_id in self._holders:
            self._lose(clip_id, "a clip of the same rule and stamp was sealed before")
            return
        ranks = _ranks(window, clip_id)
        if not any(self._quotas[stream].is_open_to(rank) for stream, rank in ranks.items()):
            self._evicted += 1
            return
        try:
            clip = self._write(window, clip_id)
        except (OSError, SchemaError) as error:
            self._lose(clip_id, str(error))
            return
        self._clips[clip_id] = clip
        self._holders[clip_id] = set(ranks)
        for stream, rank in ranks.items():
            for gone in self._quotas[stream].offer(rank, clip.size_bytes):
                self._let_go(gone, stream)

    def _lose(self, clip_id: str, reason: str) -> None:
        self._lost += 1
        _log.warning("clip_lost", extra={"clip_id": clip_id, "reason": reason})

    def _write(self, window: Window, clip_id: str) -> SealedClip:
        frames = [f for f in self._ring if window.first <= f.index <= window.last]
        if not frames:
            raise SchemaError(f"no frame was recorded from {window.first} to {window.last}")
        manifest = self._manifest(window, clip_id, frames)
        path = self._folder / (clip_id + CLIP_SUFFIX)
        blob_id = write_clip(path, manifest, frames)
        return SealedClip(
            path=path,
            manifest_bytes=encode_manifest(manifest),
            clip_id=clip_id,
            blob_id=blob_id,
            size_bytes=path.stat().st_size,
            worth=_worth(window.events),
        )

    def _manifest(self, window: Window, clip_id: str, frames: Sequence[ClipFrame]) -> ClipManifest:
        drive, step = self._drive, self._settings.frame_step
        expected = (window.last - window.first) // step + 1
        missing = [
            (camera.name, expected - sum(frame.jpegs[i] is not None for frame in frames))
            for i, camera in enumerate(drive.rig.cameras)
        ]
        return ClipManifest(
            clip_id=clip_id,
            vehicle_id=drive.vehicle_id,
            drive_id=drive.drive_id,
            clock=drive.clock,
            rig=drive.rig,
            rig_id=drive.rig.rig_id,
            bundle_id=drive.bundle_id,
            events=window.events,
            start_ns=min(frames[0].stamp_ns, window.events[0].stamp_ns),
            end_ns=max(frames[-1].stamp_ns, window.events[-1].stamp_ns),
            frame_count=len(frames),
            frame_step=step,
            missing=tuple((name, count) for name, count in missing if count),
            dropped=total_dropped(*(frame.dropped for frame in frames)),
            time_base=self._time_base,
            privacy=self._privacy,
            software=drive.software,
        )

    def _let_go(self, clip_id: str, stream: _Stream) -> None:
        """Note that one stream no longer holds a clip; delete it when none does."""
        self._holders[clip_id].discard(stream)
        if not self._holders[clip_id]:
            self._evicted += 1
            try:
                self._clips.pop(clip_id).path.unlink(missing_ok=True)
            except OSError as error:  # a disk gone read-only; the clip is found at the next start
                _log.warning("clip_stays", extra={"clip_id": clip_id, "reason": str(error)})


def sealed_clips(folder: Path) -> tuple[SealedClip, ...]:
    """List the whole clips in a folder: what a killed drive had sealed and nobody has taken on yet.

    A file that is not a whole clip is passed over and reported, for it can only be foreign.
    """
    found = []
    for path in sorted(folder.glob("*" + CLIP_SUFFIX)):
        content = path.read_bytes()
        try:
            clip = read_clip(content)
        except SchemaError as error:
            _log.warning("clip_unreadable", extra={"file": path.name, "reason": str(error)})
            continue
        found.append(_sealed(path, content, clip))
    return tuple(found)


def _sealed(path: Path, content: bytes, clip: Clip) -> SealedClip:
    return SealedClip(
        path=path,
        manifest_bytes=clip.manifest_bytes,
        clip_id=clip.manifest.clip_id,
        blob_id=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        worth=_worth(clip.manifest.events),
    )


def _leaving(privacy: str) -> Privacy:
    """Read the reason why images may leave the vehicle, or refuse."""
    reason = Privacy(privacy)
    if reason not in (Privacy.SYNTHETIC, Privacy.BLURRED):
        raise OperatorError(
            f"recorder refuses to start: privacy is {privacy!r}, expected 'synthetic' or 'blurred'; "
            "no image is kept"
        )
    return reason


def _follows(frame_set: FrameSet, last: FrameSet) -> bool:
    """Tell whether a frame set goes on where the last one was; a source that starts anew does not."""
    return frame_set.index >= last.index and is_one_time_base(last.stamp_ns, frame_set.stamp_ns)


def _ticks(seconds: float) -> int:
    return math.ceil(seconds * FRAME_RATE_HZ)


def _worth(events: Sequence[TriggerEvent]) -> float:
    """Give a clip's worth: that of its best event."""
    return max(event.worth for event in events)


def _ranks(window: Window, clip_id: str) -> dict[_Stream, Rank]:
    """Rank a window's clip for each campaign that asked for it."""
    ranks: dict[_Stream, Rank] = {}
    for campaign_id in dict.fromkeys(event.campaign_id for event in window.events):
        own = [event for event in window.events if event.campaign_id == campaign_id]
        worth = 0.0 if window.is_control else _worth(own)
        ranks[campaign_id, window.is_control] = (-worth, clip_id)
    return ranks


def _without_futures(perception: Perception) -> Perception:
    agents = tuple(msgspec.structs.replace(agent, futures=()) for agent in perception.agents)
    return msgspec.structs.replace(perception, agents=agents)
