"""Run a recorded clip through a vehicle, and list the rules of a campaign that fire on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.named import load
from edge.clip import DriveIdentity
from edge.clip_file import Clip
from edge.contracts.bundle import DeviceProfile
from edge.contracts.campaign import Campaign
from edge.contracts.campaign_file import CampaignSettings, campaign_from
from edge.contracts.clip import TriggerEvent
from edge.contracts.errors import OperatorError
from edge.contracts.scene import Perception, Plan
from edge.contracts.sensors import FrameSet
from edge.contracts.time import NS_PER_S
from edge.health import BundleHealth
from edge.perceive.loaded import LoadedBundle, load_bundle, recorded_boxes
from edge.perceive.perceiver import read_manifest
from edge.sources.replay import ReplayedTick, replay_ticks
from edge.vehicle.settings import VehicleSettings
from edge.vehicle.start import start_vehicle


@dataclass(frozen=True)
class Firing:
    """One rule that fired in a replay."""

    clip_id: str
    index: int
    """Frame index of the drive."""
    second: float
    """Since the clip's first frame."""
    campaign_id: str
    rule: str
    value: float
    threshold: float
    track_id: int | None


@dataclass(frozen=True, eq=False)
class ClipReplay:
    """Conclusions of a replay of one clip."""

    ticks: tuple[ReplayedTick, ...]
    firings: tuple[Firing, ...]
    health: BundleHealth
    ignored_rules: int
    """Armed rules that this software does not know, or knows in another version."""


def read_campaigns(name: str) -> tuple[Campaign, ...]:
    """Read campaigns by their ids: a file of ``conf/campaign``, or the path of one's own.

    Raises:
        OperatorError: There is no such file, it is no YAML, or a key or value in it makes no sense.
    """
    configured = load("campaign", name, dict[str, CampaignSettings])
    return tuple(campaign_from(each, settings) for each, settings in configured.items())


def clip_files(paths: Sequence[Path], suffix: str) -> tuple[Path, ...]:
    """List the clips that are named, and those in a folder that is named, in order.

    Raises:
        OperatorError: A path is neither, or a folder holds no clip.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
        if not inside:
            raise OperatorError(f"folder {path} holds no clip: no file in it ends in {suffix}")
        if not inside[0].is_file():
            raise OperatorError(
                f"there is no clip {path}; `ringroad clips fetch CLIP FILE` writes one that came home"
            )
        found += inside
    return tuple(found)


def replay_clip(
    clip: Clip,
    profile: DeviceProfile,
    *,
    bundle_folder: Path | None = None,
    campaigns: Sequence[Campaign] = (),
    settings: VehicleSettings | None = None,
) -> ClipReplay:
    """Run a clip through a vehicle in lockstep.

    The vehicle ticks at the rate at which the clip was recorded, which may be less than that of its drive.

    Args:
        clip: A sealed clip.
        profile: The board whose costs are charged.
        bundle_folder: The bundle that perceives; without one the recorded boxes are given again.
        campaigns: Rules to arm.
        settings: Of the vehicle; the defaults otherwise.

    Raises:
        OperatorError: There is no bundle in the folder, or none for this board.
        ContractError: The bundle does not load.
        SchemaError: An image of the clip does not decode.
    """
    manifest = clip.manifest
    vehicle = start_vehicle(
        settings or VehicleSettings(),
        DriveIdentity(
            vehicle_id=manifest.vehicle_id,
            drive_id=manifest.drive_id,
            rate_hz=manifest.recorded_hz,
        ),
        rig=manifest.rig,
        bundle=_bundle(clip, profile, bundle_folder),
        profile=profile,
        campaigns=campaigns,
    )
    firings: list[Firing] = []

    def tick(frame_set: FrameSet) -> tuple[Perception, Plan]:
        result = vehicle.runtime.tick(frame_set, frame_set.stamp_ns)
        firings.extend(_firing(event, frame_set.index, clip) for event in result.events)
        return result.perception, result.plan

    ticks = replay_ticks(clip, tick)
    runtime = vehicle.runtime
    return ClipReplay(ticks, tuple(firings), runtime.health, runtime.ignored_rules)


def _bundle(clip: Clip, profile: DeviceProfile, folder: Path | None) -> LoadedBundle:
    if folder is not None:
        return load_bundle(read_manifest(folder), folder, clip.manifest.rig, profile)
    boxes_of = {f.stamp_ns: f.perception.boxes for f in clip.frames if f.perception}
    return recorded_boxes(boxes_of, bundle_id=clip.manifest.bundle_id)


def _firing(event: TriggerEvent, index: int, clip: Clip) -> Firing:
    return Firing(
        clip_id=clip.manifest.clip_id,
        index=index,
        second=round((event.stamp_ns - clip.frames[0].stamp_ns) / NS_PER_S, 3),
        campaign_id=event.campaign_id,
        rule=str(event.rule),
        value=event.value,
        threshold=event.threshold,
        track_id=event.track_id,
    )
