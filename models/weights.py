"""Weights on disk: named arrays and nothing that can run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from edge.contracts.arrays import pack_arrays, unpack_arrays
from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.contracts.errors import HashMismatchError
from edge.perceive.tensors import NetSpec
from models.bev import RARE_LOGIT, BevNet

_CLASS_WEIGHT, _CLASS_BIAS = "heatmap.1.weight", "heatmap.1.bias"


def save_weights(net: BevNet, path: Path) -> str:
    """Write a network's parameters and statistics; returns their SHA-256."""
    arrays = {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
    content = pack_arrays(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_weights(
    path: Path, spec: NetSpec, categories: tuple[Category, ...] = SHIPPED_CLASSES
) -> BevNet:
    """Build a network and fill it; classes beyond those of the file start as rare things, alike the others.

    Raises:
        SchemaError: The file is not a container of arrays.
        HashMismatchError: Its arrays are not those of this network size, or hold more classes than named.
    """
    arrays = unpack_arrays(path.read_bytes())
    net = BevNet(spec, categories)
    lacking = len(categories) - len(arrays.get(_CLASS_BIAS, categories))
    if lacking > 0:
        weight, bias = arrays[_CLASS_WEIGHT], arrays[_CLASS_BIAS]
        new = np.repeat(0.1 * weight.mean(axis=0, keepdims=True), lacking, axis=0)
        arrays[_CLASS_WEIGHT] = np.concatenate([weight, new])
        arrays[_CLASS_BIAS] = np.append(bias, np.full(lacking, RARE_LOGIT, np.float32))
    try:
        net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    except RuntimeError as error:
        raise HashMismatchError(f"{path.name} does not fit {spec.name}: {error}") from error
    return net.eval()
