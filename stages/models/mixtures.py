"""Mixtures of Gaussians, fitted by expectation maximisation. The Bayesian information criterion chooses the number of components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MAX_COMPONENTS = 10
POINTS_PER_COMPONENT = 20
"""A mixture has at most one component for this number of points."""
VARIANCE_FLOOR = 1e-4
"""Added to the variances, so that no component collapses onto a point."""
STARTS = 3
"""Number of fits from different starting points; the best one is taken."""
PATIENCE = 2
"""The search for the number of components ends after this number of larger mixtures that are no better."""
MAX_STEPS = 100
MIN_GAIN = 1e-4
"""A fit ends when a step increases the mean log likelihood of the points by less than this."""
_JSON_DIGITS = 7


@dataclass(frozen=True)
class Mixture:
    """weights [K], which add up to 1; means [K, D]; covariances [K, D, D]."""

    weights: Array
    means: Array
    covariances: Array

    @property
    def mean(self) -> Array:
        """The mean of the whole mixture, [D]."""
        mean: Array = self.weights @ self.means
        return mean

    def sample(self, rng: np.random.Generator) -> Array:
        """Draw a point, [D]."""
        component = rng.choice(len(self.weights), p=self.weights)
        noise = rng.standard_normal(self.means.shape[1])
        point: Array = self.means[component] + np.linalg.cholesky(self.covariances[component]) @ noise
        return point

    def log_densities(self, points: Array) -> Array:
        """The log density of each weighted component at the points [N, D] -> [N, K]."""
        roots = np.linalg.cholesky(self.covariances)
        whitened = np.einsum("kij,nkj->nki", np.linalg.inv(roots), points[:, None] - self.means)
        log_determinants = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
        dimensions = points.shape[1]
        densities: Array = np.log(self.weights) - log_determinants - 0.5 * (np.square(whitened).sum(2) + dimensions * np.log(2 * np.pi))
        return densities

    def bic(self, points: Array) -> float:
        """The Bayesian information criterion; the smaller, the better the mixture fits the points [N, D]."""
        components, dimensions = self.means.shape
        parameters = components - 1 + components * (dimensions + dimensions * (dimensions + 1) / 2)
        return float(parameters * np.log(len(points)) - 2 * np.logaddexp.reduce(self.log_densities(points), axis=1).sum())

    def to_json(self) -> dict[str, Any]:
        """The mixture as JSON, for the header of a model."""
        return {name: np.round(array, _JSON_DIGITS).tolist() for name, array in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], dimensions: int) -> Mixture:
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError if `values` is not a mixture of this number of dimensions."""
        weights, means, covariances = (np.array(values[name], np.float64) for name in ("weights", "means", "covariances"))
        components = len(weights)
        shapes = (components,), (components, dimensions), (components, dimensions, dimensions)
        if (weights.shape, means.shape, covariances.shape) != shapes or not 1 <= components <= MAX_COMPONENTS:
            raise ValueError(f"a mixture has 1 to {MAX_COMPONENTS} components with means and covariances in {dimensions} dimensions")
        if not all(np.isfinite(array).all() for array in (weights, means, covariances)):
            raise ValueError("the numbers of a mixture are finite")
        if not (weights > 0).all() or abs(weights.sum() - 1) > 1e-3:
            raise ValueError("the weights of a mixture are positive and add up to 1")
        np.linalg.cholesky(covariances)  # LinAlgError, a ValueError, unless they are positive definite
        return cls(weights / weights.sum(), means, covariances)


def fit_mixture(points: Array, seed: int = 0) -> Mixture:
    """The mixture of 1 to `MAX_COMPONENTS` components with the smallest BIC. points: [N, D], N > 0. Deterministic for a given seed."""
    best = _fit(points, 1, np.random.default_rng(seed))
    for components in range(2, min(MAX_COMPONENTS, len(points) // POINTS_PER_COMPONENT) + 1):
        rngs = (np.random.default_rng([seed, components, start]) for start in range(STARTS))
        candidates = [best, *(_fit(points, components, rng) for rng in rngs)]
        best = min(candidates, key=lambda mixture: mixture.bic(points))
        if components - len(best.weights) == PATIENCE:
            break
    return best


def _fit(points: Array, components: int, rng: np.random.Generator) -> Mixture:
    """Fit a mixture by expectation maximisation. The initial centres are drawn by k-means++."""
    responsibilities = np.eye(components)[_nearest(points, _draw_centres(points, components, rng))]
    previous = -np.inf
    for _ in range(MAX_STEPS):
        mixture = _mixture_of_responsibilities(points, responsibilities)
        log_densities = mixture.log_densities(points)
        log_likelihoods = np.logaddexp.reduce(log_densities, axis=1)
        if log_likelihoods.mean() - previous < MIN_GAIN:
            break
        previous, responsibilities = log_likelihoods.mean(), np.exp(log_densities - log_likelihoods[:, None])
    return mixture


def _mixture_of_responsibilities(points: Array, responsibilities: Array) -> Mixture:
    """The most likely mixture for points [N, D] with these responsibilities [N, K] (the maximisation step)."""
    sums = np.maximum(responsibilities.sum(0), 1e-9)
    means = responsibilities.T @ points / sums[:, None]
    differences = points[:, None] - means
    covariances = np.einsum("nk,nki,nkj->kij", responsibilities, differences, differences) / sums[:, None, None]
    return Mixture(sums / sums.sum(), means, covariances + VARIANCE_FLOOR * np.eye(points.shape[1]))


def _draw_centres(points: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw `count` of the points, each with a probability proportional to its squared distance from those already drawn (k-means++)."""
    chosen: Array = points[rng.integers(len(points))][None]
    while len(chosen) < count:
        squared_distances = np.square(points[:, None] - chosen).sum(-1).min(1) + 1e-12
        chosen = np.concatenate([chosen, points[rng.choice(len(points), p=squared_distances / squared_distances.sum())][None]])
    return chosen


def _nearest(points: Array, centres: Array) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = np.square(points[:, None] - centres).sum(-1).argmin(1)
    return nearest
