"""The order of a mixture is a pure function, and its frequencies are its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lara.data.mixture_order import BLOCK, draws_of_step, shares
from lara.errors import ConfigError

WEIGHTS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)


def _run(counts, batch_size, steps, seed=0, start=0):
    parts = [
        draws_of_step(step=k, batch_size=batch_size, counts=counts, seed=seed) for k in range(start, start + steps)
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


@given(WEIGHTS)
@settings(max_examples=200, deadline=None)
def test_shares_are_the_weights_to_one_draw_and_none_is_left_out(weights):
    counts = shares(weights)
    assert counts.sum() == BLOCK
    assert counts.min() >= 1
    exact = np.asarray(weights) / np.sum(weights) * BLOCK
    raised = np.count_nonzero(exact < 1)
    assert (np.abs(counts - exact) <= 1 + raised).all()


@pytest.mark.parametrize("weights", [[], [0.0, 1.0], [-1.0], [float("nan")], [float("inf"), 1.0], [1.0] * (BLOCK + 1)])
def test_what_is_no_weight_is_refused(weights):
    with pytest.raises(ConfigError, match="positive numbers"):
        shares(weights)


def test_every_draw_of_every_source_comes_once_and_in_order():
    counts = shares([5.0, 1.0, 0.002, 3.0])
    source, draw = _run(counts, batch_size=1000, steps=50)
    for s in range(4):
        mine = draw[source == s]
        np.testing.assert_array_equal(mine, np.arange(len(mine)))


@pytest.mark.parametrize("batch_size", [7, 64, 1000, BLOCK + 3])
def test_the_order_does_not_depend_on_batches_or_on_where_one_begins(batch_size):
    counts = shares([2.0, 1.0, 1.0])
    n = 9 * BLOCK
    whole = _run(counts, batch_size=n, steps=1, seed=4)
    first = 3
    parts = _run(counts, batch_size=batch_size, steps=(n - first * batch_size) // batch_size, seed=4, start=first)
    begin = first * batch_size
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one[begin : begin + len(other)], other)


def test_frequencies_are_the_weights_in_every_stretch_and_seeds_differ():
    weights = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    counts = shares(weights.tolist())
    source, _ = _run(counts, batch_size=20_000, steps=3)
    # a stretch is drawn without replacement from its block, so it varies less than independent draws would
    for begin in range(0, 60_000, 10_000):
        found = np.bincount(source[begin : begin + 10_000], minlength=5)
        chi2 = float(((found - 10_000 * weights) ** 2 / (10_000 * weights)).sum())
        assert chi2 < 18.47  # the 0.1 % point for 4 degrees of freedom
    other, _ = _run(counts, batch_size=20_000, steps=3, seed=1)
    assert 0.5 < np.mean(source != other) < 0.75  # 1 - sum of squares of the weights is 0.635
    assert not np.array_equal(source[:BLOCK], source[BLOCK : 2 * BLOCK])
