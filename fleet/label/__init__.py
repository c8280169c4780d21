"""From a clip to labels: confident tracks by hindsight, questions for a reviewer, masks for the rest."""

from fleet.label.opinion import (
    ClipOpinion,
    LabelSettings,
    clip_rows,
    clip_samples,
    frame_set_of,
    opine,
    sensed_instant,
    settle,
)
from fleet.label.stage import Choice, LabelJob, Labelled, LabelRun, label_clips, read_labelled
from fleet.label.teacher import Teacher, TeacherSettings

__all__ = [
    "Choice",
    "ClipOpinion",
    "LabelJob",
    "LabelRun",
    "LabelSettings",
    "Labelled",
    "Teacher",
    "TeacherSettings",
    "clip_rows",
    "clip_samples",
    "frame_set_of",
    "label_clips",
    "opine",
    "read_labelled",
    "sensed_instant",
    "settle",
]
