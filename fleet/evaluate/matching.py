"""Turn frames with truth and predictions into match tables: which box found which truth, decided once.

Boxes are matched greedily, best score first, by the distance of their centres on the ground (nuScenes).
Greedy matching of the boxes above a threshold is a prefix of greedy matching of all boxes, so one table
answers every threshold, every slice and every resample of a bootstrap without matching again.

The choice to question: an *ignored* truth (too few visible pixels, out of range, marked by a labeler) is
neither hit nor miss, and takes one box with it that is then neither hit nor false alarm; a counted truth
within reach is always preferred. nuScenes drops far boxes before matching; here a box just beyond the
range may still find a truth just inside it, and is forgotten only when it finds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from edge.contracts.classes import CLASSES, Category
from edge.contracts.errors import OperatorError
from edge.contracts.fields import Count, Range
from edge.contracts.scene import Attribute, Box3D

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MATCH_DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
"""Centre distances at which nuScenes averages AP; columns of every (., 4) table."""

UNMATCHED = -1
MISSED_SCORE = -1.0
"""``Matches.found_score`` of a truth that no box found; below every threshold."""

_ATTRIBUTES = tuple(Attribute)
_ATTRIBUTE_INDEX = {attribute: k for k, attribute in enumerate(_ATTRIBUTES)}
_AFTER_EVERY_COUNTED_M = 1e6
"""Added to the distance of an ignored truth, so that it is taken last."""


@dataclass(frozen=True)
class TruthLabel:
    """The truth about one object: a box, how much of it can be seen, and the encounter it belongs to."""

    box: Box3D
    visible_px: int
    encounter_id: str | None = None
    """One meeting with one rare thing, over all its frames; what a bootstrap resamples."""
    is_ignored: bool = False
    """Marked by the labeler: neither hit nor miss."""


@dataclass(frozen=True)
class EvalFrame:
    """One evaluated instant: truth and predictions in the ego frame, predictions down to a low score."""

    frame_id: str
    place_id: str
    truths: tuple[TruthLabel, ...]
    predictions: tuple[Box3D, ...]
    is_night: bool = False
    tags: frozenset[str] = field(default_factory=frozenset)
    ignored_discs_ego: tuple[tuple[float, float, float], ...] = ()
    """(x, y, radius) where the labeler could not tell: truths and boxes inside are ignored."""


@dataclass
class MatchSettings:
    """Which truths count."""

    max_range_m: Range = 30.0
    """Truths further away are not counted."""
    min_visible_px: Count = 12
    """Truths that show fewer pixels are not counted."""


@dataclass(frozen=True, eq=False)
class BoxTable:
    """Boxes as columns, ego frame, metres, radians, metres per second."""

    frame: Ints  # (N,) index into the frames
    category: Ints  # (N,) index into ``Matches.categories``
    attribute: Ints  # (N,) index into the members of Attribute
    xy_ego: Floats  # (N, 2)
    size_m: Floats  # (N, 3) length, width, height
    yaw_rad: Floats  # (N,)
    velocity_mps: Floats  # (N, 2)
    score: Floats  # (N,)

    @property
    def range_m(self) -> Floats:
        """Distance on the ground from the ego origin, (N,)."""
        return np.asarray(np.hypot(self.xy_ego[:, 0], self.xy_ego[:, 1]), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Facts of whole frames, as columns of length F."""

    frame_ids: tuple[str, ...]
    places: tuple[str, ...]
    """Distinct place ids, sorted."""
    place: Ints  # (F,) index into places
    is_night: Bools  # (F,)
    tags: tuple[frozenset[str], ...]


