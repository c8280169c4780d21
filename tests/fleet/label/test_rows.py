"""Which clips show driving that a network may imitate."""

from types import SimpleNamespace
from typing import cast

import pytest

from edge.clip_file import Clip, ClipFrame, EncodedFrame, Instant
from edge.contracts.clip import TriggerRule
from edge.contracts.geometry import Pose
from edge.contracts.sensors import EgoState, FrameStatus, Route
from fleet.label import clip_rows
from fleet.sample.row import SampleLabels

RANDOM, BRAKE, UNHEARD_OF = TriggerRule.RANDOM, TriggerRule.HARD_BRAKE, TriggerRule("swarm_of_bees")


def _clip(*rules: TriggerRule) -> Clip:
    """One instant of a clip with these causes; rows read no more of a manifest than this."""
    sensed = Instant(
        stamp_ns=0,
        frames=(EncodedFrame(b"", 0, FrameStatus.MISSING),) * 8,
        radar=b"",
        ultrasonics=b"",
        ego=EgoState(stamp_ns=0, world_from_ego=Pose(), speed_mps=3.0),
        route=Route(points_ego=((0.0, 0.0), (30.0, 0.0))),
    )
    manifest = SimpleNamespace(
        clip_id="c",
        drive_id="d",
        rig_id="r",
        events=tuple(SimpleNamespace(rule=rule) for rule in rules),
    )
    return cast(Clip, SimpleNamespace(manifest=manifest, frames=(ClipFrame(sensed),)))


@pytest.mark.parametrize(
    ("rules", "teaches_driving"),
    [
        ((RANDOM,), True),
        ((RANDOM, RANDOM), True),
        ((BRAKE,), False),
        ((RANDOM, BRAKE), False),
        ((BRAKE, RANDOM), False),
        ((UNHEARD_OF,), False),
        ((RANDOM, UNHEARD_OF), False),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else str(value),
)
def test_driving_is_imitated_only_where_chance_alone_chose_the_clip(
    rules: tuple[TriggerRule, ...], teaches_driving: bool
) -> None:
    (row,) = clip_rows(_clip(*rules), {0: SampleLabels()})
    assert row.labels.teaches_driving is teaches_driving


@pytest.mark.parametrize("rule", sorted(set(TriggerRule) - {RANDOM}))
def test_no_trigger_whatever_its_rule_teaches_driving(rule: TriggerRule) -> None:
    (row,) = clip_rows(_clip(rule), {0: SampleLabels()})
    assert not row.labels.teaches_driving
