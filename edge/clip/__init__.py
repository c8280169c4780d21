"""Keep the last seconds, seal what lies around trigger events, keep the best clips of a drive."""

from edge.clip.quota import Quota, Rank
from edge.clip.recorder import (
    Drive,
    DriveClips,
    DriveIdentity,
    Recorder,
    RecorderSettings,
)
from edge.clip.sealed import CLIP_SUFFIX, SealedClip, sealed_clips
from edge.clip.window import Window, join_window

__all__ = [
    "CLIP_SUFFIX",
    "Drive",
    "DriveClips",
    "DriveIdentity",
    "Quota",
    "Rank",
    "Recorder",
    "RecorderSettings",
    "SealedClip",
    "Window",
    "join_window",
    "sealed_clips",
]
