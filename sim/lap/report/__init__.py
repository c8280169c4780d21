"""The page that a lap writes for people: one HTML file that makes no network request.

Read in this order: ``page`` (the record laid out as a page), ``words`` (its first sentences), ``loop`` (the
strip of stages), ``rows`` (the tables), ``history`` (several laps side by side), ``charts`` (small drawings),
``text`` (how numbers are written), ``pictures`` (camera images).
"""

from sim.lap.report.page import write_report
from sim.lap.report.pictures import (
    EdgeCase,
    Picture,
    PictureKind,
    clarity_px,
    edge_case_pictures,
    mosaic_picture,
)
from sim.lap.report.rows import class_rows
from sim.lap.report.words import LapOutcome, outcome

__all__ = [
    "EdgeCase",
    "LapOutcome",
    "Picture",
    "PictureKind",
    "clarity_px",
    "class_rows",
    "edge_case_pictures",
    "mosaic_picture",
    "outcome",
    "write_report",
]
