"""A vehicle in a simulated world: the world moves, the sensors sense it, and the truth is known.

This is the composition that vehicles, closed-loop episodes and the command line share. Every random
thing has a stream of its own, named and numbered by frame: a change of the cameras, or a simulation that
skips frames, leaves the radar's noise as it was.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.contracts.errors import OperatorError
from edge.contracts.rig import Rig
from edge.contracts.scene import Plan
from edge.contracts.sensors import FrameSet, frames_of
from edge.contracts.time import FRAME_RATE_HZ
from sim.place.scenery import ground_and_scenery
from sim.render.cameras import Renderer
from sim.render.weather import Night
from sim.sense.rig import default_rig
from sim.sense.sensors import radar_scan, ultrasonic_scan
from sim.sense.sight import Surroundings, survey
from sim.sense.truth import TruthBox, truth_boxes
from sim.simulation.settings import WorldSettings
from sim.world.snapshot import Snapshot
from sim.world.sumo.world import SumoWorld
from sim.world.trip import Trip
from sim.world.world import World


class Simulation:
    """A vehicle in a world, which it closes at its end; a context manager.

    Raises:
        OperatorError: The display does not exist, the cameras cannot be rendered, or the rig's body is not
            the world's. The world is closed then too.
    """

    def __init__(
        self,
        world: World,
        settings: WorldSettings | None = None,
        rig: Rig | None = None,
        *,
        seed: int = 0,
        is_night: bool = False,
        every: int = 1,
    ) -> None:
        """Build the sensors of a vehicle.

        Args:
            world: What moves, and when.
            settings: How it looks and is sensed.
            rig: What the vehicle carries.
            seed: Seed of the sensors' noise.
            is_night: Whether the pictures are dark.
            every: Frames of the world from one frame set to the next.
        """
        self.world = world
        self._every = every
        self.settings = settings = settings or WorldSettings()
        self.rig = rig = rig or default_rig()
        self._seed = seed
        self._night = Night(settings.night, stream(seed, "night")) if is_night else None
        try:
            if rig.body != world.body:
                raise OperatorError(
                    f"rig {rig.name} refused: its body is {rig.body}, and the world moves {world.body}"
                )
            self.ground, self.scenery = ground_and_scenery(
                world.road_map, settings.ground, settings.scenery
            )
            self._renderer = Renderer(
                world.road_map,
                self.rig,
                settings.render,
                ground=self.ground,
                scenery=self.scenery,
            )
        except BaseException:
            world.close()
            raise

    @property
    def rate_hz(self) -> float:
        """Frame sets per second of the vehicle's sensors."""
        return self.world.rate_hz / self._every

    def step(self, plan: Plan | None = None) -> tuple[FrameSet, tuple[TruthBox, ...]]:
        """Advance to the next frame set, driven by ``plan`` where plans drive, and look."""
        self.world.apply(plan)
        return self.sense(self.world.skip(self._every))

    def skip(self, frames: int) -> None:
        """Advance so many frames of the world without looking."""
        self.world.skip(frames)

    def sense(self, snapshot: Snapshot) -> tuple[FrameSet, tuple[TruthBox, ...]]:
        """Look at one instant through all sensors; the same snapshot gives the same frame set."""
        index = snapshot.frame_index
        around = survey(snapshot, self.scenery)
        render = self._renderer.render(snapshot)
        images: Iterable[NDArray[np.uint8]] = render.images
        if self._night is not None:
            images = self._night.fall(images, stream(self._seed, "night", index))
        frame_set = FrameSet(
            index=index // self._every,
            stamp_ns=snapshot.stamp_ns,
            frames=frames_of(images, snapshot.stamp_ns),
            radar=radar_scan(
                around, self.rig, self.settings.radar, stream(self._seed, "radar", index)
            ),
            ultrasonics=ultrasonic_scan(
                around,
                self.rig,
                self.settings.ultrasonics,
                stream(self._seed, "ultrasonics", index),
            ),
            ego=snapshot.ego,
            route=snapshot.route,
        )
        return frame_set, self._truth(around, render.visible_px)

    def truth(self, snapshot: Snapshot) -> tuple[TruthBox, ...]:
        """Return the truth of one instant without rendering it; every box has 0 visible pixels."""
        return self._truth(survey(snapshot, self.scenery), {})

    def _truth(self, around: Surroundings, visible_px: Mapping[int, int]) -> tuple[TruthBox, ...]:
        encounters = {
            entity.entity_id: encounter_id
            for entity in around.entities
            if (encounter_id := self.world.encounter_of(entity.entity_id)) is not None
        }
        return truth_boxes(around, visible_px, encounters)

    def close(self) -> None:
        """End the world and free the renderer."""
        self.world.close()
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def simulate(
    trip: Trip,
    settings: WorldSettings | None = None,
    rig: Rig | None = None,
    *,
    rate_hz: float,
) -> Simulation:
    """Open SUMO's world at the start of a trip, with a vehicle in it.

    The world advances a whole number of times from one frame set to the next, at ``FRAME_RATE_HZ`` or
    faster: stamps are exactly ``1 / rate_hz`` apart, and a slow camera does not make the traffic coarse.

    Args:
        trip: Where it starts, what it meets, what drives it.
        settings: How the world looks, moves and is sensed.
        rig: What the vehicle carries.
        rate_hz: Frame sets per second of the vehicle's sensors.

    Raises:
        OperatorError: The map, the place or the display does not exist, or another world of SUMO's is
            open in this process.
    """
    settings, rig = settings or WorldSettings(), rig or default_rig()
    every = max(1, math.ceil(FRAME_RATE_HZ / rate_hz - 1e-9))
    world = SumoWorld(trip, settings.sumo, body=rig.body, rate_hz=rate_hz * every)
    return Simulation(world, settings, rig, seed=trip.seed, is_night=trip.is_night, every=every)


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """Return the random stream of one thing at one frame; streams of different names share nothing."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), index])
