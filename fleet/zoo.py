"""The shipped models: weights, graphs, and a card that states their origin and their scores."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.fields import Count, Finite, Name, Ratio, Sha256, SpeedError, Text
from fleet.bundle.bundle import Tuned
from fleet.disk import sha256_of

CARD = "card.json"
WEIGHTS = "weights.bin"
TFLITE = "pico.tflite"


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A shipped model: its origin, and its scores on places that it never saw."""

    model: Name
    recipe: Name
    """Of its training data."""
    recipe_id: Name
    dataset_id: Name
    run_id: Name
    seed: Count
    samples: Count
    instances: dict[str, Count]
    categories: tuple[Category, ...] = SHIPPED_CLASSES
    """The class of each channel of its heat map."""
    known: tuple[Category, ...]
    """Classes that it has learnt; that it finds none of any other class means nothing."""
    thresholds: dict[Category, Ratio]
    """Best F1 per class on the tune split."""
    velocity_sigma_mps: dict[Category, SpeedError] = {}
    """Error per axis of the velocities that vehicles may use, on the tune split."""
    metrics: dict[str, Finite]
    per_class: dict[str, dict[str, Finite]]
    dead: tuple[Text, ...] = ()
    """Which outputs are no better than a constant on the tune split, each in a sentence."""
    files: dict[str, Sha256]
    notes: Text = ""

    @property
    def tuned(self) -> Tuned:
        """Figures that the bundle of this model carries to vehicles."""
        return Tuned(self.thresholds, self.velocity_sigma_mps)


def zoo_folder(model: str) -> Path:
    """Return the folder of a shipped model.

    Raises:
        OperatorError: No such model ships.
    """
    with as_file(files("models") / "zoo") as zoo:
        if not (zoo / model / CARD).is_file():
            shipped = ", ".join(sorted(card.parent.name for card in zoo.glob(f"*/{CARD}")))
            raise OperatorError(
                f"no trained {model!r} ships with this installation; there is {shipped or 'none'}"
            )
        return zoo / model


def read_card(folder: Path) -> ModelCard:
    """Read a model's card and check that its files are the ones that it names.

    Raises:
        HashMismatchError: A file is missing or differs from the card.
    """
    card = decode_card(folder)
    for name, sha256 in card.files.items():
        path = folder / name
        found = sha256_of(path) if path.is_file() else "nothing"
        if found != sha256:
            raise HashMismatchError(
                f"zoo {card.model}: {name} is {found[:12]}, the card says {sha256[:12]}"
            )
    return card


def decode_card(folder: Path) -> ModelCard:
    """Read a model's card without looking at the files that it names."""
    return msgspec.json.decode((folder / CARD).read_bytes(), type=ModelCard)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write a card; the hashes in it are taken from the folder's files."""
    hashes = {p.name: sha256_of(p) for p in sorted(folder.iterdir()) if p.name != CARD}
    named = msgspec.structs.replace(card, files=hashes)
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(named)) + b"\n")
