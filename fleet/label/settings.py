"""Settings of labelling: thresholds between label, question and background."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.label.hindsight_tracks import HindsightSettings
from fleet.label.teacher import TeacherSettings


@dataclass
class LabelSettings:
    """Thresholds between label, question and background."""

    interval_s: float = 0.25
    """Between labelled instants."""
    auto_confidence: float = 0.6
    """A track whose median confidence is this high is a label."""
    max_range_m: float = 32.0
    """Radar tracks further away are no reason for a question."""
    question_range_m: float = 28.0
    """No question is asked about things further away: they cannot be seen well enough."""
    box_margin_m: float = 1.5
    """A radar track this near to a box's outline belongs to it."""
    min_radar_age_s: float = 0.5
    """Shortest life of a radar track that is worth a question."""
    ignored_radius_m: float = 2.0
    """Radius round a doubt without an answer in which nothing is learnt."""
    same_thing_margin_m: float = 0.5
    """Distance from the outline of a reviewed box within which a question is about the same thing."""
    listen_s: float = 0.5
    """How long before and after an instant an echo still counts as a sign that something is there."""
    faint_score: float = 0.1
    """Score from which a box of the teacher, of any class, is a sign as well."""
    sign_radius_m: float = 2.0
    """Radius round a sign within which no class is known to be absent."""
    nothing_radius_m: float = 1.0
    """Radius within which nothing stands where a reviewer found nothing."""
    ground_weights: tuple[float, float, float, float] = (0.25, 1.0, 0.6, 1.0)
    """Weights of a doubt by its ground: other ground, the road, a pavement, a crossing."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    hindsight: HindsightSettings = field(default_factory=HindsightSettings)
