"""Starting a vehicle: one place composes it, and the same vehicle comes out."""

import ast
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.board.profile import device_profile
from edge.budget import MeasuredCharge, VirtualClock
from edge.clip import RecorderSettings
from edge.contracts.scene import Rung
from edge.perceive.loaded import load_bundle, recorded_boxes
from edge.vehicle import DriveIdentity, VehicleSettings, start_vehicle

ROOT = Path(__file__).parents[3]
PRODUCT = ("edge", "fleet", "models", "sim", "conf")
LAPTOP = device_profile("laptop")
IDENTITY = DriveIdentity(vehicle_id="v-01", drive_id="d-1", seed=3, rate_hz=36.0)


def calls_of(*names: str) -> set[tuple[str, str]]:
    """Find where product code calls a class by one of these names."""
    found = set()
    for package in PRODUCT:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", None))
                    if name in names:
                        found.add((name, path.relative_to(ROOT).as_posix()))
    return found


def test_runtime_and_recorder_are_composed_in_one_place() -> None:
    start, home = "edge/vehicle/start.py", "edge/vehicle/home.py"
    assert calls_of("Runtime", "Recorder") == {("Runtime", start), ("Recorder", start)}
    assert calls_of("Spool", "Outbox") == {("Spool", home), ("Outbox", home)}


def drive_once(bundle, road, folder, campaigns) -> bytes:
    manifest, files = bundle
    source = road(40)
    vehicle = start_vehicle(
        VehicleSettings(recorder=RecorderSettings(privacy="synthetic")),
        IDENTITY,
        rig=source.rig,
        bundle=load_bundle(manifest, files, source.rig, LAPTOP),
        profile=LAPTOP,
        campaigns=campaigns,
        clips_folder=folder,
    )
    told = [(r.perception, r.plan, r.events, r.ledger.stages) for r in vehicle.drive(source)]
    kept = [(clip.clip_id, clip.blob_id) for clip in vehicle.end().kept]
    assert kept
    return msgspec.msgpack.encode((told, kept))


def test_the_same_start_drives_the_same_drive_to_the_byte(bundle, road, often, tmp_path) -> None:
    first, second = (drive_once(bundle, road, tmp_path / k, (often,)) for k in ("one", "two"))
    assert first == second


def test_a_vehicle_without_a_folder_for_clips_records_nothing(bundle, road) -> None:
    manifest, files = bundle
    source = road(3)
    loaded = load_bundle(manifest, files, source.rig, LAPTOP)
    vehicle = start_vehicle(
        VehicleSettings(), IDENTITY, rig=source.rig, bundle=loaded, profile=LAPTOP
    )
    assert len(list(vehicle.drive(source))) == 3
    assert vehicle.end().kept == ()


def test_a_vehicle_ticks_at_the_rate_of_its_source(bundle, road) -> None:
    manifest, files = bundle
    source = road(1)
    identity = replace(IDENTITY, rate_hz=12.0)
    loaded = load_bundle(manifest, files, source.rig, LAPTOP)
    vehicle = start_vehicle(
        VehicleSettings(), identity, rig=source.rig, bundle=loaded, profile=LAPTOP
    )
    assert len(list(vehicle.drive(source))) == 1
    assert vehicle.runtime.moments[-1].period_s == 1.0 / 12.0


def test_recorded_boxes_drive_without_a_manifest_and_without_the_costs_of_a_network(
    road, clip
) -> None:
    source = road(2)
    vehicle = start_vehicle(
        VehicleSettings(),
        IDENTITY,
        rig=source.rig,
        bundle=recorded_boxes({}, bundle_id="b-9"),
        profile=LAPTOP,
    )
    results = list(vehicle.drive(source))
    assert [r.perception.bundle_id for r in results] == ["b-9", "b-9"]
    assert {r.perception.rung for r in results} == {Rung.FULL}
    charged = {stage.stage for stage in results[0].ledger.stages}
    assert charged.isdisjoint({"preprocess", "infer", "decode"})


def test_measured_time_is_charged_when_the_vehicle_is_told_so(bundle, road) -> None:
    manifest, files = bundle
    source, clock = road(1), VirtualClock()
    vehicle = start_vehicle(
        VehicleSettings(),
        IDENTITY,
        rig=source.rig,
        bundle=load_bundle(manifest, files, source.rig, LAPTOP),
        profile=LAPTOP,
        charge=MeasuredCharge(),
        clock=clock,
    )
    (result,) = vehicle.drive(source)
    assert result.ledger.total_ms == 0.0, "the clock on paper stood still"


def defaulted(name: str) -> set[str]:
    """Find the files of product code where a parameter or a field of this name has a default."""
    found = set()
    for package in PRODUCT:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.arguments):
                    plain = [*node.posonlyargs, *node.args]
                    given = plain[len(plain) - len(node.defaults) :]
                    pairs = zip(node.kwonlyargs, node.kw_defaults, strict=True)
                    given += [a for a, default in pairs if default is not None]
                    is_default = name in [a.arg for a in given]
                else:
                    is_default = (
                        isinstance(node, ast.AnnAssign)
                        and getattr(node.target, "id", "") == name
                        and node.value is not None
                        and not any(k.arg == "kw_only" for k in getattr(node.value, "keywords", ()))
                    )
                if is_default:
                    found.add(path.relative_to(ROOT).as_posix())
    return found


def test_a_rate_that_a_caller_forgets_is_an_error_wherever_there_is_a_source() -> None:
    assert defaulted("period_s") == set()
    simulated = {"edge/contracts/time.py", "sim/world/scripted.py", "sim/world/sumo/world.py"}
    of_old_clips = {"edge/contracts/clip.py"}
    assert defaulted("rate_hz") == simulated | of_old_clips
