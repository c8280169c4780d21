"""Keep the last seconds as JPEG, seal what lies around trigger events, keep the best clips of a drive.

A clip is sealed only when no later event can overlap it, so that overlapping windows always become one clip.
A quota keeps the clips of highest worth and not the first ones, and a clip that was let go does not come
back, so that the result does not depend on the order in which clips came. The random control stream has its
own windows and its own quota and is chosen by hash: if triggered clips were merged with it, or displaced it,
its share would estimate nothing.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.clip.coverage import coverage, missing
from edge.clip.quota import Quota, Rank
from edge.clip.sealed import CLIP_SUFFIX, SealedClip, worth_of
from edge.clip.window import Window, join_window
from edge.clip_file import (
    PART_SUFFIX,
    ClipFrame,
    encode_clip_manifest,
    encode_instant,
    write_clip,
)
from edge.contracts.campaign import Campaign
from edge.contracts.clean import clean, total_dropped
from edge.contracts.clip import ClipManifest, Privacy, Span, TriggerEvent, TriggerRule
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.rig import Rig
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import FrameSet
from edge.contracts.time import NS_PER_S, ClockKind, NamedClock, is_one_time_base

_EARLIEST = 0.75
"""A frame set may be recorded this part of a period after the last one: a camera's stamps jitter."""
_JITTER = 0.01
"""Part of a period by which rounding can move a stamp."""

_log = logging.getLogger(__name__)
_VIRTUAL = NamedClock(kind=ClockKind.VIRTUAL)


@dataclass
class RecorderSettings:
    """Settings of recording; campaigns decide how many clips and how long."""

    privacy: str = "unknown"
    """Why images may leave the vehicle: ``synthetic`` or ``blurred``. With any other value the recorder
    refuses to start."""
    record_hz: float = 12.0
    """Frame sets recorded per second, or all where the source has fewer: 12 of 36 Hz take a third of the
    bytes and of the JPEG work."""
    jpeg_quality: int = 90
    """JPEG quality of the recorded images, 1 to 100."""
    max_clip_s: float = 8.0
    """Windows merge up to this length; the next event then starts a clip of its own."""
    keeps_futures: bool = False
    """Whether agents keep their predicted trajectories, a third of a clip's bytes; a replay remakes them."""


@dataclass(frozen=True, kw_only=True)
class DriveIdentity:
    """Which vehicle drives, and which of its drives this is."""

    vehicle_id: str
    drive_id: str
    seed: int = 0
    """Seed of the random control stream."""
    clock: NamedClock = _VIRTUAL
    """Clock of the frame sets' stamps."""
    rate_hz: float
    """Frame sets per second of the source."""
    software: str = ""
    """Name of the software, as clips state it."""


@dataclass(frozen=True)
class Drive:
    """One drive of one vehicle, as its clips describe it."""

    identity: DriveIdentity
    bundle_id: str
    """The bundle at the start; a clip names the one that drove at its first event."""
    rig: Rig


