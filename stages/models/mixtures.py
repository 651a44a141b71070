"""Mixtures of Gaussians: fitted by expectation maximisation, with as many components as the Bayesian information criterion asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]
MOST_COMPONENTS = 10
POINTS_PER_COMPONENT = 20
"""Number of points for which there is one component at most."""
FLOOR = 1e-4
"""Added to the variances, so that no component collapses onto a point."""
STARTS = 3
"""Number of times that a fit is tried; the most likely one is taken."""
PATIENCE = 2
"""Larger numbers of components are tried until this many in a row are no better."""
MOST_STEPS = 100
GAIN = 1e-4
"""A fit ends when a step increases the mean log likelihood of a point by less."""
_DIGITS = 7


@dataclass(frozen=True)
class Mixture:
    """weights [K], which add up to 1; means [K, D]; covariances [K, D, D]."""

    weights: Array
    means: Array
    covariances: Array

    @property
    def mean(self) -> Array:
        """Of the whole mixture, [D]."""
        mean: Array = self.weights @ self.means
        return mean

    def sample(self, draw: np.random.Generator) -> Array:
        """One point, [D]."""
        component = draw.choice(len(self.weights), p=self.weights)
        noise = draw.standard_normal(self.means.shape[1])
        point: Array = self.means[component] + np.linalg.cholesky(self.covariances[component]) @ noise
        return point

    def log_densities(self, points: Array) -> Array:
        """Of each weighted component at each of the points [N, D], [N, K]."""
        roots = np.linalg.cholesky(self.covariances)
        whitened = np.einsum("kij,nkj->nki", np.linalg.inv(roots), points[:, None] - self.means)
        volumes = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
        dimensions = points.shape[1]
        densities: Array = np.log(self.weights) - volumes - 0.5 * (np.square(whitened).sum(2) + dimensions * np.log(2 * np.pi))
        return densities

    def bic(self, points: Array) -> float:
        """The Bayesian information criterion; the smaller, the better the mixture fits the points [N, D]."""
        components, dimensions = self.means.shape
        parameters = components - 1 + components * (dimensions + dimensions * (dimensions + 1) / 2)
        return float(parameters * np.log(len(points)) - 2 * logsumexp(self.log_densities(points), axis=1).sum())

    def to_json(self) -> dict[str, Any]:
        """As a model's header has it."""
        return {name: np.round(array, _DIGITS).tolist() for name, array in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], dimensions: int) -> Mixture:
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError if `values` is not a mixture of this number of dimensions."""
        weights, means, covariances = (np.array(values[name], np.float64) for name in ("weights", "means", "covariances"))
        components = len(weights)
        shapes = (components,), (components, dimensions), (components, dimensions, dimensions)
        if (weights.shape, means.shape, covariances.shape) != shapes or not 1 <= components <= MOST_COMPONENTS:
            raise ValueError(f"a mixture has 1 to {MOST_COMPONENTS} components with means and covariances in {dimensions} dimensions")
        if not all(np.isfinite(array).all() for array in (weights, means, covariances)):
            raise ValueError("the numbers of a mixture are finite")
        if not (weights > 0).all() or abs(weights.sum() - 1) > 1e-3:
            raise ValueError("the weights of a mixture are positive and add up to 1")
        np.linalg.cholesky(covariances)  # LinAlgError, a ValueError, unless they are positive definite
        return cls(weights / weights.sum(), means, covariances)


def fit_mixture(points: Array, seed: int = 0) -> Mixture:
    """The mixture with the smallest BIC of 1 to `MOST_COMPONENTS` components. points: [N, D] with N > 0; the same for the same seed."""
    best = _maximised(points, 1, np.random.default_rng(seed))
    for components in range(2, min(MOST_COMPONENTS, len(points) // POINTS_PER_COMPONENT) + 1):
        draws = (np.random.default_rng([seed, components, start]) for start in range(STARTS))
        fitted = [best, *(_maximised(points, components, draw) for draw in draws)]
        best = min(fitted, key=lambda mixture: mixture.bic(points))
        if components - len(best.weights) == PATIENCE:
            break
    return best


def _maximised(points: Array, components: int, draw: np.random.Generator) -> Mixture:
    """Expectation maximisation from centres that are drawn far from each other."""
    shares = np.eye(components)[_nearest(points, _spread(points, components, draw))]
    before = -np.inf
    for _ in range(MOST_STEPS):
        mixture = _of_shares(points, shares)
        densities = mixture.log_densities(points)
        totals = logsumexp(densities, axis=1)
        if totals.mean() - before < GAIN:
            break
        before, shares = totals.mean(), np.exp(densities - totals[:, None])
    return mixture


def _of_shares(points: Array, shares: Array) -> Mixture:
    """The most likely mixture if each point belongs to the components by its shares [N, K]."""
    sums = np.maximum(shares.sum(0), 1e-9)
    means = shares.T @ points / sums[:, None]
    apart = points[:, None] - means
    covariances = np.einsum("nk,nki,nkj->kij", shares, apart, apart) / sums[:, None, None]
    return Mixture(sums / sums.sum(), means, covariances + FLOOR * np.eye(points.shape[1]))


def _spread(points: Array, count: int, draw: np.random.Generator) -> Array:
    """Some of the points, each drawn in proportion to its squared distance from those before (k-means++)."""
    chosen: Array = points[draw.integers(len(points))][None]
    while len(chosen) < count:
        far = np.square(points[:, None] - chosen).sum(-1).min(1) + 1e-12
        chosen = np.concatenate([chosen, points[draw.choice(len(points), p=far / far.sum())][None]])
    return chosen


def _nearest(points: Array, centres: Array) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = np.square(points[:, None] - centres).sum(-1).argmin(1)
    return nearest
