"""Turn day into night after the picture is drawn: darker, noisy, and lamps that stay bright.

The renderer keeps the channel value 255 for lamps alone, so a look-up table over single bytes can darken
everything else. Noise is cut from a table drawn once, at a random place per frame: that costs well under a
millisecond for eight images of 256 x 128, where drawing normal numbers would cost more than the picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_TABLE_BYTES = 1 << 21
"""Room for noise; an image that has more repeats it."""


@dataclass
class NightSettings:
    """Darkness and noise of nights."""

    min_gain_ratio: float = 0.16
    """Brightness of the darkest night, as a share of the day's."""
    max_gain_ratio: float = 0.30
    """A night's gain is drawn between the two, once per drive."""
    noise_sigma_ratio: float = 5.0 / 255.0
    """Sensor noise, of full scale."""
    lamp_ratio: float = 0.9
    """Brightness of a lamp, of full scale."""


class Night:
    """One night: its gain and its sensor noise are drawn from ``rng`` when it begins."""

    def __init__(self, settings: NightSettings, rng: np.random.Generator) -> None:
        """Draw the night."""
        self.gain_ratio = float(rng.uniform(settings.min_gain_ratio, settings.max_gain_ratio))
        levels = np.rint(np.arange(256) * self.gain_ratio)
        levels[255] = 255.0 * settings.lamp_ratio
        self._dark = levels.astype(np.uint8)
        sigma = 255.0 * settings.noise_sigma_ratio
        # Noise is stored above a bias, so that adding and subtracting saturate as a sensor does.
        bias = int(np.ceil(4.0 * sigma))
        noise = rng.standard_normal(_TABLE_BYTES, dtype=np.float32) * sigma + bias
        self._noise: NDArray[np.uint8] = np.clip(np.rint(noise), 0, 2 * bias).astype(np.uint8)
        self._offset = np.full(4, float(bias))

    def fall(
        self, images: Iterable[NDArray[np.uint8]], rng: np.random.Generator
    ) -> list[NDArray[np.uint8]]:
        """Darken images (H, W, 3); ``rng`` places the noise. Returns new images."""
        night = []
        for image in images:
            out = np.empty_like(image)
            noise = self._cut(image.size, rng).reshape(image.shape)
            bright = cv2.add(cv2.LUT(image, self._dark), noise)
            cv2.subtract(bright, self._offset, dst=out)
            night.append(out)
        return night

    def _cut(self, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Take noise from a random place of the table."""
        if size < _TABLE_BYTES:
            start = int(rng.integers(_TABLE_BYTES - size))
            return self._noise[start : start + size]
        start = int(rng.integers(_TABLE_BYTES))
        return np.take(self._noise, np.arange(start, start + size), mode="wrap")
