"""One tick of the vehicle: a frame set in; perception, plan and trigger events out.

Read ``Runtime.tick`` first. Every stage is one call and is accounted for. In lockstep no decision reads a
wall clock: the same frames give the same bytes; see ``edge.budget.charge`` for real time. Readings are
cleaned before any stage uses them. A network that fails or returns invalid outputs costs the tick its boxes
and nothing else; the vehicle then drives on radar, ultrasonics and plain code.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from edge.budget import (
    Budget,
    BudgetSettings,
    Charge,
    Choice,
    Clock,
    Ladder,
    Ledger,
    ModelledCharge,
    MonotonicClock,
    TickAccount,
    TickLedger,
    modelled_latency,
)
from edge.clip import Recorder
from edge.contracts.bundle import DeviceProfile
from edge.contracts.campaign import Campaign
from edge.contracts.classes import CLASSES, UNKNOWN
from edge.contracts.clip import TriggerEvent
from edge.contracts.rig import Rig
from edge.contracts.scene import Agent, Perception, Plan, RadarTrack, Rung
from edge.contracts.sensors import Dropped, FrameSet, Route
from edge.contracts.time import NS_PER_S, is_one_time_base
from edge.health import BundleHealth, HealthCount
from edge.perceive.intake import SensorIntake, TakenIn
from edge.perceive.loaded import LoadedBundle
from edge.perceive.radar_track import RadarTracker, RadarTrackerSettings
from edge.perceive.sensor_watch import SensorState, SensorWatchSettings
from edge.perceive.tensors import NetOutput, is_drivable
from edge.perceive.track import Tracker, TrackerSettings
from edge.perceive.watchdog import WatchedPerceiver
from edge.plan.choose import PlanInputs, PlanSettings
from edge.plan.choose import plan as choose_plan
from edge.trigger import ControlStream, Moment, TriggerSettings, TriggerState, evaluate

_BLIND: tuple[Rung, ...] = (Rung.RADAR_ONLY, Rung.MINIMUM_RISK)

_log = logging.getLogger(__name__)


@dataclass
class RuntimeSettings:
    """Everything that a tick can be tuned by."""

    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    radar_tracker: RadarTrackerSettings = field(default_factory=RadarTrackerSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    trigger: TriggerSettings = field(default_factory=TriggerSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    moments_s: float = 3.0
    """Length of the past that the triggers read."""
    sensors: SensorWatchSettings = field(default_factory=SensorWatchSettings)
    hold_s: float = 0.5
    """How long own motion is held from the last reading that made sense; then the vehicle stops."""
    hang_s: float = 5.0
    """How long a network may take to answer, by the wall clock, before it is given up. No healthy network on
    any supported board takes a tenth of it, so that in lockstep it decides nothing."""


@dataclass(frozen=True)
class TickResult:
    """Conclusions of one tick."""

    perception: Perception
    plan: Plan
    events: tuple[TriggerEvent, ...]
    ledger: TickLedger
    dropped: Dropped = ()
    """Readings that made no sense."""
    sensor_faults: tuple[str, ...] = ()
    """Sensors that cannot be trusted, and why; see ``edge.perceive.sensor_watch``."""

    @property
    def is_excused(self) -> bool:
        """Whether the tick failed on poor inputs, which does not count against the bundle."""
        return self.perception.has_fault and bool(self.dropped or self.sensor_faults)


class TickSource(Protocol):
    """Source of frame sets: a simulated world moves by the last plan, a recording ignores it."""

    def next_frame_set(self, plan: Plan | None) -> FrameSet | None:
        """Give the next instant, or None at the end."""
        ...


class Runtime:
    """A vehicle's perception, planning and curiosity, one ``tick`` at a time."""

    def __init__(
        self,
        settings: RuntimeSettings,
        *,
        rig: Rig,
        bundle: LoadedBundle,
        profile: DeviceProfile,
        control: ControlStream,
        campaigns: Sequence[Campaign] = (),
        recorder: Recorder | None = None,
        charge: Charge | None = None,
        clock: Clock | None = None,
        rate_hz: float,
    ) -> None:
        """Start a vehicle's runtime; ``edge.vehicle.start`` composes its arguments.

        Args:
            settings: Numbers.
            rig: Calibration of this vehicle.
            bundle: The bundle that drives.
            profile: The board and what each stage costs on it.
            control: The drive's random control stream.
            campaigns: Rules to arm.
            recorder: Recorder of this drive; None records nothing.
            charge: Time that stages are charged: modelled unless given, so that lockstep repeats.
            clock: Clock that stages are measured by.
            rate_hz: Frame sets per second of the source.

        Raises:
            OperatorError: The profile does not say what this model costs on the board.
        """
        self.settings = settings
        self.ledger = Ledger()
        self._rig = rig
        self._rate_hz = rate_hz
        self._profile = profile
        self._control = control
        self._campaigns = tuple(campaigns)
        self._recorder = recorder
        self._charge: Charge = charge or ModelledCharge()
        self._clock: Clock = clock or MonotonicClock()
        self._tracker = Tracker(settings.tracker, radars=rig.radars)
        self._radar_tracker = RadarTracker(settings.radar_tracker, rig.radars)
        self.moments: deque[Moment] = deque()
        """The last seconds, oldest first: input of the triggers."""
        self._trigger_state = TriggerState()
        self._intake = SensorIntake(rig, settings.sensors, settings.hold_s)
        self._busy_until_ns = 0
        self.swap(bundle)

    def swap(self, bundle: LoadedBundle) -> None:
        """Drive on another bundle from the next tick on.

        Tracks and moments are kept, for the world has not changed; the network's memory is its
        perceiver's own and starts empty.
        """
        rungs = (*(rung for rung in Rung if rung in bundle.perceivers), *_BLIND)
        latency = modelled_latency(self._profile, bundle.model, rungs)
        self._ladder = Ladder(latency, self.settings.budget, rate_hz=self._rate_hz)
        self._last_fault = ""
        self._bundle = bundle
        self._perceivers = {
            rung: WatchedPerceiver(perceiver, self.settings.hang_s)
            for rung, perceiver in bundle.perceivers.items()
        }
        self._tracker.velocity_sigma_mps = bundle.velocity_sigma_mps
        self._count = HealthCount(bundle.bundle_id)
        unknown = [name for name in bundle.categories if name not in CLASSES]
        if unknown:
            fields = {"bundle_id": bundle.bundle_id, "classes": unknown}
            _log.warning("classes_unknown", extra=fields)

    @property
    def health(self) -> BundleHealth:
        """Health of the bundle so far, as a health report states it."""
        return self._count.health

    @property
    def ignored_rules(self) -> int:
        """How many armed rules this software does not know, or knows in another version."""
        return self._trigger_state.ignored_rules

    def tick(self, frame_set: FrameSet, now_ns: int) -> TickResult:
        """Conclude one instant.

        Args:
            frame_set: What was sensed.
            now_ns: When work on it can begin, by the clock of the stamps; in lockstep its own stamp.
        """
        taken = self._take_in(frame_set)
        frame_set, sensors = taken.frame_set, taken.sensors
        account, choice = self._begin(taken, now_ns)
        seen, has_fault = self._look(frame_set, choice.rung, account)
        with account.stage("radar"):
            radar_tracks = self._radar_tracker.update(
                frame_set.radar, frame_set.ego, frame_set.stamp_ns
            )
        with account.stage("track"):
            agents = self._follow(seen, radar_tracks, frame_set)
        perception = Perception(
            stamp_ns=frame_set.stamp_ns,
            rung=choice.rung,
            bundle_id=self._bundle.bundle_id,
            boxes=seen.boxes if seen else (),
            agents=agents,
            radar_tracks=radar_tracks,
            has_fault=has_fault,
        )
        with account.stage("plan"):
            plan = choose_plan(self._plan_inputs(sensors, perception, seen), self.settings.plan)
        with account.stage("trigger"):
            events = self._notice(taken, perception, plan, account.budget)
        with account.stage("record"):
            if self._recorder is not None:
                self._recorder.add(frame_set, perception, plan, events)
        ledger = self._end(frame_set, account, choice)
        result = TickResult(perception, plan, events, ledger, frame_set.dropped, sensors.faults)
        unknown_boxes = sum(box.category == UNKNOWN for box in perception.boxes)
        self._count.add_tick(
            choice.rung, unknown_boxes, has_fault=has_fault, is_excused=result.is_excused
        )
        return result

    def _take_in(self, frame_set: FrameSet) -> TakenIn:
        """Take in what was sensed; reset what holds stamps or places that mean nothing any more."""
        taken = self._intake.take(frame_set)
        self._count.add_inputs(taken.frame_set, taken.sensors.faults, has_stepped=taken.has_stepped)
        if taken.has_stepped or taken.has_jumped:  # the network's memory notices a step by itself
            self._tracker.reset()
            self._radar_tracker.reset()
            self.moments.clear()
            self._trigger_state = TriggerState()
        if taken.has_stepped or taken.is_repeated:
            self._busy_until_ns = 0
        return taken

    def _begin(self, taken: TakenIn, now_ns: int) -> tuple[TickAccount, Choice]:
        """Open the tick's budget, count what its frames have waited, and choose a rung."""
        frame_set = taken.frame_set
        # A tick that seems busy for longer was charged a wait between two clocks, one of which had stepped.
        is_plausible = is_one_time_base(frame_set.stamp_ns, self._busy_until_ns)
        started_ns = max(now_ns, self._busy_until_ns) if is_plausible else now_ns
        waited_ms = max(started_ns - frame_set.stamp_ns, 0) / 1e6
        budget = Budget(self.settings.budget.deadline_ms)
        if waited_ms > 0.0:
            budget = budget.spend("wait", waited_ms)
        choice = self._ladder.choose(budget)
        if taken.sensors.blind_reason and choice.rung in self._bundle.perceivers:
            choice = Choice(Rung.RADAR_ONLY, taken.sensors.blind_reason)
        if taken.is_lost:
            choice = Choice(Rung.MINIMUM_RISK, "own motion is not known")
        costs_ms = self._ladder.latency.costs_ms[choice.rung]

        def price(stage: str, measured_ms: float) -> float:
            modelled_ms = costs_ms.get(stage, 0.0)
            return self._charge.stage_ms(modelled_ms, measured_ms, frame_set.stamp_ns)

        budget = budget.spend("sense", price("sense", 0.0))
        return TickAccount(budget, price, self.ledger, self._clock), choice

    def _look(
        self, frame_set: FrameSet, rung: Rung, account: TickAccount
    ) -> tuple[NetOutput | None, bool]:
        """Run the network, if this rung has one; return whether its output had to be thrown away."""
        if rung not in self._bundle.perceivers:
            return None, False
        try:
            seen = self._perceivers[rung].perceive(frame_set, account.stage)
        # A bundle is foreign code on a foreign runtime: there is no list of what it can raise, and
        # whatever it raises must not stop a vehicle that radar and plain code can still drive.
        except Exception as error:  # noqa: BLE001
            self._log_fault(_reason(error), frame_set.stamp_ns)
            return None, True
        self._last_fault = ""
        self._intake.note_boxes(seen.boxes, frame_set)
        return seen, False

    def _log_fault(self, reason: str, stamp_ns: int) -> None:
        """Log a network's fault, and not again at every tick while it stays the same."""
        if reason != self._last_fault:
            fields = {
                "bundle_id": self._bundle.bundle_id,
                "stamp_ns": stamp_ns,
                "reason": reason,
            }
            _log.warning("network_faulted", extra=fields)
        self._last_fault = reason

    def _follow(
        self, seen: NetOutput | None, radar_tracks: tuple[RadarTrack, ...], frame_set: FrameSet
    ) -> tuple[Agent, ...]:
        ego, stamp_ns = frame_set.ego, frame_set.stamp_ns
        if seen is None:
            return self._tracker.coast(ego, stamp_ns, radar_tracks)
        return self._tracker.update(seen.boxes, seen.futures, ego, stamp_ns, radar_tracks)

    def _plan_inputs(
        self, sensors: SensorState, perception: Perception, seen: NetOutput | None
    ) -> PlanInputs:
        """Collect the inputs of planning; without a usable network they are those of the radar rung."""
        frame_set = sensors.frame_set
        is_blind = seen is None and perception.rung is not Rung.MINIMUM_RISK
        return PlanInputs(
            stamp_ns=frame_set.stamp_ns,
            rung=Rung.RADAR_ONLY if is_blind else perception.rung,
            ego=frame_set.ego,
            route=_capped(frame_set.route, sensors.speed_cap_mps),
            agents=perception.agents,
            radar_tracks=perception.radar_tracks,
            ultrasonics=frame_set.ultrasonics,
            ultrasonic_mounts=self._rig.ultrasonics,
            body=self._rig.body,
            tick_s=1.0 / self._rate_hz,
            network_plans=seen.plans if seen else None,
            network_scores=seen.plan_scores if seen else None,
            drivable=is_drivable(seen.segmentation) if seen else None,
            drivable_range_m=self._bundle.bev_range_m,
        )

    def _notice(
        self, taken: TakenIn, perception: Perception, plan: Plan, budget: Budget
    ) -> tuple[TriggerEvent, ...]:
        """Ask the triggers whether the last seconds deserve a clip."""
        frame_set = taken.frame_set
        moment = Moment(
            perception,
            plan,
            frame_set.ego,
            frame_set.route,
            faulty_cameras=taken.sensors.faulty_cameras,
            radar_silent_s=taken.sensors.radar_silent_s,
            late_ms=max(0.0, budget.spent_ms - budget.deadline_ms),
            has_stepped=taken.has_stepped,
            period_s=1.0 / self._rate_hz,
        )
        self.moments.append(moment)
        oldest_ns = frame_set.stamp_ns - round(self.settings.moments_s * NS_PER_S)
        while self.moments[0].stamp_ns < oldest_ns:
            self.moments.popleft()
        events, self._trigger_state = evaluate(
            self.moments,
            self._campaigns,
            self._trigger_state,
            control=self._control,
            tick_index=frame_set.index,
            settings=self.settings.trigger,
            rate_hz=self._rate_hz,
        )
        return events

    def _end(self, frame_set: FrameSet, account: TickAccount, choice: Choice) -> TickLedger:
        """Close the tick's account and let the ladder learn from it."""
        tick = TickLedger(
            index=frame_set.index,
            stamp_ns=frame_set.stamp_ns,
            rung=choice.rung,
            reason=choice.reason,
            stages=account.budget.spent,
            deadline_ms=account.budget.deadline_ms,
        )
        self.ledger.add(tick)
        self._busy_until_ns = frame_set.stamp_ns + round(tick.total_ms * 1e6)
        self._ladder.observe(choice.rung, tick.stages)
        return tick


def _capped(route: Route, cap_mps: float | None) -> Route:
    """Lower the speed limit of a route to a cap."""
    if cap_mps is None or route.speed_limit_mps <= cap_mps:
        return route
    return msgspec.structs.replace(route, speed_limit_mps=cap_mps)


def _reason(error: Exception) -> str:
    """Describe an error; its own `__str__` may raise."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001
        return name


def drive(runtime: Runtime, source: TickSource) -> Iterator[TickResult]:
    """Run a source to its end in lockstep, each tick's plan moving the next."""
    plan: Plan | None = None
    while (frame_set := source.next_frame_set(plan)) is not None:
        result = runtime.tick(frame_set, frame_set.stamp_ns)
        plan = result.plan
        yield result
