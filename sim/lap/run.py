"""The lap, stage by stage: read ``run_lap`` first. Every stage is one call; the order is the loop.

This is the composition root: the only place that knows the world, the vehicles and the fleet at once.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from edge.contracts.bundle import Provenance
from edge.contracts.clip import TriggerRule
from edge.contracts.scene import CATEGORIES, Category
from edge.perceive.tensors import SPECS
from fleet.bundle import Bundle, write_bundle
from fleet.catalog import Catalog, ClipRow, QuarantineRow
from fleet.dataset import Dataset, DatasetManifest
from fleet.evaluate import (
    SLICES,
    Contender,
    Decision,
    Verdict,
    best_f1_threshold,
    compare_episodes,
    gather,
    judge,
    threshold_for,
)
from fleet.jobs import Child, read_progress, start_child
from fleet.recipe import build_set, load_recipe
from fleet.release import ModelFiles, assemble
from fleet.rollout import CanaryRule
from fleet.rollout.conduct import advance
from fleet.service import ServiceCard
from fleet.store import BlobStore, open_store
from fleet.zoo import ModelCard, read_card, zoo_folder
from sim.episodes import ChildEpisodes, default_episodes
from sim.lap import learn
from sim.lap.depot import Depot, install_factory, running_service
from sim.lap.folders import LapFolders
from sim.lap.record import LapRecord, Stage, WaveRecord
from sim.lap.settings import LapSettings
from sim.lap.tell import Told, tell
from sim.lap.vehicle import TrustAnchorsFile, VehicleOrder, VehicleOutcome
from sim.maps import Split, load_map
from sim.recipes import RecipeStage
from sim.vehicle import DriveOrder

RECIPES = Path(__file__).parents[2] / "conf" / "recipe"
_POLL_S = 0.2

Say = Callable[[str], None]


@dataclass
class Clockwork:
    """Times the stages, wall and CPU of the whole process tree, and tells whoever watches."""

    say: Say
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time one stage; what is appended to the list becomes its note."""
        began, cpu = time.monotonic(), _cpu_s()
        notes: list[str] = []
        self.say(f"{name} …")
        yield notes
        stage = Stage(
            name=name,
            seconds=round(time.monotonic() - began, 1),
            cpu_seconds=round(_cpu_s() - cpu, 1),
            note=", ".join(notes),
        )
        self.stages.append(stage)
        self.say(f"{name}: {stage.seconds:.1f} s, {stage.cpu_seconds:.1f} s CPU. {stage.note}")


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass(frozen=True)
class Incumbent:
    """The model that drives when a lap begins."""

    bundle: Bundle
    weights: Path
    int8: Path
    graph: Path
    known: tuple[Category, ...]


@dataclass(frozen=True)
class LapResult:
    """A finished lap: its record, and what the next one starts from."""

    record: LapRecord
    incumbent: Incumbent


