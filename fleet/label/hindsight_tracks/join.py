"""Across gaps: ends of pieces are joined to beginnings that continue them, judged by place and velocity."""

from __future__ import annotations

import numpy as np

from fleet.label.hindsight_tracks.boxes import ClipBoxes, HindsightSettings, smoothed
from fleet.label.hindsight_tracks.pairing import NEVER, best_pairs, class_price, gated_cost
from fleet.label.smooth import Floats, Ints, States, predict_tracks


def join(pieces: list[list[int]], boxes: ClipBoxes, settings: HindsightSettings) -> list[list[int]]:
    """Join ends to beginnings across gaps, all at once, and follow the chains.

    A piece of one box has no velocity to compare and is never joined.
    """
    if len(pieces) < 2:
        return pieces
    states = smoothed(pieces, boxes, settings)
    first = boxes.frame[[p[0] for p in pieces]]
    last = boxes.frame[[p[-1] for p in pieces]]
    gap_s = boxes.times_s[first][None, :] - boxes.times_s[last][:, None]  # (end, beginning)
    has_speed = np.array([len(p) > 1 for p in pieces])
    is_near = (gap_s > 0.0) & (gap_s <= settings.max_gap_s)
    ends, begins = np.nonzero(is_near & has_speed[:, None] & has_speed[None, :])
    price = [
        class_price(boxes.categories[pieces[end][-1]], boxes.categories[pieces[begin][0]], settings)
        for end, begin in zip(ends, begins, strict=True)
    ]
    offset, spread = _mismatch(
        states, (ends, last[ends]), (begins, first[begins]), gap_s[ends, begins], settings
    )
    cost = np.full(gap_s.shape, NEVER)
    cost[ends, begins] = gated_cost(offset, spread, np.array(price), settings.gap_gate)
    following = dict(best_pairs(cost))
    chains = []
    for k in sorted(set(range(len(pieces))) - set(following.values())):
        chain, piece = list(pieces[k]), k
        while piece in following:
            piece = following[piece]
            chain += pieces[piece]
        chains.append(chain)
    return chains


def _mismatch(
    states: States,
    end: tuple[Ints, Ints],
    begin: tuple[Ints, Ints],
    gap_s: Floats,
    settings: HindsightSettings,
) -> tuple[Floats, Floats]:
    """Compare where ends would be, had they gone on, with beginnings: place and velocity.

    Args:
        end: Track and instant of each end, (n,) each; begin: likewise.

    Returns:
        (n, 4) offsets and (n, 4, 4) their covariance.
    """
    mean, spread = predict_tracks(states.mean[end], states.covariance[end], gap_s, settings.motion)
    return states.mean[begin] - mean, states.covariance[begin] + spread
