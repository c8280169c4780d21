"""From a clip to labels: confident tracks by hindsight, questions for a reviewer, masks for the rest."""

from fleet.label.opinion import (
    ClipOpinion,
    LabelSettings,
    ask,
    clip_samples,
    frame_set_of,
    opine,
    sensed_instant,
    settle,
)
from fleet.label.teacher import Teacher, TeacherSettings

__all__ = [
    "ClipOpinion",
    "LabelSettings",
    "Teacher",
    "TeacherSettings",
    "ask",
    "clip_samples",
    "frame_set_of",
    "opine",
    "sensed_instant",
    "settle",
]
