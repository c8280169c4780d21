"""An immutable, named list of labelled samples: one Parquet blob and a manifest that hashes it.

A dataset is named by what it holds. Freezing the same rows again gives the same name, so a stage that
runs twice repeats nothing, and a report that names a dataset names its bytes.
"""

from __future__ import annotations

import fcntl
import io
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge.clip_file import Instant, decode_instant, frame_without_status
from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, Name, Sha256, StampNs, Text
from edge.contracts.rig import Rig
from edge.contracts.sensors import EgoState, Route
from edge.perceive.tensors import IMAGE_SLOTS, NetSpec, slot_images
from fleet.sample.row import Sample, SampleLabels, senses_of, training_labels
from fleet.store import BlobStore
from models.examples import Example, Senses

_log = logging.getLogger(__name__)

DATASET_SCHEMA = 2
_COLUMNS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("clip_id", pa.string()),
        ("place_id", pa.string()),
        ("rig_id", pa.string()),
        ("stamp_ns", pa.int64()),
        ("tags", pa.list_(pa.string())),
        ("now", pa.binary()),
        ("earlier", pa.binary()),
        ("labels", pa.binary()),
    ]
)


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a dataset, without its rows."""

    schema: Count = DATASET_SCHEMA
    dataset_id: Name
    name: Name
    split: Name
    blob_id: Sha256
    size_bytes: Count
    samples: Count
    places: Count
    clips: tuple[str, ...]
    instances: dict[str, Count]
    """Labelled boxes per category."""
    encounters: dict[str, Count]
    """Distinct encounters per category that has any."""
    label_sources: dict[str, Count]
    purpose: Text = ""


class DatasetFile(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen dataset, laid out as a file of this machine."""

    dataset_id: Name
    blob_id: Sha256
    path: str


def dataset_file(manifest: DatasetManifest, path: Path) -> DatasetFile:
    """Name a dataset's Parquet file for a job."""
    return DatasetFile(dataset_id=manifest.dataset_id, blob_id=manifest.blob_id, path=str(path))


def freeze(
    samples: Iterable[Sample],
    rigs: Iterable[Rig],
    store: BlobStore,
    *,
    name: str,
    split: str,
    purpose: str = "",
) -> DatasetManifest:
    """Write rows once and for ever; the same rows give the same dataset."""
    rows = sorted(samples, key=lambda s: s.sample_id)
    calibrations = {rig.rig_id: rig for rig in rigs}
    content = _parquet(rows, calibrations)
    blob_id = store.put(content)
    boxes = [box for row in rows for box in row.labels.boxes]
    met = {(str(b.box.category), b.encounter_id) for b in boxes if b.encounter_id is not None}
    return DatasetManifest(
        dataset_id=f"d-{blob_id[:16]}",
        name=name,
        split=split,
        blob_id=blob_id,
        size_bytes=len(content),
        samples=len(rows),
        places=len({row.place_id for row in rows}),
        clips=tuple(sorted({row.clip_id for row in rows})),
        instances=dict(sorted(Counter(str(b.box.category) for b in boxes).items())),
        encounters=dict(sorted(Counter(category for category, _ in met).items())),
        label_sources=dict(sorted(Counter(str(b.source) for b in boxes).items())),
        purpose=purpose,
    )


def _parquet(rows: list[Sample], rigs: dict[str, Rig]) -> bytes:
    encode = msgspec.msgpack.encode
    columns = {
        "sample_id": [row.sample_id for row in rows],
        "clip_id": [row.clip_id for row in rows],
        "place_id": [row.place_id for row in rows],
        "rig_id": [row.rig_id for row in rows],
        "stamp_ns": [row.now.stamp_ns for row in rows],
        "tags": [list(row.tags) for row in rows],
        "now": [encode(row.now) for row in rows],
        "earlier": [encode(row.earlier) if row.earlier else None for row in rows],
        "labels": [encode(row.labels) for row in rows],
    }
    schema = _COLUMNS.with_metadata({b"rigs": encode(rigs), b"schema": str(DATASET_SCHEMA)})
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="none", row_group_size=256)
    return sink.getvalue()


class _FirstInstant(msgspec.Struct, frozen=True, kw_only=True):
    """A frame set as schema 1 stored it."""

    stamp_ns: StampNs
    ego: EgoState
    route: Route
    jpegs: tuple[bytes, ...]
    radar: bytes
    ultrasonics: bytes

    def instant(self) -> Instant:
        """Return it as schema 2 stores it; its cameras had no stamps of their own."""
        return Instant(
            stamp_ns=self.stamp_ns,
            frames=tuple(frame_without_status(jpeg, self.stamp_ns) for jpeg in self.jpegs),
            radar=self.radar,
            ultrasonics=self.ultrasonics,
            ego=self.ego,
            route=self.route,
        )


