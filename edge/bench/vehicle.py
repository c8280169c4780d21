"""Measure one vehicle at the cameras' rate, and its network alone in turns of one second.

The speed of a shared machine changes from minute to minute. The runtime and the bare inference call therefore
take turns of one second, so that such changes cancel in their ratio.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bench.cadence import Beat, Timer, paced
from edge.bench.cycle import Cycle
from edge.bench.latency import Latency, latency
from edge.budget import AFTER_PLAN, BudgetSettings, MeasuredCharge
from edge.clip import DriveClips, RecorderSettings
from edge.contracts.bundle import BundleManifest, DeviceProfile
from edge.contracts.campaign import ArmedRule, Campaign
from edge.contracts.clip import TriggerRule
from edge.contracts.rig import Rig
from edge.contracts.scene import Rung
from edge.contracts.sensors import FrameSet
from edge.perceive.loaded import LoadedBundle, load_bundle
from edge.perceive.perceiver import NetworkPerceiver
from edge.perceive.tensors import calibration_table, empty_memory, network_inputs
from edge.runtime import Runtime
from edge.vehicle import DriveIdentity, Vehicle, VehicleSettings, start_vehicle

CAMPAIGN = Campaign(
    campaign_id="c-bench",
    purpose="keep the recorder as busy as on a drive",
    rules=(
        ArmedRule(rule=TriggerRule.RADAR_WITHOUT_BOX, threshold=0.4, ticks_of=(9, 18)),
        ArmedRule(rule=TriggerRule.LOW_TTC, threshold=1.5),
        ArmedRule(rule=TriggerRule.HARD_BRAKE, threshold=4.0),
        ArmedRule(rule=TriggerRule.RANDOM, threshold=1.0 / 720.0),
    ),
    until_ns=2**62,
)


@dataclass
class BenchSettings:
    """Length of the measurement, and of the turns in it."""

    rate_hz: float
    """Frame sets per second."""
    ticks: int = 662
    """Ticks of the drive."""
    turn_ticks: int = 36
    """Ticks of the runtime, then as many bare calls."""


@dataclass(frozen=True)
class BenchResult:
    """Latencies, all from the frame's stamp, and counts."""

    ticks: int
    dropped_frames: int
    sensor_to_plan: Latency
    whole_tick: Latency
    """Until triggers and recorder are done."""
    missed_deadlines: int
    """Plans later than 100 ms."""
    missed_periods: int
    """Plans later than one period of the source."""
    bare_inference: Latency
    """The network alone, at the same rate in the same run."""
    ratio_p50: float | None
    """Sensor to plan over bare inference, of the ticks on the full rung; None without any."""
    ratio_p99: float | None
    stages: dict[str, Latency]
    """Work of each stage, without waiting."""
    cpu_ms_per_tick: float
    boxes_per_tick: float
    faults: int
    rungs: dict[str, int]
    clips_sealed: int


@dataclass(eq=False)
class _Series:
    """The measured times of the ticks."""

    beats: list[Beat] = field(default_factory=list)
    after_plan_ms: list[float] = field(default_factory=list)
    bare: list[Beat] = field(default_factory=list)
    dropped: int = 0
    cpu_s: float = 0.0
    boxes: int = 0
    is_full: list[bool] = field(default_factory=list)
    """Whether the tick ran on the full rung."""