def run_lap(
    settings: LapSettings, folders: LapFolders, incumbent: Incumbent | None, say: Say
) -> LapResult:
    """Go once round the loop.

    Args:
        settings: What to do.
        folders: Where; laps of one run share fleet and vehicles.
        incumbent: What the last lap left; None starts from the zoo.
        say: Hears a line per stage.

    Raises:
        RingroadError: A stage failed; the message says which thing and what follows.
    """
    clock = Clockwork(say)
    store = open_store(settings.store, folders.fleet.store)
    with ExitStack() as stack:
        with clock.stage("sets") as notes:
            sets = build_sets(settings, folders, store)
            notes.append(", ".join(f"{m.name} {m.samples}" for m in sets.values()))
        files = learn.files_of(sets, store, folders.cache)
        data = {name: Dataset(Path(file.path)) for name, file in files.items()}
        with clock.stage("fleet") as notes:
            log = folders.logs / "service.log"
            overrides = ["gateway.bind=tcp://127.0.0.1:*", "updates_port=0"]
            card = stack.enter_context(running_service(folders.fleet, log, overrides))
            catalog = Catalog(folders.fleet.catalog)
            stack.callback(catalog.close)
            depot = Depot(folders.fleet, catalog)
            vehicles = [f"v-{k + 1:02d}" for k in range(settings.vehicles)]
            incumbent = open_fleet(settings, folders, depot, vehicles, incumbent, data["tune"])
            notes.append(f"{len(vehicles)} vehicles on {incumbent.bundle.manifest.bundle_id}")
        with clock.stage("drive") as notes:
            orders = drive_orders(settings, folders, vehicles, "drive", settings.drive_s)
            drives = drive(folders, card, depot, settings.profile, orders)
            notes.append(f"{sum(d.ticks for d in drives)} ticks")
        clips = admitted(catalog, folders.lap)
        edge = [row for row in clips if str(TriggerRule.RANDOM) not in row.rules]
        chance = [row for row in clips if str(TriggerRule.RANDOM) in row.rules]
        with clock.stage("label") as notes:
            paths = lay_out(folders, store, {"candidate": edge, "control": chance})
            labelled = learn.label(
                folders,
                paths,
                model=incumbent.int8,
                size=settings.model,
                known=incumbent.known,
                budget_tracks=settings.budget_tracks,
                seed=settings.seed,
            )
            run = labelled["candidate"].run
            notes.append(f"{run.auto} boxes by hindsight, {run.asked} tracks reviewed")
        with clock.stage("freeze") as notes:
            fresh = {n: learn.freeze_labelled(rows, store, n) for n, rows in labelled.items()}
            notes.append(", ".join(f"{n} {m.dataset_id}" for n, m in fresh.items()))
        with clock.stage("train"):
            weights = learn.train(
                folders,
                learn.files_of(fresh, store, folders.cache),
                files["replay"],
                size=settings.model,
                parent=incumbent.weights,
                fit=settings.fit,
                on_done=say,
            )
            models = learn.export(folders, weights, settings.model, incumbent.graph, data["tune"])
        with clock.stage("evaluate") as notes:
            shipped = {"incumbent": incumbent.int8} | {n: m.int8 for n, m in models.items()}
            judged = {name: files[name] for name in ("tune", "gate", "rare")}
            answers = learn.answer(folders, shipped, judged, size=settings.model, on_done=say)
            contenders = {name: learn.contender(answers, name, data) for name in shipped}
        bundle = candidate_bundle(
            settings, depot, models["candidate"], contenders["candidate"], data["tune"], incumbent,
            fresh["candidate"],
        )  # fmt: skip
        with clock.stage("gate") as notes:
            verdict = decide(settings, folders, contenders, bundle, incumbent)
            notes.append(str(verdict.decision))
        with clock.stage("rollout") as notes:
            waves, redrives = roll_out(
                settings, folders, card, depot, vehicles, bundle, incumbent, verdict
            )
            notes.append("; ".join(f"{', '.join(w.vehicles)}: {w.state}" for w in waves))
        record = tell(
            Told(
                settings=settings,
                lap=folders.lap,
                stages=tuple(clock.stages),
                drives=drives,
                redrives=redrives,
                edge=edge,
                chance=chance,
                quarantined=len(catalog.all(QuarantineRow)),
                labelled=labelled["candidate"],
                chance_labelled=labelled["control"],
                dataset_id=fresh["candidate"].dataset_id,
                contenders=contenders,
                bundle_ids={
                    "incumbent": incumbent.bundle.manifest.bundle_id,
                    "candidate": bundle.manifest.bundle_id,
                },
                verdict=verdict,
                waves=waves,
                truth=folders.truth("drive"),
            )
        )
        is_promoted = verdict.decision is Decision.PASS and all(w.state == "passed" for w in waves)
        successor = Incumbent(
            bundle=bundle,
            weights=weights["candidate"],
            int8=models["candidate"].int8,
            graph=models["candidate"].fp32,
            known=tuple(dict.fromkeys((*incumbent.known, Category(settings.rare)))),
        )
        return LapResult(record, successor if is_promoted else incumbent)


def build_sets(
    settings: LapSettings, folders: LapFolders, store: BlobStore
) -> dict[str, DatasetManifest]:
    """Render the sets that the lap needs, or find them in the cache."""
    runner, cache = RecipeStage(), folders.cache / "recipes"
    names = {
        "replay": settings.replay_set,
        "tune": settings.tune_set,
        "gate": settings.gate_set,
        "rare": settings.rare_set,
    }
    shared = open_store(settings.store, folders.cache / "store")
    sets: dict[str, DatasetManifest] = {}
    for role, name in names.items():
        sets[role] = build_set(load_recipe(RECIPES / f"{name}.yaml"), runner, shared, cache)
        store.put_if_absent(sets[role].blob_id, shared.get(sets[role].blob_id))
    return sets


