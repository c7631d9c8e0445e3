"""Sample order is a pure function: permutations per epoch, nothing dropped, the same however it is asked."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lara.data.order import indices_for_step, random_words
from lara.errors import ConfigError


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 50), batch=st.integers(1, 70), seed=st.integers(0, 2**40))
def test_every_epoch_is_a_permutation_whatever_the_batch_size(n, batch, seed):
    epochs = 3
    steps = -(-epochs * n // batch)
    stream = np.concatenate([indices_for_step(step=s, batch_size=batch, n=n, seed=seed) for s in range(steps)])
    for epoch in range(epochs):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))
    one_by_one = [int(indices_for_step(step=p, batch_size=1, n=n, seed=seed)[0]) for p in range(epochs * n)]
    assert stream[: epochs * n].tolist() == one_by_one


def test_epochs_and_seeds_differ_and_calls_leave_no_trace():
    def first(seed, step):
        return indices_for_step(step=step, batch_size=100, n=100, seed=seed).tolist()

    orders = [first(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(o) for o in orders}) == 9
    assert orders == [first(seed, epoch) for seed in range(3) for epoch in range(3)]


def test_the_order_is_the_same_in_every_process_and_for_ever():
    """A frozen value: whoever changes it changes what a resumed run sees."""
    expected = [8, 4, 1, 6, 3, 2, 7, 5, 9, 0]
    code = "from lara.data.order import indices_for_step as f; print(f(step=0, batch_size=10, n=10, seed=7).tolist())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(indices_for_step(step=0, batch_size=10, n=10, seed=7).tolist())
    assert indices_for_step(step=0, batch_size=10, n=10, seed=7).tolist() == expected


def test_large_steps_need_no_history():
    got = indices_for_step(step=10**9, batch_size=64, n=1000, seed=0)
    assert len(np.unique(got)) == 64 or (10**9 * 64) % 1000 > 1000 - 64


@pytest.mark.parametrize("wrong", [{"step": -1}, {"batch_size": 0}, {"n": 0}, {"seed": -1}])
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(ConfigError):
        indices_for_step(**{"step": 0, "batch_size": 1, "n": 1, "seed": 0, **wrong})


def test_words_depend_on_every_argument_and_only_on_them():
    index = np.arange(2000)
    base = random_words(seed=1, step=2, index=index, stream=3)
    assert len(np.unique(base)) == 2000
    np.testing.assert_array_equal(base[::-1], random_words(seed=1, step=2, index=index[::-1].copy(), stream=3))
    for other in ({"seed": 2}, {"step": 3}, {"stream": 4}):
        assert (random_words(**{"seed": 1, "step": 2, "index": index, "stream": 3, **other}) != base).all()
    share = (base % np.uint64(9)).astype(int)
    assert np.abs(np.bincount(share, minlength=9) / 2000 - 1 / 9).max() < 0.03
