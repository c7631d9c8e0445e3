from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lara.errors import ConfigError, DataError
from lara.evaluation.records import EpisodeRecord
from lara.evaluation.statistics import (
    Verdict,
    clopper_pearson,
    mcnemar,
    newcombe_difference,
    newcombe_paired_difference,
    summarise,
    verdict,
    wilson,
)

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (45, 50, 78.6, 95.7),
        (8, 10, 49.0, 94.3),
        (17, 24, 50.8, 85.1),
        (172, 200, 80.5, 90.1),
        (425, 500, 81.6, 87.9),
        (1900, 2000, 94.0, 95.9),
    ],
)
def test_wilson_published_values(k, n, low, high):
    assert np.allclose(np.multiply(wilson(k, n), 100), (low, high), atol=0.051)


@pytest.mark.parametrize(("k", "n", "low", "high"), [(45, 50, 78.2, 96.7), (8, 10, 44.4, 97.5)])
def test_clopper_pearson_published_values(k, n, low, high):
    assert np.allclose(np.multiply(clopper_pearson(k, n), 100), (low, high), atol=0.051)


@given(COUNTS, st.floats(0.5, 0.999))
@settings(max_examples=60, deadline=None)
def test_intervals_equal_scipy(counts, level):
    k, n = counts
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = stats.binomtest(k, n).proportion_ci(level, method=method)
        assert np.allclose(ours(k, n, level), (theirs.low, theirs.high), atol=1e-8)


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_intervals_are_symmetric_under_exchange_of_success_and_failure(counts):
    k, n = counts
    for interval in (wilson, clopper_pearson):
        low, high = interval(k, n)
        assert 0 <= low <= k / n <= high <= 1
        assert np.allclose(interval(n - k, n), (1 - high, 1 - low), atol=1e-9)


def test_clopper_pearson_covers_at_every_rate():
    n = 12
    for p in np.linspace(0.02, 0.98, 49):
        covered = sum(
            stats.binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson(k, n)[0] <= p <= clopper_pearson(k, n)[1]
        )
        assert covered >= 0.95


def test_newcombe_difference_published_value():
    # Newcombe 1998, table II (a), method 10: 56/70 - 48/80.
    assert np.allclose(newcombe_difference(56, 70, 48, 80), (0.0524, 0.3339), atol=5e-5)


@pytest.mark.parametrize(
    ("table", "expected"),
    # Newcombe 1998b, table II, method 10, as (both, only a, only b, neither).
    [((36, 12, 2, 0), (0.0569, 0.3404)), ((0, 0, 30, 0), (-1.0, -0.8395))],
)
def test_newcombe_paired_published_values(table, expected):
    assert np.allclose(newcombe_paired_difference(*table), expected, atol=2e-3)


def test_newcombe_differences_are_antisymmetric_and_pairing_narrows():
    low, high = newcombe_difference(30, 50, 20, 60)
    assert np.allclose(newcombe_difference(20, 60, 30, 50), (-high, -low))
    low, high = newcombe_paired_difference(40, 8, 2, 50)
    assert np.allclose(newcombe_paired_difference(40, 2, 8, 50), (-high, -low))
    independent = newcombe_difference(48, 100, 42, 100)
    assert high - low < 0.7 * (independent[1] - independent[0])


def test_mcnemar_equals_the_sign_test():
    for b, c in itertools.product(range(15), repeat=2):
        exact, mid = mcnemar(b, c)
        oracle = stats.binomtest(b, b + c).pvalue if b + c else 1.0
        assert math.isclose(exact, oracle, rel_tol=1e-12)
        point = stats.binom.pmf(min(b, c), b + c, 0.5)
        two_sided = 2 * (stats.binom.cdf(min(b, c) - 1, b + c, 0.5) + 0.5 * point)
        assert math.isclose(mid, 1 - point / 2 if b == c else two_sided, rel_tol=1e-9)
        assert mid <= exact


def test_mcnemar_keeps_its_level_exactly():
    # Under equality the discordant pairs are fair coins: the rejection probability is a finite sum.
    for n in range(1, 60):
        rejected = sum(stats.binom.pmf(b, n, 0.5) for b in range(n + 1) if mcnemar(b, n - b)[0] < 0.05)
        assert rejected < 0.05


def test_verdict_names_the_better_side_or_nobody():
    assert verdict(5, 0) is Verdict.UNDECIDED  # p = 0.0625: five wins to none do not decide
    assert verdict(6, 0) is Verdict.A_BETTER
    assert verdict(0, 6) is Verdict.B_BETTER
    assert verdict(6, 0, alpha=0.01) is Verdict.UNDECIDED
    assert verdict(0, 0) is Verdict.UNDECIDED
    with pytest.raises(ConfigError):
        verdict(1, 2, alpha=0.0)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(DataError):
        wilson(k, n)


def record(task, episode, success):
    error = "boom" if success is None else None
    return EpisodeRecord(
        task=task, episode=episode, success=success, steps=1, seconds=0.0, error=error, clipped=0, replans=1
    )


def test_summary_averages_tiers_and_tasks_differently_and_leaves_errors_out():
    tiers = {"a": "easy", "b": "easy", "c": "hard", "unused": "hard"}
    records = [record("a", i, True) for i in range(4)]
    records += [record("b", i, i < 2) for i in range(4)]
    records += [record("c", i, False) for i in range(4)] + [record("c", 4, None)]
    summary = summarise(records, tiers)
    assert summary["errors"] == 1
    assert summary["episodes"] == 13
    assert {t: row["rate"] for t, row in summary["tasks"].items()} == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert {t: row["rate"] for t, row in summary["tiers"].items()} == {"easy": 0.75, "hard": 0.0}
    overall = summary["overall"]
    assert (overall["successes"], overall["n"]) == (6, 12)
    assert overall["mean_of_tasks"] == 0.5
    assert overall["mean_of_tiers"] == 0.375
    assert (overall["low"], overall["high"]) == wilson(6, 12)


def test_a_task_without_measurements_leaves_no_mean():
    summary = summarise([record("a", 0, True), record("b", 0, None)], {"a": "t", "b": "t"})
    assert summary["tasks"]["b"]["rate"] is None
    assert summary["overall"]["mean_of_tasks"] is None
    with pytest.raises(DataError, match="stranger"):
        summarise([record("stranger", 0, True)], {"a": "t"})
