"""Find a network by the name that an operator gives: zoo name, training run, bundle or folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import OperatorError
from edge.contracts.release import decode_manifest
from edge.perceive.tensors import SPECS
from fleet.bundle.assemble import FP32, INT8, ModelFiles
from fleet.catalog import BundleRow, RunRow, prefix
from fleet.train.order import fetch_run
from fleet.work.workspace import Workspace
from fleet.zoo import CARD, WEIGHTS, read_card, zoo_folder


@dataclass(frozen=True)
class Model:
    """A trained network and its files."""

    name: str
    size: str
    run_id: str
    weights: Path
    files: ModelFiles
    categories: tuple[Category, ...]
    """The class of each channel of its heat map."""
    known: tuple[Category, ...]
    """What it has learnt to see, out of ``categories``."""
    dataset_id: str | None
    """The dataset that it was trained on last."""
    bundle_id: str | None = None


def find_model(workspace: Workspace, word: str) -> Model:
    """Find a network.

    Args:
        workspace: Where its files are laid out.
        word: ``pico`` (the zoo's), a folder with a card, the beginning of a training run's id, or of a
            bundle's.

    Raises:
        OperatorError: No such network, or several.
        HashMismatchError: A file is not what its card says.
    """
    if word in SPECS:
        return _from_card(zoo_folder(word))
    if (Path(word) / CARD).is_file():
        return _from_card(Path(word))
    catalog = workspace.catalog
    bundles = catalog.all(BundleRow, prefix("bundle_id", word), limit=2)
    runs = catalog.all(RunRow, prefix("run_id", word), limit=2, stage="train")
    if len(bundles) + len(runs) != 1:
        found = "several" if bundles or runs else "no"
        raise OperatorError(
            f"{found} networks are called {word!r}: name a size of the zoo "
            f"({', '.join(SPECS)}), a folder with a {CARD}, a training run or a bundle"
        )
    return _from_run(workspace, runs[0]) if runs else _from_bundle(workspace, bundles[0])


def _from_bundle(workspace: Workspace, row: BundleRow) -> Model:
    run = workspace.catalog.get(RunRow, row.run_id) if row.run_id else None
    if run is not None:
        return replace(_from_run(workspace, run), bundle_id=row.bundle_id)
    shipped = _from_card(zoo_folder(decode_manifest(row.manifest).model))
    if row.run_id != shipped.run_id:
        raise OperatorError(f"bundle {row.bundle_id}: its training run {row.run_id} is not here")
    return replace(shipped, bundle_id=row.bundle_id)


def _from_card(folder: Path) -> Model:
    card = read_card(folder)
    return Model(
        name=card.model,
        size=card.model,
        run_id=card.run_id,
        weights=folder / WEIGHTS,
        files=ModelFiles(folder / FP32, folder / INT8),
        categories=card.categories,
        known=card.known,
        dataset_id=card.dataset_id,
    )


def _from_run(workspace: Workspace, row: RunRow) -> Model:
    trained = fetch_run(workspace, row)
    return Model(
        name=row.run_id,
        size=trained.facts.size,
        run_id=row.run_id,
        weights=trained.weights,
        files=trained.files,
        categories=trained.facts.categories or SHIPPED_CLASSES,
        known=trained.facts.known,
        dataset_id=row.dataset_id,
    )