@dataclass(frozen=True, eq=False)
class Matches:
    """Every prediction against every truth of its class, at the four distances.

    ``slices.within`` narrows the three ``is_..._counted`` masks; nothing else ever changes.
    """

    categories: tuple[Category, ...]
    """The classes that were matched."""
    frames: FrameTable
    predictions: BoxTable
    """Best score first."""
    truths: BoxTable
    encounter_ids: tuple[str | None, ...]
    """Per truth, (M,)."""
    truth_of: Ints  # (N, 4) row of the truth that the box found, or UNMATCHED
    found_score: Floats  # (M, 4) score of the box that found the truth, or MISSED_SCORE
    is_truth_counted: Bools  # (M,) a hit or a miss; the others are ignored
    is_prediction_counted: Bools  # (N,) a false alarm when it finds nothing
    is_frame_counted: Bools  # (F,)

    def index_of(self, category: Category) -> int:
        """Return the number that stands for a class in the tables, -1 for one that was not matched."""
        return self.categories.index(category) if category in self.categories else -1

    def truth_rows(self, category: Category) -> Ints:
        """Return the rows of the counted truths of a class, (n,)."""
        is_class = self.truths.category == self.index_of(category)
        return np.flatnonzero(is_class & self.is_truth_counted)

    def prediction_rows(self, category: Category) -> Ints:
        """Return the rows of all predictions of a class, best score first, (n,)."""
        return np.flatnonzero(self.predictions.category == self.index_of(category))

    def outcomes(self, category: Category, distance_m: float) -> tuple[Ints, Bools]:
        """Return the predictions of a class that count at a distance, best score first.

        Returns:
            Their rows (n,), and whether each is a hit (n,); what is not a hit is a false alarm.
        """
        rows = self.prediction_rows(category)
        truth = self.truth_of[rows, distance_column(distance_m)]
        is_matched = truth != UNMATCHED
        is_hit = np.zeros(len(rows), np.bool_)
        is_hit[is_matched] = self.is_truth_counted[truth[is_matched]]
        is_false_alarm = ~is_matched & self.is_prediction_counted[rows]
        counts = is_hit | is_false_alarm
        return rows[counts], is_hit[counts]

    def clean_frames(self, category: Category) -> Bools:
        """Mark the counted frames that hold no truth of the class, visible or not, (F,)."""
        is_clean = self.is_frame_counted.copy()
        is_clean[self.truths.frame[self.truths.category == self.index_of(category)]] = False
        return is_clean


def distance_column(distance_m: float) -> int:
    """Find the column of a match distance.

    Raises:
        OperatorError: The tables were not made for this distance.
    """
    if distance_m not in MATCH_DISTANCES_M:
        offered = ", ".join(f"{d:g}" for d in MATCH_DISTANCES_M)
        raise OperatorError(f"no matches at {distance_m:g} m: expected one of {offered} m")
    return MATCH_DISTANCES_M.index(distance_m)


def match(
    frames: Sequence[EvalFrame],
    settings: MatchSettings | None = None,
    *,
    categories: Sequence[Category] = (),
) -> Matches:
    """Match the predictions of every frame with its truth, per class, at the four distances.

    Boxes of a class that is not listed take no part. Among equal scores a hash of frame and place decides,
    which is as good as a draw and always the same: no result depends on the order of frames or boxes.

    Args:
        frames: Truth and predictions.
        settings: What counts.
        categories: Classes to match; without any, every class that this software knows.

    Raises:
        OperatorError: No frame, or the same frame twice.
    """
    settings = settings or MatchSettings()
    listed = tuple(categories) or tuple(CLASSES)
    frame_table = _frame_table(frames)
    predictions = _box_table(
        ((k, box) for k, f in enumerate(frames) for box in f.predictions), listed
    )
    order = np.lexsort((_tie_keys(predictions, frame_table.frame_ids), -predictions.score))
    predictions = _reordered(predictions, order)
    labels = [
        (k, label)
        for k, f in enumerate(frames)
        for label in f.truths
        if label.box.category in listed
    ]
    truths = _box_table(((k, label.box) for k, label in labels), listed)
    is_ignored = np.array(
        [t.is_ignored or t.visible_px < settings.min_visible_px for _, t in labels], np.bool_
    )
    discs_ego = _disc_table(frames)
    is_counted = ~is_ignored & _is_counted_place(truths, discs_ego, settings)
    truth_of = _greedy(predictions, truths, is_counted, len(listed))
    return Matches(
        categories=listed,
        frames=frame_table,
        predictions=predictions,
        truths=truths,
        encounter_ids=tuple(label.encounter_id for _, label in labels),
        truth_of=truth_of,
        found_score=_found_score(predictions.score, truth_of, len(labels)),
        is_truth_counted=is_counted,
        is_prediction_counted=_is_counted_place(predictions, discs_ego, settings),
        is_frame_counted=np.ones(len(frames), np.bool_),
    )