def open_fleet(
    settings: LapSettings,
    folders: LapFolders,
    depot: Depot,
    vehicles: Sequence[str],
    incumbent: Incumbent | None,
    tune: Dataset,
) -> Incumbent:
    """Make keys, repositories and campaigns; enrol the vehicles and give them their first bundle."""
    depot.open()
    for campaign_id, campaign in settings.campaigns.items():
        depot.campaign(campaign_id, campaign)
    homes = {vehicle: folders.vehicle(vehicle) for vehicle in vehicles}
    for vehicle, home in homes.items():
        depot.enrol(vehicle, home, settings.profile)
    if incumbent is not None:
        return incumbent
    baseline = from_zoo(settings, depot.next_counter(), tune)
    depot.release(baseline.bundle)
    install_factory(baseline.bundle, homes, folders.run / "factory")
    return baseline


def from_zoo(settings: LapSettings, release_counter: int, tune: Dataset) -> Incumbent:
    """Make the shipped baseline into a bundle."""
    folder = zoo_folder(settings.model)
    card: ModelCard = read_card(folder)
    files = ModelFiles(folder / "fp32.onnx", folder / "int8.onnx")
    bundle = assemble(
        files,
        SPECS[settings.model],
        card.thresholds,
        tune,
        profile=settings.profile,
        release_counter=release_counter,
        provenance=Provenance(dataset_id=card.dataset_id, run_id=card.run_id),
    )
    return Incumbent(bundle, folder / "weights.bin", files.int8, files.fp32, card.known)


def drive_orders(
    settings: LapSettings, folders: LapFolders, vehicles: Sequence[str], phase: str, seconds: float
) -> list[DriveOrder]:
    """Give every vehicle a place to start from; another one in every lap and phase."""
    orders = []
    for number, vehicle in enumerate(vehicles):
        scene = settings.scenes[number % len(settings.scenes)]
        places = load_map(scene.road_map).places_of(Split.TRAIN)
        phase_key = sum(phase.encode())
        rng = np.random.default_rng([settings.seed, folders.lap, phase_key, number])
        orders.append(
            DriveOrder(
                vehicle_id=vehicle,
                drive_id=f"lap{folders.lap}-{phase}-{vehicle}",
                road_map=scene.road_map,
                place_id=places[int(rng.integers(len(places)))].place_id,
                scenario=scene.scenario,
                seconds=seconds,
                seed=int(rng.integers(2**31)),
                is_night=scene.is_night,
            )
        )
    return orders


def drive(
    folders: LapFolders,
    card: ServiceCard,
    depot: Depot,
    profile: str,
    orders: Sequence[DriveOrder],
    say: Say = lambda text: None,
) -> list[VehicleOutcome]:
    """Let vehicles live one life each, side by side, and read what came of it.

    Raises:
        JobError: A vehicle's process failed.
    """
    phase = orders[0].drive_id.split("-")[1]
    folders.truth(phase).mkdir(parents=True, exist_ok=True)
    anchors = TrustAnchorsFile(
        image_root=depot.image.root_bytes().hex(), director_root=depot.director.root_bytes().hex()
    )
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for order in orders:
            full = VehicleOrder(
                home=str(folders.vehicle(order.vehicle_id)),
                truth=str(folders.truth(phase)),
                profile=profile,
                gateway=card.gateway,
                gateway_key=card.gateway_key,
                updates=card.updates,
                anchors=anchors,
                drive=order,
                progress=str(folders.job(f"{order.drive_id}.progress")),
            )
            job = folders.job(f"{order.drive_id}.json")
            job.write_bytes(msgspec.json.encode(full))
            out = folders.job(f"{order.drive_id}.outcome.json")
            log = folders.logs / f"{order.drive_id}.log"
            words = (str(job), str(out))
            children[order.drive_id] = stack.enter_context(
                start_child("sim.lap.vehicle", words, log)
            )
        while any(child.poll() is None for child in children.values()):
            failed = [c for c in children.values() if c.poll() not in (None, 0)]
            for child in failed:
                child.wait()
            done = [read_progress(folders.job(f"{o.drive_id}.progress")) for o in orders]
            say(" ".join(f"{p.done}/{p.total}" for p in done if p is not None))
            time.sleep(_POLL_S)
        for child in children.values():
            child.wait()
    return [
        msgspec.json.decode(
            folders.job(f"{order.drive_id}.outcome.json").read_bytes(), type=VehicleOutcome
        )
        for order in orders
    ]