class Dataset:
    """A frozen dataset, opened: rows by number, decoded when asked for."""

    def __init__(self, content: bytes | Path) -> None:
        """Open the Parquet bytes (or file) of a frozen dataset.

        Raises:
            SchemaError: It is not a dataset, or was written by a newer schema.
        """
        try:
            source = content if isinstance(content, Path) else pa.BufferReader(content)
            table = pq.read_table(source, memory_map=True)
            metadata = table.schema.metadata or {}
            self.rigs = msgspec.msgpack.decode(metadata[b"rigs"], type=dict[str, Rig])
            self._schema = int(metadata.get(b"schema", b"1"))
        except (pa.ArrowException, KeyError, ValueError, msgspec.MsgspecError, OSError) as error:
            raise SchemaError(f"not a dataset: {error}") from error
        if self._schema > DATASET_SCHEMA:
            raise SchemaError(
                f"the dataset is of schema {self._schema}; this software reads up to {DATASET_SCHEMA}"
            )
        self._table = table.combine_chunks()

    def __len__(self) -> int:
        """Count the rows."""
        return int(self._table.num_rows)

    def __getitem__(self, number: int) -> Sample:
        """Decode one row."""
        row = {name: self._table.column(name)[number].as_py() for name in _COLUMNS.names}
        decode = msgspec.msgpack.decode
        return Sample(
            sample_id=row["sample_id"],
            clip_id=row["clip_id"],
            place_id=row["place_id"],
            rig_id=row["rig_id"],
            now=self._instant(row["now"]),
            earlier=self._instant(row["earlier"]) if row["earlier"] else None,
            labels=decode(row["labels"], type=SampleLabels),
            tags=tuple(row["tags"]),
        )

    def _instant(self, content: bytes) -> Instant:
        if self._schema == 1:
            return msgspec.msgpack.decode(content, type=_FirstInstant).instant()
        return msgspec.msgpack.decode(content, type=Instant)

    def rig_of(self, sample: Sample) -> Rig:
        """Return the calibration that a sample was recorded with."""
        return self.rigs[sample.rig_id]


class TrainingView:
    """A dataset as examples for one network, its images decoded once into a file shared by processes.

    Decoding sixteen JPEGs takes longer than a tenth of a training step; the decoded images are kept as
    a memory-mapped array under ``cache``, named by dataset and size, so that they cost disk, not memory.
    """

    def __init__(
        self,
        dataset: Dataset,
        spec: NetSpec,
        cache: Path,
        key: str,
        categories: Sequence[Category] = SHIPPED_CLASSES,
    ) -> None:
        self._dataset, self._spec, self._categories = dataset, spec, categories
        shape = (len(dataset), 2, len(IMAGE_SLOTS), 3, spec.image_height_px, spec.image_width_px)
        self._rows: list[tuple[Rig, Senses, Senses | None, SampleLabels]] = []
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"{key}-{spec.image_width_px}.npy"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another training process may decode the same images
            images = _cached_images(path, shape)
            is_new = images is None
            partial = path.with_suffix(".partial.npy")
            if images is None:
                images = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
            for number in range(len(dataset)):
                self._rows.append(self._row(number, images[number], is_new))
            if is_new:
                partial.rename(path)

    def _row(
        self, number: int, images: NDArray[np.uint8], is_new: bool
    ) -> tuple[Rig, Senses, Senses | None, SampleLabels]:
        sample = self._dataset[number]
        rig = self._dataset.rig_of(sample)
        instants = [
            _senses(instant, rig, self._spec, images[slot], is_new) if instant else None
            for slot, instant in enumerate((sample.now, sample.earlier))
        ]
        assert instants[0] is not None
        return rig, instants[0], instants[1], sample.labels

    def __len__(self) -> int:
        """Count the examples."""
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        """Give one example; its images are views of the shared file."""
        rig, now, earlier, labels = self._rows[number]
        return Example(rig, now, training_labels(labels, self._spec, self._categories), earlier)


def drop_images(cache: Path, key: str) -> None:
    """Delete the decoded images of a dataset; they take several times the room of its JPEGs."""
    for path in cache.glob(f"{key}-*"):
        path.unlink(missing_ok=True)


def _cached_images(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    try:
        images = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:  # cut, or not what was written
        _log.warning("cached_images_dropped", extra={"file": str(path), "reason": str(error)})
        return None
    return images if images.shape == shape else None


def _senses(
    instant: Instant, rig: Rig, spec: NetSpec, slot: NDArray[np.uint8], is_new: bool
) -> Senses:
    if is_new:
        slot[...] = slot_images(decode_instant(instant, rig), rig, spec)
    return senses_of(instant, rig, spec, slot)
