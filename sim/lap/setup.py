"""Set a lap up: render the sets, set up the fleet, enrol the vehicles, release the first model.

Each function does what an operator would do by hand with ``ringroad fleet``, ``dataset`` and ``bundle``,
and through the same functions of ``fleet``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edge.board.rig import load_rig
from edge.contracts.errors import LinkDownError
from edge.ota import install_factory_bundle
from edge.upload import load_or_make_keys
from fleet.bundle.bundle import write_bundle
from fleet.campaign import CampaignSettings, approve, campaign_from, propose
from fleet.dataset.frozen import Dataset, DatasetManifest
from fleet.dataset.recipe import build_set, load_recipe
from fleet.dataset.shelf import shelve
from fleet.depot import Depot
from fleet.init import create_fleet
from fleet.keys import Enrolment, enrol
from fleet.model import find_model
from fleet.state import ServiceCard, StateFolder, read_service_card
from fleet.store import BlobStore, open_store
from fleet.work.process import Progress, start_child
from fleet.work.workspace import OnProgress, Workspace, ignore_progress
from fleet.zoo import read_card as read_model_card
from fleet.zoo import zoo_folder
from sim.lap.folders import LapFolders
from sim.lap.orders import BundledModel
from sim.lap.settings import LapSettings
from sim.recipes import RecipeStage

ACTOR = "lap"
"""Name of the lap in the audit log."""

_START_S, _POLL_S = 60.0, 0.05


def lap_sets(
    settings: LapSettings,
    folders: LapFolders,
    store: BlobStore,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, DatasetManifest]:
    """Render the sets that the lap needs, or find them in the cache; report the progress of each."""
    cache = folders.cache / "recipes"
    runner = RecipeStage(load_rig(settings.vehicle.rig).rig, settings.world)
    names = {
        "replay": settings.replay_set,
        "tune": settings.tune_set,
        "gate": settings.gate_set,
        "rare": settings.claim.rare_set,
    }
    shared = open_store(settings.store, folders.cache / "store")
    sets: dict[str, DatasetManifest] = {}
    for role, name in names.items():
        recipe = load_recipe(name)
        sets[role] = build_set(
            recipe, runner, shared, cache, on_progress=_rows_of(name, on_progress)
        )
        on_progress(name, Progress(done=sets[role].samples, total=sets[role].samples))
        store.put_if_absent(sets[role].blob_id, shared.get(sets[role].blob_id))
    return sets


def _rows_of(name: str, on_progress: OnProgress) -> Callable[[int], None]:
    return lambda rows: on_progress(name, Progress(done=rows, note="frames rendered"))


def make_fleet(settings: LapSettings, state: StateFolder) -> None:
    """Make the fleet of a run, which keeps its blobs where the lap does."""
    told = replace(settings.fleet, state=str(state.root), store=settings.store)
    create_fleet(told, now_ns=time.time_ns())


@contextmanager
def running_service(state: StateFolder, log: Path) -> Iterator[ServiceCard]:
    """Run ``ringroad fleet serve`` as a process of its own until the block is left.

    It has this process's environment, and with it the S3 client's credentials.

    Raises:
        LinkDownError: It did not start; the message ends with its last output.
    """
    words = ["fleet", "serve", "--state", str(state.root), "--json"]
    with start_child("edge", words, log) as child:
        deadline = time.monotonic() + _START_S
        while (card := read_service_card(state)) is None:
            if child.poll() is not None or time.monotonic() > deadline:
                raise LinkDownError(f"the fleet service did not start: {child.tail()}")
            time.sleep(_POLL_S)
        yield card


def set_up_fleet(
    settings: LapSettings,
    workspace: Workspace,
    depot: Depot,
    sets: Mapping[str, DatasetManifest],
    homes: Mapping[str, Path],
) -> None:
    """Shelve the sets, approve the campaigns, enrol the vehicles.

    Args:
        settings: The lap's.
        workspace: The fleet's.
        depot: The fleet's.
        sets: Frozen datasets.
        homes: Each vehicle's own disk.
    """
    for manifest in sets.values():
        shelve(workspace, manifest)
    for campaign_id, campaign in settings.campaigns.items():
        _arm(workspace, campaign_id, campaign)
    for vehicle_id, home in homes.items():
        _enrol(workspace, depot, vehicle_id, home, settings)


def _arm(workspace: Workspace, campaign_id: str, settings: CampaignSettings) -> None:
    """Propose and approve one campaign; doing it again changes nothing."""
    at_ns = workspace.now_ns()
    campaign = campaign_from(campaign_id, settings)
    propose(workspace.catalog, campaign, at_ns=at_ns, actor=ACTOR)
    approve(workspace.catalog, campaign_id, by=ACTOR, at_ns=at_ns)


def _enrol(
    workspace: Workspace, depot: Depot, vehicle_id: str, home: Path, settings: LapSettings
) -> None:
    """Register a vehicle by the public halves of the keys on its disk."""
    keys = load_or_make_keys(home / "keys")
    enrolment = Enrolment(
        vehicle_id=vehicle_id,
        curve_key=keys.curve_key,
        report_key=keys.report_key,
        profile=settings.profile,
        rig_id=load_rig(settings.vehicle.rig).rig.rig_id,
    )
    enrol(workspace.catalog, enrolment, at_ns=workspace.now_ns(), actor=ACTOR)
    depot.enrol([vehicle_id])


def release_baseline(
    settings: LapSettings,
    workspace: Workspace,
    depot: Depot,
    tune: Dataset,
    homes: Mapping[str, Path],
) -> BundledModel:
    """Release the shipped baseline, and install that bundle on every vehicle as the factory's."""
    model = find_model(workspace, settings.model)
    tuned = read_model_card(zoo_folder(settings.model)).tuned
    bundle = depot.build(model, tuned, tune, profile=settings.profile)
    depot.release(bundle)
    factory = workspace.folder / "factory"
    write_bundle(bundle, factory)
    for home in homes.values():
        install_factory_bundle(home / "bundles", factory)
    return BundledModel(bundle, model)
