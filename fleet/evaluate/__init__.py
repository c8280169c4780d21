"""Decide whether a candidate is better: match, measure, bound, judge.

Read in this order: ``matching`` (who found what), ``metrics`` (numbers), ``slices`` (where),
``bootstrap`` (how sure), ``episodes`` (closed loop), ``evidence`` (all of it for one gate), ``gate``
(the verdict), ``tables``.
"""

from fleet.evaluate.bootstrap import (
    BootstrapSettings,
    ClusterRecall,
    Interval,
    cluster_recall,
    map_difference,
    map_interval,
    recall_difference,
    recall_interval,
)
from fleet.evaluate.episodes import (
    EpisodeComparison,
    EpisodeResult,
    EpisodeRunner,
    EpisodeSpec,
    compare_episodes,
    run_episodes,
)
from fleet.evaluate.evidence import Contender, gather
from fleet.evaluate.gate import Decision, Evidence, GateSettings, Reason, Verdict, judge
from fleet.evaluate.matching import EvalFrame, Matches, MatchSettings, TruthLabel, match
from fleet.evaluate.metrics import (
    ClassScores,
    CleanFrameAlarms,
    DetectionScores,
    HeadingError,
    OperatingPoint,
    best_f1_threshold,
    class_scores,
    detection_scores,
    false_alarms_in_clean_frames,
    heading_errors,
    nuscenes_detection_score,
    operating_point,
    threshold_for,
)
from fleet.evaluate.slices import SLICES, HeadingBand, Light, Slice, by_range, within
from fleet.evaluate.tables import (
    Table,
    claim_table,
    heading_table,
    range_table,
    score_table,
    slice_table,
    verdict_table,
)

__all__ = [
    "SLICES",
    "BootstrapSettings",
    "ClassScores",
    "CleanFrameAlarms",
    "ClusterRecall",
    "Contender",
    "Decision",
    "DetectionScores",
    "EpisodeComparison",
    "EpisodeResult",
    "EpisodeRunner",
    "EpisodeSpec",
    "EvalFrame",
    "Evidence",
    "GateSettings",
    "HeadingBand",
    "HeadingError",
    "Interval",
    "Light",
    "MatchSettings",
    "Matches",
    "OperatingPoint",
    "Reason",
    "Slice",
    "Table",
    "TruthLabel",
    "Verdict",
    "best_f1_threshold",
    "by_range",
    "claim_table",
    "class_scores",
    "cluster_recall",
    "compare_episodes",
    "detection_scores",
    "false_alarms_in_clean_frames",
    "gather",
    "heading_errors",
    "heading_table",
    "judge",
    "map_difference",
    "map_interval",
    "match",
    "nuscenes_detection_score",
    "operating_point",
    "range_table",
    "recall_difference",
    "recall_interval",
    "run_episodes",
    "score_table",
    "slice_table",
    "threshold_for",
    "verdict_table",
    "within",
]
