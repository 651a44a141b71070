"""Statistics of a set of feature vectors, and distances between two sets.

Their memory does not grow with the set, and the statistics of parts add up to those of the whole in any order: sums for the Gaussian, and
for kernels a sample that depends on the vectors' own keys alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputError

KEPT = 2048
"""Number of vectors of a set that are kept: those of the smallest keys, a random choice that is the same for all shards."""
ROWS = 128
"""Rows of a kernel's matrix that are in memory at once."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """count N; total [D] and products [D, D], sums of the vectors and of their outer products; sample [min(N, KEPT), D] float32, keys."""

    count: int
    total: Array
    products: Array
    sample: NDArray[np.float32]
    keys: NDArray[np.uint64]

    @staticmethod
    def empty(dimensions: int) -> Statistics:
        return Statistics.of(np.zeros((0, dimensions), np.float32), np.zeros(0, np.uint64))

    @staticmethod
    def of(vectors: NDArray[np.float32], keys: NDArray[np.uint64]) -> Statistics:
        """vectors: [N, D]; keys: [N], a number for each (see `keys_of`). Raises InputError when a vector is not finite."""
        if not np.isfinite(vectors).all():
            raise InputError("The features of a frame are not finite numbers", code="features-not-finite")
        exact = vectors.astype(np.float64)
        kept = np.argsort(keys, kind="stable")[:KEPT]
        return Statistics(len(vectors), exact.sum(0), exact.T @ exact, vectors[kept].astype(np.float32), keys[kept])

    @staticmethod
    def repeated(vector: NDArray[np.float32], keys: NDArray[np.uint64]) -> Statistics:
        """Statistics of one vector [D] repeated for each key, without making the copies."""
        few = Statistics.of(np.repeat(vector[None], min(len(keys), KEPT), 0), np.sort(keys)[:KEPT])
        if len(keys) <= KEPT:
            return few
        exact = vector.astype(np.float64)
        return replace(few, count=len(keys), total=len(keys) * exact, products=len(keys) * np.outer(exact, exact))

    def __add__(self, other: Statistics) -> Statistics:
        keys = np.concatenate([self.keys, other.keys])
        kept = np.argsort(keys, kind="stable")[:KEPT]
        sample = np.concatenate([self.sample, other.sample])[kept]
        return Statistics(self.count + other.count, self.total + other.total, self.products + other.products, sample, keys[kept])

    def settled(self) -> Statistics:
        """With sums computed from the sample, if that is the whole set: then they are the same to the last bit however the set was
        built."""
        return Statistics.of(self.sample, self.keys) if self.count == len(self.sample) else self

    def part(self, begin: int, end: int) -> Statistics:
        """Statistics of the columns [begin, end) of the vectors."""
        columns = slice(begin, end)
        return Statistics(self.count, self.total[columns], self.products[columns, columns], self.sample[:, columns], self.keys)

    @property
    def mean(self) -> Array:
        """[D]"""
        return self.total / self.count

    @cached_property
    def covariance(self) -> Array:
        """[D, D], unbiased; zero for a single vector."""
        return (self.products - np.outer(self.total, self.mean)) / max(self.count - 1, 1)

    def arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """For an .npz file. A sample that is the whole set stands for the sums, too, which keeps the files of short clips small."""
        sums = {} if self.count == len(self.sample) else {"total": self.total, "outer": self.products}
        named = {"count": np.array(self.count), "sample": self.sample, "keys": self.keys, **sums}
        return {prefix + name: value for name, value in named.items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Statistics:
        """The inverse of `arrays`. Raises KeyError or ValueError for other arrays."""
        count, sample, keys = (arrays[prefix + name] for name in ("count", "sample", "keys"))
        if sample.dtype != np.float32 or keys.dtype != np.uint64 or count.dtype.kind != "i" or count.ndim:
            raise ValueError("not the statistics of feature vectors")
        if sample.ndim != 2 or keys.shape != sample.shape[:1] or count < len(keys):
            raise ValueError("not the statistics of feature vectors")
        if count == len(keys):
            return Statistics.of(sample, keys)
        total, products = arrays[prefix + "total"], arrays[prefix + "outer"]
        if (
            total.dtype != np.float64
            or products.dtype != np.float64
            or total.shape != sample.shape[1:]
            or products.shape != 2 * total.shape
        ):
            raise ValueError("not the statistics of feature vectors")
        if not all(np.isfinite(values).all() for values in (sample, total, products)):
            raise ValueError("not the statistics of feature vectors")
        return Statistics(int(count), total, products, sample, keys)


def keys_of(digest: str, first: int, count: int) -> NDArray[np.uint64]:
    """Evenly spread numbers for the vectors `first`, `first` + 1, ... of the video with that digest."""
    names = (f"{digest} {index}".encode() for index in range(first, first + count))
    return np.array([int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") for name in names], np.uint64)


def frechet_distance(ours: Statistics, theirs: Statistics) -> float:
    """|m - m'|^2 + Tr(C + C' - 2 (C C')^(1/2)) of the two Gaussians (Heusel et al. 2017, eq. 6).

    C C' has the eigenvalues of the symmetric R^T C' R with C = R R^T, and the trace of its root is the sum of their roots: all real and
    not negative, where a root of the matrix C C' itself is neither for covariances of low rank.
    """
    values, vectors = np.linalg.eigh(ours.covariance)
    root = vectors * np.sqrt(values.clip(0))
    eigenvalues = np.linalg.eigvalsh(root.T @ theirs.covariance @ root)
    means = float(np.square(ours.mean - theirs.mean).sum())
    traces = float(np.trace(ours.covariance) + np.trace(theirs.covariance))
    return max(0.0, means + traces - 2 * float(np.sqrt(eigenvalues.clip(0)).sum()))


def kernel_distance(ours: Statistics, theirs: Statistics) -> float:
    """Unbiased squared maximum mean discrepancy for the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, section 4).

    Of all pairs of the kept vectors, which is what the usual mean over random subsets estimates. Slightly negative for similar sets.
    """
    x, y = ours.sample.astype(np.float64), theirs.sample.astype(np.float64)
    return _among(x) + _among(y) - 2 * _sum(x, y) / (len(x) * len(y))


def _among(x: Array) -> float:
    """Mean of the kernel over all pairs of different vectors."""
    with_itself = float(_kernel(np.square(x).sum(1), x.shape[1]).sum())
    return (_sum(x, x) - with_itself) / (len(x) * (len(x) - 1))


def _sum(x: Array, y: Array) -> float:
    """Sum of the kernel over all pairs, a few rows at a time: the matrix of two full samples would take 32 MiB in each step."""
    return sum(float(_kernel(x[row : row + ROWS] @ y.T, x.shape[1]).sum()) for row in range(0, len(x), ROWS))


def _kernel(products: Array, dimensions: int) -> Array:
    return np.asarray((products / dimensions + 1) ** 3)