def bench_vehicle(
    frames: Sequence[FrameSet],
    rig: Rig,
    *,
    manifest: BundleManifest,
    bundle_folder: Path,
    profile: DeviceProfile,
    clips_folder: Path,
    timer: Timer,
    settings: BenchSettings,
    on_tick: Callable[[], None] = lambda: None,
) -> BenchResult:
    """Drive on recorded frames at a source's rate, cycling them.

    Args:
        frames: What was sensed, oldest first; repeated without end, see ``Cycle``.
        rig: Calibration of the vehicle that recorded them.
        manifest: The bundle that drives.
        bundle_folder: Its files, each under its SHA-256.
        profile: Engine preference and threads; its modelled costs are the ladder's first guess.
        clips_folder: Where clips are sealed.
        timer: The clock that paces the ticks and measures them.
        settings: How long.
        on_tick: Called after each tick was measured.
    """
    bundle = load_bundle(manifest, bundle_folder, rig, profile)
    perceiver = bundle.perceivers[Rung.FULL]
    assert isinstance(perceiver, NetworkPerceiver)
    inputs = _inputs(frames, rig, perceiver)
    vehicle = _vehicle(rig, bundle, profile, clips_folder, settings.rate_hz)
    runtime = vehicle.runtime
    series, cycle = _Series(), Cycle(frames, settings.rate_hz)
    drive = [cycle.at(index) for index in range(settings.ticks)]

    def tick() -> None:
        sensed = drive[len(series.after_plan_ms)]
        result = runtime.tick(sensed, sensed.stamp_ns)
        after_ms = sum(runtime.ledger.measured[stage][-1] for stage in AFTER_PLAN)
        series.after_plan_ms.append(after_ms)
        series.is_full.append(result.ledger.rung is Rung.FULL)
        series.boxes += len(result.perception.boxes)
        on_tick()

    def infer() -> None:
        perceiver.engine.run(inputs[len(series.bare) % len(inputs)])

    while (left := settings.ticks - len(series.beats)) > 0:
        turn = min(left, settings.turn_ticks)
        began_s = time.process_time()
        beats, dropped = paced(tick, turn, timer, settings.rate_hz)
        series.cpu_s += time.process_time() - began_s
        series.beats += beats
        series.dropped += dropped
        gc.collect()
        series.bare += paced(infer, turn, timer, settings.rate_hz)[0]
    return _result(series, runtime, vehicle.end(), settings.rate_hz)


def _vehicle(
    rig: Rig, bundle: LoadedBundle, profile: DeviceProfile, clips_folder: Path, rate_hz: float
) -> Vehicle:
    """Start the vehicle with its recorder; its ladder decides by the times that are measured.

    The ladder aims at the deadline, not at the period: on a busy machine a network that keeps 100 ms is still
    measured, and one that does not gives way to the rungs below.
    """
    settings = VehicleSettings(recorder=RecorderSettings(privacy="synthetic"))
    budget = settings.runtime.budget
    budget.target_ratio = budget.deadline_ms * rate_hz / 1000.0
    return start_vehicle(
        settings,
        DriveIdentity(vehicle_id="v-bench", drive_id="d-bench", rate_hz=rate_hz),
        rig=rig,
        bundle=bundle,
        profile=profile,
        campaigns=(CAMPAIGN,),
        clips_folder=clips_folder,
        charge=MeasuredCharge(),
    )


def _inputs(
    frames: Sequence[FrameSet], rig: Rig, perceiver: NetworkPerceiver
) -> list[Mapping[str, NDArray[np.generic]]]:
    table = calibration_table(rig, perceiver.spec)
    memory = empty_memory(perceiver.spec)
    return [network_inputs(frame, table, memory, perceiver.spec) for frame in frames]


def _result(series: _Series, runtime: Runtime, clips: DriveClips, rate_hz: float) -> BenchResult:
    afters = zip(series.beats, series.after_plan_ms, strict=True)
    plan_ms = [beat.total_ms - after_ms for beat, after_ms in afters]
    bare = latency([beat.total_ms - beat.waited_ms for beat in series.bare])
    ratio_p50, ratio_p99 = _ratios(list(compress(plan_ms, series.is_full)), bare)
    waits = latency([beat.waited_ms for beat in series.beats])
    stages = {name: latency(list(values)) for name, values in runtime.ledger.measured.items()}
    return BenchResult(
        ticks=len(series.beats),
        dropped_frames=series.dropped,
        sensor_to_plan=latency(plan_ms),
        whole_tick=latency([beat.total_ms for beat in series.beats]),
        missed_deadlines=sum(ms > BudgetSettings().deadline_ms for ms in plan_ms),
        missed_periods=sum(ms > 1000.0 / rate_hz for ms in plan_ms),
        bare_inference=bare,
        ratio_p50=ratio_p50,
        ratio_p99=ratio_p99,
        stages={"wait": waits} | stages,
        cpu_ms_per_tick=1000.0 * series.cpu_s / len(series.beats),
        boxes_per_tick=series.boxes / len(series.beats),
        faults=runtime.health.faults,
        rungs={str(rung): count for rung, count in runtime.health.rungs.items()},
        clips_sealed=len(clips.kept),
    )


def _ratios(full_ms: Sequence[float], bare: Latency) -> tuple[float | None, float | None]:
    """Divide the latency of full ticks by that of the bare network: median and 99th percentile."""
    if not full_ms:
        return None, None
    full = latency(full_ms)
    if full.p99_ms is None or bare.p99_ms is None:
        return full.p50_ms / bare.p50_ms, None
    return full.p50_ms / bare.p50_ms, full.p99_ms / bare.p99_ms
