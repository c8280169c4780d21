"""Several laps side by side: the scores of the fleet's model on each slice after each lap.

The gate's places are the same in every lap, so a column is one model and a row is one slice. From the matrix
come the three numbers by which continual learning is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.lap.record import Contestant, LapRecord, SliceScore


@dataclass(frozen=True)
class SliceHistory:
    """One slice over the laps."""

    slice: str
    metric: str
    scores: tuple[float | None, ...]
    """Before the first lap, then after each."""
    claimed_in: int | None
    """Number of the first lap that claimed to improve it, from 1; None if none did."""

    @property
    def backward(self) -> float | None:
        """Backward transfer: how later laps changed the score that one lap had reached.

        Lopez-Paz and Ranzato 2017, Gradient episodic memory, equation 3, for one task.
        """
        if self.claimed_in is None or self.claimed_in == len(self.scores) - 1:
            return None
        return _difference(self.scores[-1], self.scores[self.claimed_in])

    @property
    def forward(self) -> float | None:
        """Forward transfer: how earlier laps changed the score before one lap claimed to improve it.

        Same paper, equation 4; the first model stands where the paper has a random one.
        """
        if self.claimed_in is None or self.claimed_in == 1:
            return None
        return _difference(self.scores[self.claimed_in - 1], self.scores[0])

    @property
    def forgetting(self) -> float | None:
        """Forgetting: the best that any earlier model did, less what the last one does.

        Chaudhry et al. 2018, Riemannian walk, section 3; below zero where the last is the best.
        """
        earlier = [score for score in self.scores[:-1] if score is not None]
        return _difference(max(earlier), self.scores[-1]) if earlier else None


def lap_matrix(laps: Sequence[LapRecord]) -> tuple[SliceHistory, ...]:
    """Lay out laps, oldest first, as one row per slice that any of them measured."""
    models = (laps[0].incumbent, *(fleet_model(lap) for lap in laps))
    keys = dict.fromkeys((s.slice, s.metric) for model in models for s in model.slices)
    claims = [claimed(lap) for lap in laps]
    return tuple(
        SliceHistory(
            slice=name,
            metric=metric,
            scores=tuple(_value(score_of(model, name, metric)) for model in models),
            claimed_in=claims.index((name, metric)) + 1 if (name, metric) in claims else None,
        )
        for name, metric in keys
    )


def fleet_model(lap: LapRecord) -> Contestant:
    """Return the model that the fleet ended on: the candidate once every vehicle runs it."""
    is_installed = all(v.bundle_id == lap.candidate.bundle_id for v in lap.vehicles)
    return lap.candidate if lap.vehicles and is_installed else lap.incumbent


def claimed(lap: LapRecord) -> tuple[str, str] | None:
    """Name the slice and metric that a lap set out to improve; None if the gate did not measure them."""
    claim = (lap.claimed_slice, "recall")
    return claim if score_of(lap.candidate, *claim) else None


def score_of(model: Contestant, name: str, metric: str) -> SliceScore | None:
    """Find one number of a model."""
    return next((s for s in model.slices if (s.slice, s.metric) == (name, metric)), None)


def _value(score: SliceScore | None) -> float | None:
    return None if score is None or score.score is None else score.score.value


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