@dataclass(frozen=True)
class DriveClips:
    """The clips of a finished drive."""

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
            drive: The drive, as its clips describe it.
            campaigns: Their windows and quotas. A campaign that arms ``RANDOM`` beside other rules may
                keep its ``max_clips_per_drive`` and ``max_bytes_per_drive`` of each.
            folder: Where sealed clips go; made when missing.

        Raises:
            OperatorError: The settings' privacy does not let images leave, or a number makes no sense.
        """
        self._settings = settings
        self._privacy = _leaving(settings.privacy)
        if not settings.record_hz > 0.0:
            raise OperatorError(f"record_hz is {settings.record_hz}; it must be above 0")
        self._drive = drive
        self._campaigns = {campaign.campaign_id: campaign for campaign in campaigns}
        self._quotas: dict[_Stream, Quota] = {
            (campaign.campaign_id, is_control): Quota(
                campaign.max_clips_per_drive, campaign.max_bytes_per_drive
            )
            for campaign in campaigns
            for is_control in (False, True)
        }
        self._recorded_hz = recorded_hz(settings.record_hz, drive.identity.rate_hz)
        self._period_ns = round(NS_PER_S / self._recorded_hz)
        self._before_ns = max((_ns(c.before_s) for c in campaigns), default=0)
        after_ns = max((_ns(c.after_s) for c in campaigns), default=0)
        # Two events of one tick must always fit into one clip, for they may have one clip_id.
        self._longest_ns = max(
            _ns(settings.max_clip_s), self._before_ns + after_ns + 2 * self._period_ns
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
        last = self._last
        frame_set = clean(frame_set, self._drive.rig, last)
        if last is not None and not _follows(frame_set, last):
            self._seal(self._windows, is_cut=True)
            self._ring.clear()
            self._time_base += 1
        self._last = frame_set
        stamp_ns = frame_set.stamp_ns
        if self._is_due(stamp_ns):
            self._keep(frame_set, perception, plan)
        for event in events:
            self._windows = join_window(self._windows, self._window(event), self._longest_ns)
        self._seal([w for w in self._windows if stamp_ns >= w.end_ns + self._reach_ns])
        needed_ns = min([stamp_ns - self._reach_ns, *(w.start_ns for w in self._windows)])
        while self._ring and self._ring[0].stamp_ns <= needed_ns - self._period_ns:
            self._ring.popleft()

    def close(self) -> DriveClips:
        """End the drive: seal open windows, mark the frames that never came, return the kept clips."""
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
    def _reach_ns(self) -> int:
        """How far back from a later tick a window can still begin, rounded up to recorded frames."""
        return self._before_ns + self._period_ns

    def _is_due(self, stamp_ns: int) -> bool:
        """Return whether a frame set is far enough from the last recorded one; one given again is not."""
        newest = self._ring[-1] if self._ring else None
        return newest is None or stamp_ns - newest.stamp_ns >= _EARLIEST * self._period_ns

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
        if perception is not None and not self._settings.keeps_futures:
            perception = _without_futures(perception)
        return ClipFrame(encode_instant(frame_set, self._settings.jpeg_quality), perception, plan)

    def _window(self, event: TriggerEvent) -> Window:
        """Return the stretch of time that an event asks for."""
        campaign = self._campaigns[event.campaign_id]
        return Window(
            start_ns=max(0, event.stamp_ns - _ns(campaign.before_s)),
            end_ns=event.stamp_ns + _ns(campaign.after_s),
            events=(event,),
            is_control=event.rule is TriggerRule.RANDOM,
        )

    def _seal(self, windows: Sequence[Window], *, is_cut: bool = False) -> None:
        for window in windows:
            self._captured += 1
            self._control_captured += window.is_control
            self._seal_one(window, is_cut)
        self._windows = tuple(w for w in self._windows if w not in windows)

    def _seal_one(self, window: Window, is_cut: bool) -> None:
        """Write a window's clip, unless no quota would keep it, and let its quotas decide."""
        identity = self._drive.identity
        clip_id = ClipManifest.make_id(
            identity.vehicle_id, identity.drive_id, window.events[0], self._time_base
        )
        if clip_id in self._holders:
            self._lose(clip_id, "a clip of the same rule and stamp was sealed before")
            return
        ranks = _ranks(window, clip_id)
        if not any(self._quotas[stream].is_open_to(rank) for stream, rank in ranks.items()):
            self._evicted += 1
            return
        try:
            clip = self._write(window, clip_id, is_cut)
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

    def _write(self, window: Window, clip_id: str, is_cut: bool) -> SealedClip:
        # The frame at or before the start, and the one at or after the end, belong to the window.
        slack_ns = self._period_ns - _JITTER * self._period_ns
        first_ns, last_ns = window.start_ns - slack_ns, window.end_ns + slack_ns
        frames = [f for f in self._ring if first_ns <= f.stamp_ns <= last_ns]
        if not frames:
            raise SchemaError(f"no frame was recorded from {window.start_ns} to {window.end_ns} ns")
        manifest = self._manifest(window, clip_id, frames, is_cut)
        path = self._folder / (clip_id + CLIP_SUFFIX)
        blob_id = write_clip(path, manifest, frames)
        return SealedClip(
            path=path,
            manifest_bytes=encode_clip_manifest(manifest),
            clip_id=clip_id,
            blob_id=blob_id,
            size_bytes=path.stat().st_size,
            worth=worth_of(window.events),
        )

    def _manifest(
        self, window: Window, clip_id: str, frames: Sequence[ClipFrame], is_cut: bool
    ) -> ClipManifest:
        drive, identity = self._drive, self._drive.identity
        asked = Span(start_ns=window.start_ns, end_ns=window.end_ns)
        sensed = [frame.sensed for frame in frames]
        return ClipManifest(
            clip_id=clip_id,
            vehicle_id=identity.vehicle_id,
            drive_id=identity.drive_id,
            clock=identity.clock,
            rig=drive.rig,
            rig_id=drive.rig.rig_id,
            bundle_id=_bundle_at(window.events[0].stamp_ns, frames) or drive.bundle_id,
            events=window.events,
            start_ns=min(frames[0].stamp_ns, window.events[0].stamp_ns),
            end_ns=max(frames[-1].stamp_ns, window.events[-1].stamp_ns),
            frame_count=len(frames),
            rate_hz=identity.rate_hz,
            recorded_hz=self._recorded_hz,
            asked=asked,
            coverage=coverage(sensed, drive.rig, asked),
            missing=missing(sensed, drive.rig, asked, self._recorded_hz),
            dropped=total_dropped(*(frame.sensed.dropped for frame in frames)),
            time_base=self._time_base,
            is_cut=is_cut,
            privacy=self._privacy,
            software=identity.software,
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
    """Return whether a frame set goes on where the last one was; a source that starts anew does not."""
    return frame_set.index >= last.index and is_one_time_base(last.stamp_ns, frame_set.stamp_ns)


def recorded_hz(wanted_hz: float, rate_hz: float) -> float:
    """Return how many frame sets a second are recorded: every n-th of a source, or all of a slow one."""
    step = max(1, math.ceil(_EARLIEST * rate_hz / wanted_hz - _JITTER))
    return rate_hz / step


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def _ranks(window: Window, clip_id: str) -> dict[_Stream, Rank]:
    """Rank a window's clip for each campaign that asked for it."""
    ranks: dict[_Stream, Rank] = {}
    for campaign_id in dict.fromkeys(event.campaign_id for event in window.events):
        own = [event for event in window.events if event.campaign_id == campaign_id]
        worth = 0.0 if window.is_control else worth_of(own)
        ranks[campaign_id, window.is_control] = (-worth, clip_id)
    return ranks


def _bundle_at(stamp_ns: int, frames: Sequence[ClipFrame]) -> str:
    """Return the bundle that drove at a stamp, from the last conclusion before it; empty if there is none."""
    seen = [f.perception for f in frames if f.stamp_ns <= stamp_ns and f.perception is not None]
    return seen[-1].bundle_id if seen else ""


def _without_futures(perception: Perception) -> Perception:
    agents = tuple(msgspec.structs.replace(agent, futures=()) for agent in perception.agents)
    return msgspec.structs.replace(perception, agents=agents)
