"""Statistics of a set of feature vectors, and distances between two sets.

Statistics take the same memory for sets of any size, and those of parts can be added in any order. The Fréchet distance needs sums over
all vectors. The kernel distance needs a sample of them; each vector has a random key, and those with the smallest keys are the sample.
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

SAMPLE_SIZE = 2048
"""Number of vectors in the sample of a larger set."""
ROWS = 128
"""Number of rows of a kernel's matrix that are in memory at a time."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of feature vectors.

    count: number N of vectors; total [D]: their sum; products [D, D]: the sum of their outer products; sample [min(N, SAMPLE_SIZE), D],
    float32: the vectors with the smallest keys; keys: the keys of the sample.
    """

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
        """vectors: [N, D]; keys: [N], a random number for each (see `sample_keys`). Raises InputError when a vector is not finite."""
        if not np.isfinite(vectors).all():
            raise InputError("The features of a frame are not finite numbers", code="features-not-finite")
        doubles = vectors.astype(np.float64)
        chosen = np.argsort(keys, kind="stable")[:SAMPLE_SIZE]
        return Statistics(len(vectors), doubles.sum(0), doubles.T @ doubles, vectors[chosen].astype(np.float32), keys[chosen])

    @staticmethod
    def repeated(vector: NDArray[np.float32], keys: NDArray[np.uint64]) -> Statistics:
        """Statistics of one vector [D] repeated for each key. Only the copies in the sample are made."""
        sample = Statistics.of(np.repeat(vector[None], min(len(keys), SAMPLE_SIZE), 0), np.sort(keys)[:SAMPLE_SIZE])
        if len(keys) <= SAMPLE_SIZE:
            return sample
        doubles = vector.astype(np.float64)
        return replace(sample, count=len(keys), total=len(keys) * doubles, products=len(keys) * np.outer(doubles, doubles))

    def __add__(self, other: Statistics) -> Statistics:
        keys = np.concatenate([self.keys, other.keys])
        chosen = np.argsort(keys, kind="stable")[:SAMPLE_SIZE]
        sample = np.concatenate([self.sample, other.sample])[chosen]
        return Statistics(self.count + other.count, self.total + other.total, self.products + other.products, sample, keys[chosen])

    def canonical(self) -> Statistics:
        """The statistics with sums that are computed again from the sample, if the sample is the whole set. These sums are the same to the
        last bit, regardless of the parts in which the set was added."""
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
        """Arrays for an .npz file. The sums are left out if the sample is the whole set, which keeps the files of short clips small."""
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


def sample_keys(digest: str, first: int, count: int) -> NDArray[np.uint64]:
    """Pseudorandom numbers for the vectors `first`, `first` + 1, ... of the video with that digest; the same in every shard."""
    names = (f"{digest} {index}".encode() for index in range(first, first + count))
    return np.array([int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") for name in names], np.uint64)


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """|m - m'|^2 + Tr(C + C' - 2 (C C')^(1/2)) of the two Gaussians (Heusel et al. 2017, eq. 6).

    C C' has the same eigenvalues as the symmetric matrix R^T C' R, where C = R R^T. They are real and not negative, and the trace of the
    square root is the sum of their square roots. Taking the root of C C' itself is inaccurate for covariances of low rank.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = vectors * np.sqrt(values.clip(0))
    eigenvalues = np.linalg.eigvalsh(root.T @ second.covariance @ root)
    means = float(np.square(first.mean - second.mean).sum())
    traces = float(np.trace(first.covariance) + np.trace(second.covariance))
    return max(0.0, means + traces - 2 * float(np.sqrt(eigenvalues.clip(0)).sum()))


def kernel_distance(first: Statistics, second: Statistics) -> float:
    """Unbiased squared maximum mean discrepancy for the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, section 4).

    It is computed over all pairs of the two samples; the usual mean over random subsets estimates the same. It may be slightly negative for
    similar sets.
    """
    x, y = first.sample.astype(np.float64), second.sample.astype(np.float64)
    return _mean_within(x) + _mean_within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _mean_within(x: Array) -> float:
    """Mean of the kernel over all pairs of two different vectors of a set."""
    diagonal = float(_kernel(np.square(x).sum(1), x.shape[1]).sum())
    return (_kernel_sum(x, x) - diagonal) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Array, y: Array) -> float:
    """Sum of the kernel over all pairs, ROWS rows at a time, because the matrix of two full samples would take 32 MiB."""
    return sum(float(_kernel(x[row : row + ROWS] @ y.T, x.shape[1]).sum()) for row in range(0, len(x), ROWS))


def _kernel(products: Array, dimensions: int) -> Array:
    """The kernel of pairs of vectors, by their scalar products."""
    return np.asarray((products / dimensions + 1) ** 3)
