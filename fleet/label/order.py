"""Label admitted clips: lay them out, run the labelling jobs, keep the labels per clip.

Two orders can run side by side (a candidate's and its control's). A run is named by its clips, its teacher
and its budget; its labels of a clip are one small blob, for the pictures are in the clip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.contracts.errors import OperatorError
from fleet.catalog import Catalog, ClipRow, LabelCounts, LabelFacts, LabelRow, StreamKind, prefix
from fleet.label.job import MODEL, ROWS_FILE, LabelJob, Labelled, read_labelled
from fleet.label.settings import LabelSettings
from fleet.sample.row import LabelSource, Sample, SampleLabels
from fleet.work.task import Task
from fleet.work.workspace import OnSteps, Workspace, ignore_steps

ClipLabels = dict[int, SampleLabels]
"""The labels of a clip, by stamp in ns."""


@dataclass(frozen=True)
class LabelOrder:
    """Which clips to label, with which teacher, and how."""

    clips: tuple[ClipRow, ...]
    model: Path
    """The teacher's ONNX file."""
    job: LabelJob

    @property
    def run_id(self) -> str:
        """Hash of everything that decides the labels.

        Unseen forms and settings count only where they differ from the defaults, so that a run with the
        defaults keeps its id.
        """
        job = self.job
        what: tuple[object, ...] = (
            sorted(row.clip_id for row in self.clips),
            hashlib.sha256(self.model.read_bytes()).hexdigest(),
            job.size,
            job.known,
            job.labeler,
            job.budget_tracks,
            job.choice,
            job.seed,
        )
        if job.unseen:
            what = (*what, job.unseen)
        if job.settings != LabelSettings():
            what = (*what, job.settings)
        return "l-" + hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:16]


def choose_clips(
    catalog: Catalog,
    *,
    drive_prefix: str | None = None,
    clip_ids: Sequence[str] = (),
) -> tuple[ClipRow, ...]:
    """Choose admitted clips, in id order: those of some drives, those that begin so, else all.

    Raises:
        OperatorError: No admitted clip is meant.
    """
    conditions = [] if drive_prefix is None else [prefix("drive_id", drive_prefix)]
    conditions += [prefix("clip_id", *clip_ids)] if clip_ids else []
    rows = catalog.all(ClipRow, *conditions)
    if not rows:
        raise OperatorError("no admitted clip is meant by that; `ringroad clips list` shows them")
    return tuple(rows)


def label(
    workspace: Workspace, orders: Mapping[str, LabelOrder], *, on_steps: OnSteps = ignore_steps
) -> dict[str, Labelled]:
    """Carry labelling orders out and write the labels down.

    A clip that cannot be fetched or read is skipped; the run names it, with the reason.

    Args:
        workspace: Where.
        orders: By name.
        on_steps: Called for each order that is done.

    Raises:
        JobError: A child process failed.
        OperatorError: There are clips, and none of them can be read.
    """
    tasks = {name: _task(workspace, name, order) for name, order in orders.items()}
    executor = workspace.executor
    executor.run(list(tasks.values()), on_done=lambda name: on_steps(1))
    labelled = {
        name: read_labelled(executor.results(task.name) / ROWS_FILE) for name, task in tasks.items()
    }
    _refuse_nothing(labelled)
    for name, order in orders.items():
        _write_down(workspace, order, labelled[name])
    return labelled


def _task(workspace: Workspace, name: str, order: LabelOrder) -> Task:
    clips = {row.clip_id: row.blob_id for row in order.clips}
    return Task(
        name=f"label-{name}",
        module="fleet.label.job",
        inputs={MODEL: workspace.store.put(order.model), **clips},
        parameters=order.job,
    )


def _refuse_nothing(labelled: Mapping[str, Labelled]) -> None:
    skipped = {k: why for one in labelled.values() for k, why in one.run.skipped.items()}
    if skipped and not any(one.run.clips for one in labelled.values()):
        clip_id, why = next(iter(skipped.items()))
        raise OperatorError(
            f"none of {len(skipped)} clips can be read, so nothing is labelled; "
            f"clip {clip_id[:12]}: {why}"
        )


def _write_down(workspace: Workspace, order: LabelOrder, labelled: Labelled) -> None:
    run_id, at_ns = order.run_id, workspace.now_ns()
    skipped = labelled.run.skipped
    said: dict[str, list[Sample]] = {
        row.clip_id: [] for row in order.clips if row.clip_id not in skipped
    }
    for sample in labelled.samples:
        said[sample.clip_id].append(sample)
    rows = [_row(workspace, run_id, clip_id, samples, at_ns) for clip_id, samples in said.items()]
    vehicles = {row.clip_id: row.vehicle_id for row in order.clips}
    with workspace.catalog.write(at_ns=at_ns, actor=workspace.actor) as tx:
        for row in rows:
            if tx.add(row):
                vehicle = vehicles[row.clip_id]
                tx.append(
                    StreamKind.VEHICLE,
                    vehicle,
                    "clip_labelled.1",
                    cause=run_id,
                    clip_id=row.clip_id,
                    label_id=row.label_id,
                )
    facts = LabelFacts(
        labeler=order.job.labeler,
        budget_tracks=order.job.budget_tracks,
        choice=str(order.job.choice),
        seed=order.job.seed,
        **msgspec.structs.asdict(labelled.run),
    )
    workspace.finish_run(run_id, facts)


def _row(
    workspace: Workspace, run_id: str, clip_id: str, samples: Sequence[Sample], at_ns: int
) -> LabelRow:
    said: ClipLabels = {sample.now.stamp_ns: sample.labels for sample in samples}
    blob_id = workspace.store.put(msgspec.msgpack.encode(said))
    boxes = [box for labels in said.values() for box in labels.boxes]
    return LabelRow(
        label_id=f"{run_id}-{clip_id[:16]}",
        clip_id=clip_id,
        source=run_id,
        blob_id=blob_id,
        facts=LabelCounts(
            instants=len(said),
            auto=sum(box.source is LabelSource.AUTO for box in boxes),
            reviewed=sum(box.source is LabelSource.REVIEWED for box in boxes),
            masked=sum(len(labels.ignored) for labels in said.values()),
        ),
        at_ns=at_ns,
    )