def attribute_index(attribute: Attribute) -> int:
    """Return the number that stands for an attribute in a ``BoxTable``."""
    return _ATTRIBUTE_INDEX[attribute]


def _frame_table(frames: Sequence[EvalFrame]) -> FrameTable:
    frame_ids = tuple(f.frame_id for f in frames)
    if not frames:
        raise OperatorError("nothing to evaluate: expected at least one frame, got none")
    if len(set(frame_ids)) != len(frame_ids):
        raise OperatorError(
            f"evaluation set holds a frame twice: {len(frame_ids)} frames, "
            f"{len(set(frame_ids))} distinct ids; counts would be wrong"
        )
    places = tuple(sorted({f.place_id for f in frames}))
    index = {place: k for k, place in enumerate(places)}
    return FrameTable(
        frame_ids=frame_ids,
        places=places,
        place=np.array([index[f.place_id] for f in frames], np.int64),
        is_night=np.array([f.is_night for f in frames], np.bool_),
        tags=tuple(f.tags for f in frames),
    )


def _disc_table(frames: Sequence[EvalFrame]) -> Floats:
    """Stack the ignored discs of all frames, (F, D, 3); what pads a row has a negative radius."""
    most = max(len(f.ignored_discs_ego) for f in frames)
    discs_ego = np.full((len(frames), most, 3), -1.0)
    for k, f in enumerate(frames):
        if f.ignored_discs_ego:
            discs_ego[k, : len(f.ignored_discs_ego)] = f.ignored_discs_ego
    return discs_ego


def _is_counted_place(boxes: BoxTable, discs_ego: Floats, settings: MatchSettings) -> Bools:
    """Return which boxes stand within range and in no ignored disc of their frame, (N,)."""
    discs = discs_ego[boxes.frame]  # (N, D, 3)
    offset = boxes.xy_ego[:, None, :] - discs[..., :2]
    is_inside = np.hypot(offset[..., 0], offset[..., 1]) < discs[..., 2]
    return (boxes.range_m <= settings.max_range_m) & ~is_inside.any(axis=1)


def _box_table(boxes: Iterable[tuple[int, Box3D]], listed: Sequence[Category]) -> BoxTable:
    index = {category: k for k, category in enumerate(listed)}
    rows = [_values(k, index[box.category], box) for k, box in boxes if box.category in index]
    value = np.array(rows, np.float64).reshape(-1, 12)
    code = value[:, :3].astype(np.int64)
    return BoxTable(
        frame=code[:, 0],
        category=code[:, 1],
        attribute=code[:, 2],
        xy_ego=value[:, 3:5],
        size_m=value[:, 5:8],
        yaw_rad=value[:, 8],
        velocity_mps=value[:, 9:11],
        score=value[:, 11],
    )


def _values(frame: int, category: int, box: Box3D) -> tuple[float, ...]:
    attribute = _ATTRIBUTE_INDEX[box.attribute]
    size_m = (box.length_m, box.width_m, box.height_m)
    motion = (box.yaw_rad, box.vx_mps, box.vy_mps)
    return (frame, category, attribute, box.x_m, box.y_m, *size_m, *motion, box.score)


