"""Weights on disk: named arrays and nothing that can run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from edge.contracts.arrays import pack_arrays, unpack_arrays
from edge.contracts.errors import HashMismatchError
from edge.perceive.tensors import NetSpec
from models.bev import BevNet


def save_weights(net: BevNet, path: Path) -> str:
    """Write a network's parameters and statistics; returns their SHA-256."""
    arrays = {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
    content = pack_arrays(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, spec: NetSpec) -> BevNet:
    """Build a network and fill it.

    Raises:
        SchemaError: The file is not a container of arrays.
        HashMismatchError: Its arrays are not those of this network size.
    """
    arrays = unpack_arrays(path.read_bytes())
    net = BevNet(spec)
    try:
        net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    except RuntimeError as error:
        raise HashMismatchError(f"{path.name} does not fit {spec.name}: {error}") from error
    return net.eval()
