"""From a clip to labels: confident tracks by hindsight, questions for a reviewer, masks for the rest.

Read in this order: ``order`` (which clips, in the parent), ``job`` (all clips of an order, one budget, in a
child process), ``opinion`` (one clip), ``teacher`` (the network that labels), ``hindsight_tracks`` and
``smooth`` (tracks from past and future), ``doubt`` (what to ask about), ``asking`` (in what order), ``rows``
(training rows).
"""

from fleet.label.opinion import ClipOpinion, clip_samples, opine, settle
from fleet.label.rows import clip_rows
from fleet.label.settings import LabelSettings
from fleet.label.teacher import Teacher, TeacherSettings

__all__ = [
    "ClipOpinion",
    "LabelSettings",
    "Teacher",
    "TeacherSettings",
    "clip_rows",
    "clip_samples",
    "opine",
    "settle",
]
