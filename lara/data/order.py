"""The order of samples as a pure function of (seed, epoch, position): no state, no workers, no ranks, no restarts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lara.errors import ConfigError

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def indices_for_step(*, step: int, batch_size: int, n: int, seed: int) -> np.ndarray:
    """(batch_size,) int64 in [0, n): the samples of batch `step` (0, 1, ...).

    Positions step*batch_size ... run through one permutation of all n samples per epoch; a batch may begin in one
    epoch and end in the next (or span several when n is small), so that nothing is dropped and nothing repeated
    within an epoch. Raises ConfigError for impossible arguments.
    """
    if step < 0 or batch_size < 1 or n < 1 or seed < 0:
        raise ConfigError(
            f"expected step >= 0, batch_size >= 1, n >= 1, seed >= 0; got {step=}, {batch_size=}, {n=}, {seed=}"
        )
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, offsets = np.divmod(positions, n)
    out = np.empty(batch_size, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        out[here] = _permutation(seed, int(epoch), n)[offsets[here]]
    return out


@lru_cache(maxsize=3)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Sorting by raw Philox words, because numpy promises their stream for ever, but not that of `permutation`."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    order = np.argsort(words, kind="stable")
    order.flags.writeable = False
    return order


def random_words(*, seed: int, step: int, index: np.ndarray, stream: int) -> np.ndarray:
    """(n,) int64 sample indices -> (n,) uint64 words, uniform; a pure function of its arguments (splitmix64)."""
    word = np.zeros(len(index), np.uint64)
    for part in (np.uint64(seed), np.uint64(step), index.astype(np.uint64), np.uint64(stream)):
        word = word ^ part
        word = word + _GOLDEN  # wraps modulo 2**64, as meant
        word = (word ^ (word >> np.uint64(30))) * _MIX[0]
        word = (word ^ (word >> np.uint64(27))) * _MIX[1]
        word = word ^ (word >> np.uint64(31))
    return word
