"""Freeze labelled clips into a dataset and put it on the shelf."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from edge.clip_file import read_clip
from edge.contracts.errors import ContractError, OperatorError
from edge.contracts.rig import Rig
from fleet.catalog import ClipRow, LabelRow
from fleet.dataset.frozen import DatasetManifest, freeze
from fleet.dataset.shelf import shelve
from fleet.label import clip_rows
from fleet.label.job import reason_of
from fleet.label.order import ClipLabels
from fleet.sample.row import Sample
from fleet.work.workspace import Workspace

_log = logging.getLogger(__name__)


def freeze_samples(
    workspace: Workspace,
    samples: Iterable[Sample],
    rigs: Iterable[Rig],
    *,
    name: str,
    split: str = "train",
    purpose: str = "",
) -> DatasetManifest:
    """Freeze rows and put the dataset on the shelf; the same rows are the same dataset."""
    manifest = freeze(samples, rigs, workspace.store, name=name, split=split, purpose=purpose)
    shelve(workspace, manifest)
    return manifest


def freeze_runs(
    workspace: Workspace,
    run_ids: Sequence[str],
    *,
    name: str,
    split: str = "train",
    purpose: str = "",
) -> DatasetManifest:
    """Freeze what labelling runs said, joined with the clips they said it about.

    A clip that cannot be read any more is left out, which is logged.

    Raises:
        OperatorError: A run said nothing about any clip, two runs spoke about the same one, or no clip
            can be read.
    """
    rows = [row for run_id in run_ids for row in _labels(workspace, run_id)]
    opinions = Counter(row.clip_id for row in rows)
    twice = sorted(clip_id for clip_id, count in opinions.items() if count > 1)
    if twice:
        raise OperatorError(
            f"clip {twice[0][:12]} was labelled by more than one of {', '.join(run_ids)}; "
            "a dataset holds one opinion of a clip"
        )
    samples: list[Sample] = []
    rigs: dict[str, Rig] = {}
    why = ""
    for row in rows:
        clip_row = workspace.catalog.get(ClipRow, row.clip_id)
        if clip_row is None:
            raise OperatorError(f"clip {row.clip_id} of {row.label_id} is not in the catalog")
        try:
            clip = read_clip(workspace.store.get(clip_row.blob_id))
            said = msgspec.msgpack.decode(workspace.store.get(row.blob_id), type=ClipLabels)
        except (ContractError, OperatorError, msgspec.MsgspecError) as error:
            why = reason_of(error)
            _log.warning("clip_skipped", extra={"clip_id": row.clip_id, "reason": why})
            continue
        samples.extend(clip_rows(clip, said))
        rigs[clip.manifest.rig_id] = clip.manifest.rig
    if not rigs:
        raise OperatorError(
            f"none of {len(rows)} clips can be read, so nothing is frozen; {rows[-1].clip_id}: {why}"
        )
    return freeze_samples(
        workspace, samples, rigs.values(), name=name, split=split, purpose=purpose
    )


def _labels(workspace: Workspace, run_id: str) -> list[LabelRow]:
    rows = workspace.catalog.all(LabelRow, source=run_id)
    if not rows:
        raise OperatorError(f"no labels by a run {run_id!r}; `ringroad label list` shows the runs")
    return rows
