"""Statistics of sets of features, and distances of such sets against closed forms and other programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

from stages.errors import InputError
from stages.evaluate.statistics import ROWS, SAMPLE_SIZE, Statistics, frechet_distance, kernel_distance, sample_keys


def statistics_of(vectors: np.ndarray, name: str = "a", first: int = 0) -> Statistics:
    return Statistics.of(vectors.astype(np.float32), sample_keys(name, first, len(vectors)))


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Statistics:
    """Statistics with exactly this mean and covariance."""
    count, dimensions = 1000, len(mean)
    total = count * mean
    outer = (count - 1) * covariance + np.outer(total, mean)
    return Statistics(count, total, outer, np.zeros((0, dimensions), np.float32), np.zeros(0, np.uint64))


def test_mean_and_covariance_are_those_of_numpy():
    vectors = np.random.default_rng(0).normal(5, 2, (300, 7)).astype(np.float32)
    statistics = statistics_of(vectors)
    assert np.allclose(statistics.mean, vectors.mean(0, dtype=np.float64))
    assert np.allclose(statistics.covariance, np.cov(vectors.astype(np.float64), rowvar=False))


def test_statistics_of_parts_add_up_in_any_order_even_beyond_the_sample_size():
    vectors = np.random.default_rng(1).normal(size=(SAMPLE_SIZE + 900, 5))
    whole = statistics_of(vectors)
    parts = [statistics_of(vectors[begin:end], first=begin) for begin, end in ((0, 700), (700, 2500), (2500, len(vectors)))]
    for total in (parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1])):
        assert total.count == whole.count and np.array_equal(total.keys, whole.keys)
        assert np.array_equal(total.sample, whole.sample) and len(whole.sample) == SAMPLE_SIZE
        assert np.allclose(total.total, whole.total, rtol=1e-12) and np.allclose(total.products, whole.products, rtol=1e-12)


def test_the_sample_is_random():
    position = statistics_of(np.arange(20 * SAMPLE_SIZE, dtype=np.float64)[:, None]).sample
    assert position.mean() == pytest.approx(10 * SAMPLE_SIZE, rel=0.05), "the sample is not biased to the first or last vectors"


@pytest.mark.parametrize("count", [10, SAMPLE_SIZE + 900])
def test_statistics_of_a_repeated_vector_are_those_of_its_copies(count: int):
    vector = np.random.default_rng(4).normal(size=5).astype(np.float32)
    explicit, repeated = statistics_of(np.repeat(vector[None], count, 0)), Statistics.repeated(vector, sample_keys("a", 0, count))
    assert repeated.count == count and np.array_equal(repeated.sample, explicit.sample)
    assert set(repeated.keys) == set(explicit.keys)
    assert np.allclose(repeated.total, explicit.total) and np.allclose(repeated.products, explicit.products)


@pytest.mark.parametrize(
    ("name", "invalid"),
    [
        ("count", np.array(np.inf, ">f4")),
        ("count", np.array([SAMPLE_SIZE + 10])),
        ("keys", np.full(SAMPLE_SIZE, np.nan, np.float32)),
        ("sample", np.full((SAMPLE_SIZE, 4), 1e300)),
        ("sample", np.full((SAMPLE_SIZE, 4), np.nan, np.float32)),
        ("total", np.full(4, np.inf)),
        ("outer", np.full((4, 4), np.nan)),
    ],
)
def test_invalid_arrays_are_refused(name: str, invalid: np.ndarray):
    arrays = statistics_of(np.random.default_rng(2).normal(size=(SAMPLE_SIZE + 10, 4))).arrays()
    assert Statistics.from_arrays(arrays).count == SAMPLE_SIZE + 10
    with pytest.raises(ValueError, match="not the statistics"):
        Statistics.from_arrays({**arrays, name: invalid})


@pytest.mark.parametrize("count", [10, SAMPLE_SIZE + 10])
def test_statistics_can_be_saved_and_loaded(count: int, tmp_path):
    statistics = statistics_of(np.random.default_rng(2).normal(size=(count, 4)))
    entry: dict[str, Any] = statistics.arrays("x.")
    np.savez(tmp_path / "entry.npz", **entry)
    with np.load(tmp_path / "entry.npz", allow_pickle=False) as arrays:
        again = Statistics.from_arrays(arrays, "x.")
    assert again.count == count and np.array_equal(again.sample, statistics.sample)
    assert np.allclose(again.mean, statistics.mean) and np.allclose(again.covariance, statistics.covariance)


def test_columns_of_the_vectors_have_their_own_statistics():
    vectors = np.random.default_rng(3).normal(size=(50, 6))
    assert np.allclose(statistics_of(vectors).part(2, 5).covariance, statistics_of(vectors[:, 2:5]).covariance)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        statistics_of(np.array([[1.0, np.nan]]))


def test_the_frechet_distance_of_gaussians_is_its_closed_form():
    """For commuting covariances: |m - m'|^2 + sum (s - s')^2 over the standard deviations along the common axes."""
    rng = np.random.default_rng(4)
    axes = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    s, t, m, n = rng.uniform(0, 3, 9), rng.uniform(0, 3, 9), rng.normal(size=9), rng.normal(size=9)
    ours, theirs = gaussian(m, axes * s**2 @ axes.T), gaussian(n, axes * t**2 @ axes.T)
    assert frechet_distance(ours, theirs) == pytest.approx(np.square(m - n).sum() + np.square(s - t).sum())


def test_the_frechet_distance_is_that_of_the_matrix_square_root_of_scipy():
    rng = np.random.default_rng(5)
    a, b = (np.cov(rng.normal(size=(40, 8)) @ rng.normal(size=(8, 8)), rowvar=False) for _ in range(2))
    m, n = rng.normal(size=(2, 8))
    expected = np.square(m - n).sum() + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(gaussian(m, a), gaussian(n, b)) == pytest.approx(expected)


def test_the_frechet_distance_of_few_vectors_is_symmetric_and_0_for_equal_sets():
    rng = np.random.default_rng(6)
    ours, theirs = statistics_of(rng.normal(size=(20, 100))), statistics_of(rng.normal(1, 2, size=(30, 100)))
    assert frechet_distance(ours, ours) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(ours, theirs) == pytest.approx(frechet_distance(theirs, ours))
    assert frechet_distance(ours, theirs) > 100


@pytest.mark.parametrize(("ours", "theirs"), [(6, 5), (ROWS + 7, 9), (ROWS, 2 * ROWS + 1)])
def test_the_kernel_distance_is_the_mean_over_pairs(ours: int, theirs: int):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(ours, 3)).astype(np.float32), rng.normal(1, 1, size=(theirs, 3)).astype(np.float32)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(np.dot(a.astype(float), b)) / 3 + 1) ** 3

    within = [np.mean([kernel(v[i], v[j]) for i in range(len(v)) for j in range(len(v)) if i != j]) for v in (x, y)]
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(statistics_of(x), statistics_of(y)) == pytest.approx(sum(within) - 2 * across, rel=1e-5)


def test_the_kernel_distance_has_no_bias():
    """For two sets from one distribution its mean is 0, while the Fréchet distance of few vectors is far above 0."""
    rng = np.random.default_rng(8)
    pairs = [(statistics_of(rng.normal(size=(30, 20))), statistics_of(rng.normal(size=(30, 20)))) for _ in range(60)]
    distances = [kernel_distance(a, b) for a, b in pairs]
    assert abs(np.mean(distances)) < 3 * np.std(distances) / len(distances) ** 0.5
    assert np.mean([frechet_distance(a, b) for a, b in pairs]) > 5
