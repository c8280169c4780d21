"""From a clip to labels: confident tracks by hindsight, questions for a reviewer, masks for the rest.

Read in this order: ``stage`` (all clips of an order, one budget), ``opinion`` (one clip), ``teacher`` (who
looks), ``hindsight_tracks`` and ``smooth`` (what a label may know that a vehicle may not), ``doubt`` (what
to ask about), ``asking`` (in what order), ``rows`` (what is learnt from).
"""

from fleet.label.opinion import ClipOpinion, clip_samples, opine, settle
from fleet.label.rows import clip_rows, frame_set_of, sensed_instant
from fleet.label.settings import LabelSettings
from fleet.label.stage import (
    Choice,
    LabelJob,
    Labelled,
    LabelRun,
    label_clips,
    read_labelled,
    reason_of,
)
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
    "reason_of",
    "sensed_instant",
    "settle",
]
