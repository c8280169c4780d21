"""Whole clips on disk: the record of one, and the list of a folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.clip_file import Clip, read_clip
from edge.contracts.clip import TriggerEvent
from edge.contracts.errors import SchemaError

CLIP_SUFFIX = ".mcap"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SealedClip:
    """A whole clip on disk."""

    path: Path
    manifest_bytes: bytes
    clip_id: str
    blob_id: str
    size_bytes: int
    worth: float


def sealed_clips(folder: Path) -> tuple[SealedClip, ...]:
    """List the whole clips in a folder: a drive that was killed had sealed them and no spool took them.

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


def worth_of(events: Sequence[TriggerEvent]) -> float:
    """Return a clip's worth: that of its best event."""
    return max(event.worth for event in events)


def _sealed(path: Path, content: bytes, clip: Clip) -> SealedClip:
    return SealedClip(
        path=path,
        manifest_bytes=clip.manifest_bytes,
        clip_id=clip.manifest.clip_id,
        blob_id=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        worth=worth_of(clip.manifest.events),
    )
