"""Every setting of a simulated world in one record, which is passed down and never built half-way.

What differs from drive to drive is no setting but the trip (``sim.world.trip``). Reading this module
needs neither SUMO nor Panda3D.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.place.ground import GroundSettings
from sim.place.scenery import ScenerySettings
from sim.render.settings import RenderSettings
from sim.render.weather import NightSettings
from sim.sense.annotator import AnnotatorSettings
from sim.sense.sensors import RadarSettings, UltrasonicSettings
from sim.world.sumo.settings import SumoSettings


@dataclass
class WorldSettings:
    """Settings of pictures, motion, sensors and labels in every drive of a world."""

    sumo: SumoSettings = field(default_factory=SumoSettings)
    ground: GroundSettings = field(default_factory=GroundSettings)
    scenery: ScenerySettings = field(default_factory=ScenerySettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    night: NightSettings = field(default_factory=NightSettings)
    radar: RadarSettings = field(default_factory=RadarSettings)
    ultrasonics: UltrasonicSettings = field(default_factory=UltrasonicSettings)
    annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
