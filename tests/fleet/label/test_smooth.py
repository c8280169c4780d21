import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts.errors import OperatorError
from fleet.label.smooth import SmoothSettings, States, smooth


def _covariance(tracks, instants, sigma_m):
    return np.broadcast_to(sigma_m**2 * np.eye(2), (tracks, instants, 2, 2))


def _drives(seed, tracks=300, instants=60, dt_s=0.1, sigma_m=0.7):
    """Road users with random accelerations, 25 % misses and 1.2 s of occlusion in the middle."""
    rng = np.random.default_rng(seed)
    times_s = dt_s * np.arange(instants)
    velocity = rng.normal(0, 6, (tracks, 1, 2)) + np.cumsum(
        rng.normal(0, np.sqrt(2.0 * dt_s), (tracks, instants, 2)), axis=1
    )
    truth = rng.uniform(-30, 30, (tracks, 1, 2)) + np.cumsum(velocity * dt_s, axis=1)
    measured = truth + rng.normal(0, sigma_m, truth.shape)
    is_measured = rng.random((tracks, instants)) > 0.25
    is_measured[:, 25:37] = False
    is_measured[:, [0, -1]] = True
    return times_s, truth, velocity, measured, is_measured


def _filter(times_s, measured, covariance, is_measured):
    """The state at each instant, from the measurements up to it."""
    pasts = [
        smooth(times_s[:n], measured[:, :n], covariance[:, :n], is_measured[:, :n])
        for n in range(1, len(times_s) + 1)
    ]
    return States(
        np.stack([past.mean[:, -1] for past in pasts], axis=1),
        np.stack([past.covariance[:, -1] for past in pasts], axis=1),
        np.stack([past.is_known[:, -1] for past in pasts], axis=1),
    )


def _rms(error):
    return float(np.sqrt((error**2).sum(axis=-1).mean()))


def test_hindsight_halves_the_position_error_of_the_causal_filter():
    times_s, truth, velocity, measured, is_measured = _drives(0)
    covariance = _covariance(300, 60, 0.7)
    causal = _filter(times_s, measured, covariance, is_measured)
    hindsight = smooth(times_s, measured, covariance, is_measured)
    assert _rms(hindsight.position - truth) < 0.55 * _rms(causal.position - truth)
    assert _rms(hindsight.velocity - velocity) < 0.5 * _rms(causal.velocity - velocity)
    gap = slice(25, 37)
    assert _rms((hindsight.position - truth)[:, gap]) < 0.45 * _rms(
        (causal.position - truth)[:, gap]
    )


def test_the_covariance_says_how_large_the_error_is():
    times_s, truth, _, measured, is_measured = _drives(1)
    found = smooth(times_s, measured, _covariance(300, 60, 0.7), is_measured)
    error = (found.position - truth)[:, 5:55]
    inverse = np.linalg.inv(found.covariance[:, 5:55, :2, :2])
    distance = np.einsum("nti,ntij,ntj->nt", error, inverse, error)
    assert distance.mean() == pytest.approx(2.0, rel=0.15)  # chi-square with two degrees


def test_two_metres_in_a_second_seen_twice_without_noise_is_two_metres_per_second():
    times_s, position = np.array([0.0, 0.5, 1.0]), np.array([[[0.0, 0], [9, 9], [2.0, 0]]])
    is_measured = np.array([[True, False, True]])
    still = SmoothSettings(acceleration_density_m2ps3=1e-9, start_speed_mps=1e3)
    found = smooth(times_s, position, _covariance(1, 3, 1e-4), is_measured, still)
    assert found.position[0, 1] == pytest.approx([1.0, 0.0], abs=1e-3)
    assert found.velocity[0] == pytest.approx(np.array([[2.0, 0.0]] * 3), abs=1e-3)


def test_a_track_is_unknown_before_its_first_and_extrapolated_after_its_last_measurement():
    times_s = np.arange(5.0)
    position = np.zeros((1, 5, 2))
    position[0, :, 0] = times_s
    is_measured = np.array([[False, True, True, True, False]])
    found = smooth(times_s, position, _covariance(1, 5, 0.01), is_measured)
    assert found.is_known.tolist() == [[False, True, True, True, True]]
    assert np.isnan(found.mean[0, 0]).all()
    assert found.position[0, 4] == pytest.approx([4.0, 0.0], abs=0.05)
    assert found.covariance[0, 4, 0, 0] > found.covariance[0, 3, 0, 0]


def test_a_track_without_any_measurement_stays_unknown():
    found = smooth(
        np.arange(3.0), np.zeros((1, 3, 2)), _covariance(1, 3, 1.0), np.zeros((1, 3), bool)
    )
    assert not found.is_known.any() and np.isnan(found.mean).all()


def test_a_measurement_that_is_not_marked_is_never_read():
    times_s, _, _, measured, is_measured = _drives(2, tracks=4, instants=50)
    covariance = _covariance(4, 50, 0.7)
    spoiled = np.where(is_measured[..., None], measured, np.nan)
    found = smooth(times_s, spoiled, covariance, is_measured)
    assert np.array_equal(found.mean, smooth(times_s, measured, covariance, is_measured).mean)


def test_the_more_certain_measurement_pulls_harder():
    times_s, position = np.array([0.0, 1e-6]), np.array([[[0.0, 0.0], [1.0, 0.0]]])
    covariance = np.stack([np.eye(2), 0.25 * np.eye(2)])[None]
    found = smooth(times_s, position, covariance, np.ones((1, 2), bool))
    assert found.position[0, 0, 0] == pytest.approx(0.8, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 12))
def test_each_track_of_a_batch_is_what_it_would_be_alone(seed, tracks, instants):
    rng = np.random.default_rng(seed)
    times_s = np.cumsum(rng.uniform(0.05, 0.5, instants))
    position = rng.normal(0, 5, (tracks, instants, 2))
    covariance = _covariance(tracks, instants, 0.5)
    is_measured = rng.random((tracks, instants)) < 0.6
    together = smooth(times_s, position, covariance, is_measured)
    for k in range(tracks):
        row = slice(k, k + 1)
        alone = smooth(times_s, position[row], covariance[row], is_measured[row])
        assert alone.mean == pytest.approx(together.mean[row], nan_ok=True)
    known = together.covariance[together.is_known]
    assert (np.linalg.eigvalsh(known) > 0.0).all() if len(known) else True


@pytest.mark.parametrize(
    ("times_s", "words"), [(np.array([0.0, 0.0]), "increase"), (np.array([0.0]), "shape")]
)
def test_times_that_do_not_fit_are_refused(times_s, words):
    with pytest.raises(OperatorError, match=words):
        smooth(times_s, np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2)), np.ones((1, 2), bool))
