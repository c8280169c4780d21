"""Give boxes an identity: this tick's boxes in, agents known over ticks out.

Constant-velocity Kalman filters run in the world frame, so that the vehicle's own turning moves no other road
user. A track is confirmed by N hits within M ticks and coasts through short gaps; its class is a vote over
its life, because the class of one tick is unsure. Association is greedy within a gate: with the gates below,
two neighbours are confused only when they stand closer than one of them is long.

A velocity is measured by where the boxes went. The network's own velocity counts only for the classes for
which the bundle states its error, measured on the tune set; the radar's own tracks correct the speed of
everything that moves. A velocity that is not surely above zero is reported as zero, except on foot. The first
boxes of a parked car scatter, and a scatter of 0.3 m within 0.1 s looks like several metres per second; a
pedestrian or an animal that was wrongly reported as standing beside the lane would be driven past.
"""

from edge.perceive.track.rows import planar
from edge.perceive.track.settings import TrackerSettings
from edge.perceive.track.tracker import Tracker

__all__ = ["Tracker", "TrackerSettings", "planar"]
