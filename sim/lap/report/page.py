"""Lay a lap's record out as one HTML file that needs nothing else: no script, no font, no request.

The template escapes every text. Only drawings of ``charts`` enter it as they are, and those are built
element by element; a content policy in the page forbids requests even if a text should slip through.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sim.lap.record import LapRecord
from sim.lap.report import rows, text
from sim.lap.report.charts import axis_labels
from sim.lap.report.history import lap_matrix
from sim.lap.report.loop import REDRIVE, step_seconds, steps
from sim.lap.report.pictures import Picture, PictureKind
from sim.lap.report.words import headline, outcome

TEMPLATE = "report.html.j2"


def write_report(
    record: LapRecord,
    pictures: Sequence[Picture],
    path: Path,
    history: Sequence[LapRecord] = (),
) -> None:
    """Write the page of a lap.

    Args:
        record: The lap.
        pictures: Of its edge cases; those of one clip stand together, clips in the order given.
        path: The file to write.
        history: The laps before, in any order; laps are told apart by their number.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(render(record, pictures, history), encoding="utf-8")


def render(
    record: LapRecord, pictures: Sequence[Picture], history: Sequence[LapRecord] = ()
) -> str:
    """Draw the page; the same record and pictures give the same text."""
    by_number = {lap.lap: lap for lap in (*history, record)}
    laps = [by_number[k] for k in sorted(by_number)]
    slices = rows.slice_rows(record)
    axis = rows.common_axis(slices)
    page = _environment().get_template(TEMPLATE)
    return page.render(
        record=record,
        outcome=outcome(record),
        headline=headline(record),
        steps=steps(record),
        redrive_s=step_seconds(record, REDRIVE),
        cases=_cases([p for p in pictures if not p.is_unseen]),
        unseen=_cases([p for p in pictures if p.is_unseen]),
        mosaics=[p for p in pictures if p.kind is PictureKind.MOSAIC],
        slices=slices,
        errors=rows.error_rows(record),
        axis=axis,
        axis_labels=axis_labels(axis),
        shares=rows.shares(record),
        uplink=rows.uplink(record),
        drives=rows.drive_groups(record),
        longest_s=rows.longest_s(record),
        seconds=math.fsum(stage.seconds for stage in record.stages),
        cpu_seconds=math.fsum(stage.cpu_seconds for stage in record.stages),
        laps=laps,
        matrix=lap_matrix(laps) if len(laps) > 1 else (),
    )


def _cases(pictures: Sequence[Picture]) -> list[tuple[str, list[Picture]]]:
    """Put the pictures of each clip together, views before the scene from above."""
    shown = [p for p in pictures if p.kind is not PictureKind.MOSAIC]
    first = {clip_id: k for k, clip_id in enumerate(dict.fromkeys(p.clip_id for p in shown))}
    shown.sort(key=lambda p: (first[p.clip_id], p.kind is PictureKind.BIRDS_EYE))
    return [(clip_id, list(group)) for clip_id, group in groupby(shown, lambda p: p.clip_id)]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    writers = (
        text.answer_text,
        text.change,
        text.count,
        text.duration,
        text.interval,
        text.many,
        text.megabytes,
        text.metric,
        text.named,
        text.number,
        text.precise,
        text.short,
        text.signed,
        rows.rung_bar,
        rows.rungs,
        rows.stage_bars,
    )
    environment.filters |= {writer.__name__: writer for writer in writers}
    environment.filters["data_uri"] = _data_uri
    return environment


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
