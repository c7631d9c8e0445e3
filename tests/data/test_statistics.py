"""One pass gives the figures of all rows at once, exactly while they fit and within its stated bound beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lara.data.actions.normalize import Statistics
from lara.data.statistics import Running
from lara.errors import DataError

numbers = arrays(np.float32, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=st.floats(-1e4, 1e4, width=32))


def fed(rows: np.ndarray, pieces: int, **options) -> Running:
    running = Running(rows.shape[1], **options)
    for piece in np.array_split(rows, pieces):
        running.add(piece)
    return running


@settings(max_examples=60, deadline=None)
@given(rows=numbers, pieces=st.integers(1, 7))
def test_pieces_give_what_the_whole_gives(rows, pieces):
    expected, found = Statistics.of(rows), fed(rows, pieces)
    assert found.rank_error == 0
    for name in ("min", "max", "q01", "q99"):
        assert getattr(found.statistics(), name) == getattr(expected, name)
    size = np.abs(rows).max() + 1e-6
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(found.statistics(), name), getattr(expected, name), atol=1e-9 * size)
    assert found.statistics().count == len(rows)


def test_a_mean_far_from_zero_loses_nothing():
    rows = 1e6 + np.random.default_rng(0).normal(0, 1e-3, (50_000, 1))
    np.testing.assert_allclose(fed(rows, 500).statistics().std, rows.std(), rtol=1e-6)


@pytest.mark.parametrize("order", ["random", "sorted", "falling", "zigzag"])
def test_beyond_the_budget_ranks_are_within_the_stated_bound(order):
    n = 60_000
    rows = np.random.default_rng(1).permutation(n).astype(np.float32)[:, None]
    if order != "random":
        rows = np.sort(rows, axis=0)
    if order == "falling":
        rows = rows[::-1]
    if order == "zigzag":
        rows = rows.reshape(2, -1).T.reshape(-1, 1)
    rows = np.concatenate([rows, rows**3], axis=1)
    running = fed(rows, 113, budget=16 * 2 * 200)  # blocks of 200 rows
    shares = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
    figures = running.figures(shares)
    assert 0 < running.rank_error <= np.log2(n / 200) / (2 * 200)
    for name, share in shares.items():
        ranks = [float((rows[:, d] < figures[name][d]).mean()) for d in range(2)]
        np.testing.assert_allclose(ranks, share, atol=running.rank_error + 1.5 / n)
    kept = sum(block.size for _, block in running._blocks) + sum(rows.size for rows in running._fresh)
    assert kept <= 17 * 2 * 200 + 2 * 600  # the budget, one block and one piece
    assert figures["min"][0] == 0
    assert figures["max"][0] == n - 1


def test_what_cannot_be_counted_is_refused():
    running = Running(2)
    with pytest.raises(DataError, match="none"):
        running.statistics()
    with pytest.raises(DataError, match="finite"):
        running.add(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="2 numbers"):
        running.add(np.zeros((4, 3)))
    running.add(np.zeros((0, 2)))
    assert running.count == 0
