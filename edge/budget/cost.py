"""The cost of a tick by a device profile, stage by stage and rung by rung.

In lockstep these costs are charged; in real time they are the ladder's first guess, which measured times
correct.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.budget.deadline import AFTER_PLAN, SENSOR_TO_PLAN
from edge.contracts.bundle import DeviceProfile
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Rung

_NETWORK = ("preprocess", "infer", "decode")
_STAGES: dict[Rung, tuple[str, ...]] = {
    Rung.FULL: ("sense", *_NETWORK, "track", "radar", "plan", *AFTER_PLAN),
    Rung.SMALL: ("sense", *_NETWORK, "track", "radar", "plan", *AFTER_PLAN),
    Rung.RADAR_ONLY: ("sense", "track", "radar", "plan", *AFTER_PLAN),
    Rung.MINIMUM_RISK: ("sense", "track", "radar", "plan", *AFTER_PLAN),
}


@dataclass(frozen=True)
class ModelledLatency:
    """The cost of each stage by the profile, per rung, on one board with one model.

    ``costs_ms``: rung → stage → milliseconds, for the rungs that this vehicle can run.
    """

    costs_ms: Mapping[Rung, Mapping[str, float]]

    def sensor_to_plan_ms(self, rung: Rung) -> float:
        """Return a rung's cost from the sensors to the plan."""
        return math.fsum(ms for stage, ms in self.costs_ms[rung].items() if stage in SENSOR_TO_PLAN)


def modelled_latency(
    profile: DeviceProfile, model: str | None, rungs: Sequence[Rung]
) -> ModelledLatency:
    """Read a device profile's costs for one model.

    The keys of ``DeviceProfile.modelled_ms`` are stages; ``infer`` comes as ``infer_<model>`` and, for a
    bundle that ships a small graph, as ``infer_<model>_small``.

    Args:
        profile: The board.
        model: ``BundleManifest.model``; None when no network runs, and its stages then cost nothing.
        rungs: The rungs that the vehicle can run with its bundle.

    Raises:
        OperatorError: The profile lacks a cost that one of the rungs needs.
    """
    costs: dict[Rung, dict[str, float]] = {}
    for rung in rungs:
        stages = [s for s in _STAGES[rung] if model is not None or s not in _NETWORK]
        keys = {stage: _cost_key(stage, rung, model) for stage in stages}
        lacking = sorted({key for key in keys.values() if key not in profile.modelled_ms})
        if lacking:
            raise OperatorError(
                f"device profile {profile.name} has no modelled_ms for {', '.join(lacking)}, "
                f"which rung {rung} of model {model} needs"
            )
        costs[rung] = {stage: profile.modelled_ms[key] for stage, key in keys.items()}
    return ModelledLatency(costs)


def _cost_key(stage: str, rung: Rung, model: str | None) -> str:
    if stage != "infer":
        return stage
    return f"infer_{model}_small" if rung is Rung.SMALL else f"infer_{model}"
