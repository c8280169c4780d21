"""Keep frozen datasets in catalog and store, find them again, and lay them out as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge.contracts.errors import OperatorError
from fleet.catalog import DatasetFacts, DatasetRow, StreamKind
from fleet.dataset.frozen import DatasetFile, DatasetManifest, dataset_file
from fleet.store import BlobStore
from fleet.work.executor import blob_folder, lay_out
from fleet.work.workspace import CatalogAndStore, Workspace


def shelve(workspace: Workspace, manifest: DatasetManifest) -> None:
    """Write a dataset into the catalog; one that stands there already may get another name."""
    blob_id = workspace.store.put(msgspec.json.encode(manifest))
    at_ns = workspace.now_ns()
    row = DatasetRow(
        dataset_id=manifest.dataset_id,
        purpose=manifest.split,
        blob_id=blob_id,
        facts=DatasetFacts(
            names=(manifest.name,),
            samples=manifest.samples,
            clips=len(manifest.clips),
            said_purpose=manifest.purpose,
        ),
        at_ns=at_ns,
    )
    with workspace.catalog.write(at_ns=at_ns, actor=workspace.actor) as tx:
        if tx.add(row):
            tx.append(
                StreamKind.DATASET,
                manifest.dataset_id,
                "dataset_frozen.1",
                cause=manifest.name,
                blob_id=manifest.blob_id,
                samples=manifest.samples,
            )
            return
        known = tx.get(DatasetRow, manifest.dataset_id)
        assert known is not None
        names = tuple(dict.fromkeys((*known.facts.names, manifest.name)))
        facts = msgspec.structs.replace(known.facts, names=names)
        tx.change(DatasetRow, manifest.dataset_id, facts=facts)


def find_dataset(fleet: CatalogAndStore, word: str) -> DatasetManifest:
    """Find a dataset by its id, the beginning of it, or its name.

    Raises:
        OperatorError: None is meant, or several.
    """
    rows = [
        row
        for row in fleet.catalog.all(DatasetRow)
        if row.dataset_id.startswith(word) or word in row.facts.names
    ]
    if len(rows) != 1:
        known = ", ".join(row.dataset_id for row in rows) or "none"
        raise OperatorError(
            f"{word!r} means {known}, and not one dataset; `ringroad dataset list` shows all"
        )
    return msgspec.json.decode(fleet.store.get(rows[0].blob_id), type=DatasetManifest)


def files_of(
    manifests: Mapping[str, DatasetManifest], store: BlobStore, cache: Path
) -> dict[str, DatasetFile]:
    """Lay datasets out as files for child processes, whatever the store is."""
    return {
        name: dataset_file(manifest, lay_out(store, manifest.blob_id, blob_folder(cache)))
        for name, manifest in manifests.items()
    }