def admitted(catalog: Catalog, lap: int) -> list[ClipRow]:
    """List the clips of this lap's drives, in id order; a clip of an earlier lap is not mined again."""
    prefix = f"lap{lap}-drive-"
    return [row for row in catalog.all(ClipRow) if row.drive_id.startswith(prefix)]


def lay_out(
    folders: LapFolders, store: BlobStore, clips: Mapping[str, Sequence[ClipRow]]
) -> dict[str, list[Path]]:
    """Lay clips out as files for the labelling processes, whatever the store is."""
    folder = folders.here / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[Path]] = {}
    for name, rows in clips.items():
        paths[name] = []
        for row in rows:
            path = folder / f"{row.clip_id}.mcap"
            path.write_bytes(store.get(row.blob_id))
            paths[name].append(path)
    return paths


def candidate_bundle(
    settings: LapSettings,
    depot: Depot,
    files: ModelFiles,
    contender: Contender,
    tune: Dataset,
    incumbent: Incumbent,
    dataset: DatasetManifest,
) -> Bundle:
    """Assemble the candidate with the thresholds that it is judged at."""
    rare = Category(settings.rare)
    thresholds = {c: best_f1_threshold(contender.tune, c) for c in CATEGORIES if c is not rare}
    allowed = settings.gate.max_false_alarms_per_clean_frame
    thresholds[rare] = threshold_for(contender.tune, rare, allowed)
    return assemble(
        files,
        SPECS[settings.model],
        thresholds,
        tune,
        profile=settings.profile,
        release_counter=depot.next_counter(),
        provenance=Provenance(
            parent_bundle_id=incumbent.bundle.manifest.bundle_id, dataset_id=dataset.dataset_id
        ),
    )


def decide(
    settings: LapSettings,
    folders: LapFolders,
    contenders: Mapping[str, Contender],
    candidate: Bundle,
    incumbent: Incumbent,
) -> Verdict:
    """Ask the gate: detection on places never trained on, and closed-loop episodes as a veto."""
    runner, episodes = ChildEpisodes(folders.logs), default_episodes()
    results = {}
    for name, bundle in (("candidate", candidate), ("incumbent", incumbent.bundle)):
        folder = folders.here / f"bundle-{name}"
        write_bundle(bundle, folder)
        results[name] = [runner.run(episode, folder) for episode in episodes]
    evidence = gather(
        contenders["candidate"],
        contenders["incumbent"],
        contenders["control"],
        [SLICES[settings.rare]],
        compare_episodes(results["candidate"], results["incumbent"]),
        settings.gate,
    )
    verdict = judge(evidence, settings.gate)
    (folders.here / "verdict.json").write_bytes(verdict.to_json())
    return verdict


def roll_out(
    settings: LapSettings,
    folders: LapFolders,
    card: ServiceCard,
    depot: Depot,
    vehicles: Sequence[str],
    candidate: Bundle,
    incumbent: Incumbent,
    verdict: Verdict,
) -> tuple[tuple[WaveRecord, ...], list[VehicleOutcome]]:
    """Send a passed candidate out, wave by wave; every vehicle drives again, on what it then has."""
    orders = drive_orders(settings, folders, vehicles, "redrive", settings.redrive_s)
    if verdict.decision is not Decision.PASS:
        return (), drive(folders, card, depot, settings.profile, orders)
    rollout_id = f"lap{folders.lap}"
    ticks = min(360, round(settings.redrive_s * 36 * 0.5))
    rule = CanaryRule(ticks=ticks)
    plan = depot.roll_out(rollout_id, candidate, incumbent.bundle, vehicles, rule)
    waves: list[WaveRecord] = []
    outcomes: list[VehicleOutcome] = []
    for number, wave in enumerate(plan.waves):
        decision = advance(
            depot.catalog, depot.director, rollout_id, actor="lap", at_ns=time.time_ns()
        )
        if decision.wave < number:
            reasons = "; ".join(decision.reasons)
            waves.append(WaveRecord(vehicles=wave, state="held", reason=reasons))
        wave_orders = [order for order in orders if order.vehicle_id in wave]
        outcomes.extend(drive(folders, card, depot, settings.profile, wave_orders))
        decision = advance(
            depot.catalog, depot.director, rollout_id, actor="lap", at_ns=time.time_ns()
        )
        is_good = decision.wave > number or str(decision.stage) == "passed"
        state = "passed" if is_good else str(decision.stage)
        if decision.wave >= number and len(waves) == number:
            waves.append(WaveRecord(vehicles=wave, state=state, reason="; ".join(decision.reasons)))
    return tuple(waves), outcomes
