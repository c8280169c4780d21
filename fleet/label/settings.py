"""Where a label ends and a question begins: the settings of everything that judges a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.label.hindsight_tracks import HindsightSettings
from fleet.label.teacher import TeacherSettings


@dataclass
class LabelSettings:
    """Where a label ends and a question begins."""

    interval_s: float = 0.25
    """Between labelled instants."""
    auto_confidence: float = 0.6
    """A track whose median confidence is this high is a label."""
    max_range_m: float = 32.0
    """Radar tracks further away are no reason for a question."""
    question_range_m: float = 28.0
    """Nobody is asked about what is too far away to be seen."""
    box_margin_m: float = 1.5
    """A radar track this near to a box's outline belongs to it."""
    min_radar_age_s: float = 0.5
    """Shortest life of a radar track that is worth a question."""
    ignored_radius_m: float = 2.0
    """Radius round a doubt without an answer in which nothing is learnt."""
    same_thing_margin_m: float = 0.5
    """What points this near to the outline of a reviewed box is about the same thing."""
    listen_s: float = 0.5
    """How long before and after an instant an echo still counts as a sign that something is there."""
    faint_score: float = 0.1
    """A box of the teacher this weak, of any class, is a sign as well."""
    sign_radius_m: float = 2.0
    """So far round a sign nothing is known to be absent."""
    nothing_radius_m: float = 1.0
    """Where a reviewer found nothing, nothing stands this near."""
    ground_weights: tuple[float, float, float, float] = (0.25, 1.0, 0.6, 1.0)
    """How interesting a doubt is on other ground, on the road, on a pavement, on a crossing."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    hindsight: HindsightSettings = field(default_factory=HindsightSettings)
