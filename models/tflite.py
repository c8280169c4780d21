"""Convert trained weights to TFLite; needs the extra ``tflite-export`` in an environment of its own.

The converter needs two gigabytes of compilers that neither vehicle nor fleet use, and pins versions of
packages that they use in other versions. So it is run by hand when a baseline is made: ``python -m
models.tflite``. Inputs and outputs lose their names on the way; the file gives them by position, and the
vehicle's engine puts the contract's names back.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.perceive.tensors import SPECS, NetSpec, output_specs
from models.bev import Deployed
from models.export import example_inputs, folded
from models.weights import load_weights

PARITY = 1e-4
"""Largest difference from torch on random inputs, relative to the range of each output (or to 1)."""


def convert(
    weights: Path,
    spec: NetSpec,
    path: Path,
    categories: tuple[Category, ...] = SHIPPED_CLASSES,
) -> float:
    """Write a fp32 TFLite file and check it against torch.

    Args:
        weights: As ``models.weights`` saves them.
        spec: The network's size.
        path: The file to write.
        categories: The class of each channel of its heat map.

    Returns:
        The largest difference on any output.

    Raises:
        ValueError: The file answers differently; it is not written.
    """
    import litert_torch

    net = Deployed(folded(load_weights(weights, spec, categories))).eval()
    inputs = tuple(torch.from_numpy(value) for value in example_inputs(spec).values())
    converted = litert_torch.convert(net, inputs)
    with torch.inference_mode():
        expected = [value.numpy() for value in net(*inputs)]
    got = converted(*inputs)
    errors = {
        tensor.name: float(np.abs(np.asarray(mine) - theirs).max() / max(1.0, np.ptp(theirs)))
        for tensor, mine, theirs in zip(
            output_specs(spec, len(categories)), got, expected, strict=True
        )
    }
    worst = max(errors.values())
    if not worst <= PARITY:
        raise ValueError(f"TFLite differs from torch by {errors}; expected at most {PARITY}")
    converted.export(str(path))
    return worst


def main() -> None:
    """Run ``python -m models.tflite WEIGHTS OUT [--size pico] [--categories car,truck,…]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="pico", choices=sorted(SPECS))
    parser.add_argument("--categories", default=",".join(SHIPPED_CLASSES))
    arguments = parser.parse_args()
    categories = tuple(arguments.categories.split(","))
    worst = convert(arguments.weights, SPECS[arguments.size], arguments.out, categories)
    sys.stdout.write(f"{arguments.out}: largest difference from torch {worst:.1e}\n")


if __name__ == "__main__":
    main()
