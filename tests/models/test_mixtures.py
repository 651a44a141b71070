"""Mixtures of Gaussians: the fit, the number of components, sampling, and invalid mixtures in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from stages.models.mixtures import VARIANCE_FLOOR, Mixture, fit_mixture

WEIGHTS = np.array([0.6, 0.3, 0.1])
MEANS = np.array([[-0.5, 0.0, 0.2], [0.4, 0.4, -0.3], [0.0, -0.7, 0.6]])
FACTORS = np.array([[[0.1, 0, 0], [0.03, 0.05, 0], [0, 0, 0.02]], np.eye(3) * 0.06, np.diag([0.02, 0.08, 0.05])])
TRUE = Mixture(WEIGHTS, MEANS, FACTORS @ FACTORS.transpose(0, 2, 1))


def points_of(mixture: Mixture, count: int, seed: int = 0) -> np.ndarray:
    """Points of the mixture, sampled by NumPy."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(count, mixture.weights)
    pairs = zip(mixture.means, mixture.covariances, counts, strict=True)
    return rng.permutation(np.concatenate([rng.multivariate_normal(mean, covariance, n) for mean, covariance, n in pairs]))


def test_the_density_is_that_of_scipy():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    parts = [multivariate_normal(mean, covariance).logpdf(points) for mean, covariance in zip(TRUE.means, TRUE.covariances, strict=True)]
    assert np.allclose(TRUE.log_densities(points), np.stack(parts, 1) + np.log(WEIGHTS))
    expected = -2 * logsumexp(np.stack(parts, 1) + np.log(WEIGHTS), axis=1).sum() + (2 + 9 + 18) * np.log(50)
    assert TRUE.bic(points) == pytest.approx(expected)


def test_a_mixture_is_recovered_from_its_points():
    fitted = fit_mixture(points_of(TRUE, 1500))
    assert len(fitted.weights) == 3
    order = [int(np.linalg.norm(fitted.means - mean, axis=1).argmin()) for mean in TRUE.means]
    assert sorted(order) == [0, 1, 2]
    assert np.allclose(fitted.weights[order], WEIGHTS, atol=0.03) and np.allclose(fitted.means[order], MEANS, atol=0.02)
    assert np.allclose(fitted.covariances[order], TRUE.covariances + VARIANCE_FLOOR * np.eye(3), atol=0.002)


def test_samples_have_the_mean_and_covariance_of_the_mixture():
    """The covariance of a mixture in closed form, by the law of total covariance."""
    rng = np.random.default_rng(1)
    samples = np.stack([TRUE.sample(rng) for _ in range(6000)])
    mean = sum(w * m for w, m in zip(WEIGHTS, MEANS, strict=True))
    pairs = zip(WEIGHTS, MEANS, TRUE.covariances, strict=True)
    covariance = sum(w * (component + np.outer(m - mean, m - mean)) for w, m, component in pairs)
    assert np.allclose(TRUE.mean, mean) and np.allclose(samples.mean(0), mean, atol=0.025)
    assert np.allclose(np.cov(samples.T), covariance, atol=0.015)


def test_two_groups_have_two_components_and_one_group_has_one():
    two = Mixture(np.array([0.5, 0.5]), np.array([[-0.6], [0.6]]), np.full((2, 1, 1), 0.01))
    one = Mixture(np.array([1.0]), np.array([[0.1]]), np.full((1, 1, 1), 0.04))
    assert [len(fit_mixture(points_of(mixture, 400)).weights) for mixture in (two, one)] == [2, 1]


@pytest.mark.parametrize("count", [1, 3, 39])
def test_few_points_have_one_component_and_equal_points_do_not_collapse(count):
    fitted = fit_mixture(np.tile([0.3, -0.2, 0.9], (count, 1)))
    assert np.allclose(fitted.means, [[0.3, -0.2, 0.9]]) and np.allclose(fitted.covariances, VARIANCE_FLOOR * np.eye(3))


def test_the_same_points_and_seed_give_the_same_mixture_also_after_saving():
    points = points_of(TRUE, 300)
    one, other = fit_mixture(points, 5), fit_mixture(points, 5)
    assert one.to_json() == other.to_json()
    again = Mixture.from_json(json.loads(json.dumps(one.to_json())), 3)
    assert np.allclose(again.means, one.means, atol=1e-6) and again.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": []},
        {"weights": [1.0, 1.0]},
        {"weights": [-1.0]},
        {"weights": [0.7]},
        {"means": [[0, 0]]},
        {"means": [[0, float("nan"), 0]]},
        {"means": "far"},
        {"covariances": [[[1, 0, 0], [0, -1, 0], [0, 0, 1]]]},
        {"covariances": None},
    ],
)
def test_an_invalid_mixture_is_refused(change):
    good = {"weights": [1.0], "means": [[0, 0, 0]], "covariances": [np.eye(3).tolist()]}
    assert Mixture.from_json(good, 3).mean.tolist() == [0, 0, 0]
    with pytest.raises((ValueError, TypeError)):
        Mixture.from_json({**good, **change}, 3)
