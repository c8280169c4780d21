import numpy as np
import pytest

from sim.render.weather import Night, NightSettings


def night_of(seed: int) -> Night:
    return Night(NightSettings(), np.random.default_rng(seed))


def test_night_darkens_by_its_gain_and_adds_its_noise() -> None:
    night = night_of(0)
    images = np.full((8, 128, 256, 3), 200, dtype=np.uint8)
    dark = np.stack(night.fall(images, np.random.default_rng(1)))
    assert 0.16 <= night.gain_ratio <= 0.30
    assert dark.mean() == pytest.approx(200 * night.gain_ratio, abs=0.6)
    assert dark.std() == pytest.approx(5.0, rel=0.05)


def test_lamps_stay_bright() -> None:
    images = np.zeros((8, 64, 64, 3), dtype=np.uint8)
    images[..., 0] = 255
    dark = np.stack(night_of(0).fall(images, np.random.default_rng(1)))
    assert dark[..., 0].mean() > 220
    assert dark[..., 1].mean() < 5


def test_night_is_the_same_for_the_same_seeds_and_leaves_its_input_alone() -> None:
    images = np.random.default_rng(5).integers(0, 255, (8, 32, 64, 3), dtype=np.uint8)
    before = images.copy()
    first = np.stack(night_of(3).fall(images, np.random.default_rng(9)))
    np.testing.assert_array_equal(first, night_of(3).fall(images, np.random.default_rng(9)))
    np.testing.assert_array_equal(images, before)
    assert (first != np.stack(night_of(3).fall(images, np.random.default_rng(10)))).any()
    assert night_of(3).gain_ratio != night_of(4).gain_ratio


def test_an_image_larger_than_the_table_of_noise_gets_night_too() -> None:
    image = np.full((900, 1600, 3), 200, dtype=np.uint8)
    night = night_of(0)
    (dark,) = night.fall([image], np.random.default_rng(1))
    assert dark.shape == image.shape
    assert dark.mean() == pytest.approx(200 * night.gain_ratio, abs=0.6)
    assert dark.std() == pytest.approx(5.0, rel=0.05)
