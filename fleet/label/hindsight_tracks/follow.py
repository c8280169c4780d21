"""Go forwards through a clip: each instant's boxes join running tracks or begin new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.contracts.classes import Category
from fleet.label.hindsight_tracks.boxes import ClipBoxes, HindsightSettings
from fleet.label.hindsight_tracks.pairing import best_pairs, class_price, gated_cost
from fleet.label.smooth import Floats, Ints, correct_tracks, predict_tracks, start_tracks


def follow(boxes: ClipBoxes, settings: HindsightSettings) -> list[list[int]]:
    """Assign every box to a track or begin one with it; returns pieces of tracks as rows of boxes."""
    pieces: list[list[int]] = []
    running = _Running([], [], [], np.zeros((0, 4)), np.zeros((0, 4, 4)))
    before_s = 0.0
    for k, now_s in enumerate(boxes.times_s.tolist()):
        alive = [
            n for n, last_s in enumerate(running.last_s) if now_s - last_s <= settings.max_coast_s
        ]
        running.keep(alive)
        if running.piece and now_s > before_s:
            running.mean, running.spread = predict_tracks(
                running.mean, running.spread, now_s - before_s, settings.following
            )
        rows = np.flatnonzero(boxes.frame == k)
        taken = _assign(running, rows, boxes, settings)
        _extend(running, taken, pieces, boxes, now_s)
        fresh = np.setdiff1d(rows, [row for _, row in taken])
        _begin(running, fresh[boxes.score[fresh] >= settings.birth_score], pieces, boxes, settings)
        before_s = now_s
    return pieces


@dataclass(eq=False)
class _Running:
    """Tracks that may still get a box, and what is known of them now."""

    piece: list[int]
    last_s: list[float]
    categories: list[Category]
    mean: Floats  # (N, 4)
    spread: Floats  # (N, 4, 4)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all tracks but these."""
        self.piece = [self.piece[k] for k in rows]
        self.last_s = [self.last_s[k] for k in rows]
        self.categories = [self.categories[k] for k in rows]
        self.mean, self.spread = self.mean[list(rows)], self.spread[list(rows)]


def _assign(
    running: _Running, rows: Ints, boxes: ClipBoxes, settings: HindsightSettings
) -> list[tuple[int, int]]:
    """Pair running tracks with boxes: (index into running, row of boxes)."""
    if not running.piece or len(rows) == 0:
        return []
    offset = boxes.xy_world[rows][None] - running.mean[:, None, :2]  # (N, n, 2)
    spread = running.spread[:, None, :2, :2] + boxes.covariance[rows][None]
    price = np.array(
        [
            [class_price(theirs, boxes.categories[row], settings) for row in rows]
            for theirs in running.categories
        ]
    )
    cost = gated_cost(offset, spread, price, settings.gate)
    return [(n, int(rows[m])) for n, m in best_pairs(cost)]


def _extend(
    running: _Running,
    taken: Sequence[tuple[int, int]],
    pieces: list[list[int]],
    boxes: ClipBoxes,
    now_s: float,
) -> None:
    if not taken:
        return
    tracks, rows = [n for n, _ in taken], [row for _, row in taken]
    running.mean[tracks], running.spread[tracks] = correct_tracks(
        running.mean[tracks], running.spread[tracks], boxes.xy_world[rows], boxes.covariance[rows]
    )
    for n, row in taken:
        pieces[running.piece[n]].append(row)
        running.last_s[n] = now_s
        running.categories[n] = boxes.categories[row]


def _begin(
    running: _Running,
    rows: Ints,
    pieces: list[list[int]],
    boxes: ClipBoxes,
    settings: HindsightSettings,
) -> None:
    mean, spread = start_tracks(boxes.xy_world[rows], boxes.covariance[rows], settings.following)
    running.mean = np.concatenate([running.mean, mean])
    running.spread = np.concatenate([running.spread, spread])
    for row in rows.tolist():
        running.piece.append(len(pieces))
        running.last_s.append(float(boxes.times_s[boxes.frame[row]]))
        running.categories.append(boxes.categories[row])
        pieces.append([row])