def _tie_keys(boxes: BoxTable, frame_ids: Sequence[str]) -> NDArray[np.uint64]:
    """Hash the place of each box, (N,): orders equal scores independently of hits."""
    places = np.ascontiguousarray(boxes.xy_ego)
    return np.array(
        [
            int.from_bytes(blake2b(frame_ids[k].encode() + xy.tobytes(), digest_size=8).digest())
            for k, xy in zip(boxes.frame, places, strict=True)
        ],
        np.uint64,
    )


def _reordered(table: BoxTable, order: Ints) -> BoxTable:
    return BoxTable(
        frame=table.frame[order],
        category=table.category[order],
        attribute=table.attribute[order],
        xy_ego=table.xy_ego[order],
        size_m=table.size_m[order],
        yaw_rad=table.yaw_rad[order],
        velocity_mps=table.velocity_mps[order],
        score=table.score[order],
    )


def _found_score(score: Floats, truth_of: Ints, truth_count: int) -> Floats:
    """Turn the matches round: for each truth the score of the box that found it, (M, 4)."""
    found = np.full((truth_count, truth_of.shape[1]), MISSED_SCORE)
    for k in range(truth_of.shape[1]):
        is_matched = truth_of[:, k] != UNMATCHED
        found[truth_of[is_matched, k], k] = score[is_matched]
    return found


def _greedy(predictions: BoxTable, truths: BoxTable, is_counted: Bools, class_count: int) -> Ints:
    """Match best score first, all groups at once: first the best box of each group, then the second.

    A group is one class in one frame; its truths sit in one row of padded (G, S) tables, and every
    round handles at most one box of each group, so that rounds need no order inside.
    """
    truth_of = np.full((len(predictions.score), len(MATCH_DISTANCES_M)), UNMATCHED, np.int64)
    groups, truth_group = np.unique(_group_key(truths, class_count), return_inverse=True)
    if len(groups) == 0:
        return truth_of
    slot = _rank_in_group(truth_group)
    shape = (len(groups), int(slot.max()) + 1)
    row_of = np.full(shape, UNMATCHED, np.int64)
    row_of[truth_group, slot] = np.arange(len(truth_group))
    xy_ego = np.full((*shape, 2), np.inf)
    xy_ego[truth_group, slot] = truths.xy_ego
    handicap_m = np.zeros(shape)
    handicap_m[truth_group, slot] = np.where(is_counted, 0.0, _AFTER_EVERY_COUNTED_M)
    is_taken = np.zeros((len(MATCH_DISTANCES_M), *shape), np.bool_)

    for rows, group in _rounds(_group_key(predictions, class_count), groups):
        offset = predictions.xy_ego[rows, None, :] - xy_ego[group]  # (n, S, 2)
        distance_m = np.hypot(offset[..., 0], offset[..., 1])
        for k, limit_m in enumerate(MATCH_DISTANCES_M):
            is_free = (distance_m < limit_m) & ~is_taken[k, group]
            cost_m = np.where(is_free, distance_m + handicap_m[group], np.inf)
            best = cost_m.argmin(axis=1)
            is_hit = np.isfinite(cost_m[np.arange(len(rows)), best])
            is_taken[k, group[is_hit], best[is_hit]] = True
            truth_of[rows[is_hit], k] = row_of[group[is_hit], best[is_hit]]
    return truth_of


def _group_key(boxes: BoxTable, class_count: int) -> Ints:
    return boxes.frame * class_count + boxes.category


def _rounds(prediction_key: Ints, groups: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield (rows, group) per round; predictions in groups without truth never appear."""
    group = np.searchsorted(groups, prediction_key).clip(max=len(groups) - 1)
    rows = np.flatnonzero(groups[group] == prediction_key)
    if len(rows) == 0:
        return
    rank = _rank_in_group(group[rows])
    by_rank = np.argsort(rank, kind="stable")
    for batch in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]):
        yield rows[batch], group[rows[batch]]


def _rank_in_group(group: Ints) -> Ints:
    """Number the members of each group 0, 1, 2 ... in the order in which they stand, (n,)."""
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - starts
    return rank
