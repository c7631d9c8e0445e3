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
    return indices_of_draws(np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64), n=n, seed=seed)


def indices_of_draws(draws: np.ndarray, *, n: int, seed: int) -> np.ndarray:
    """(B,) numbers of draws (0, 1, ...) -> (B,) int64 in [0, n): draws k*n ... k*n + n - 1 are one permutation."""
    epochs, offsets = np.divmod(draws, n)
    out = np.empty(len(draws), np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        out[here] = _permutation(seed, int(epoch), n)[offsets[here]]
    return out


@lru_cache(maxsize=64)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Sorting by raw Philox words, because numpy promises their stream for ever, but not that of `permutation`."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    order = np.argsort(words, kind="stable")
    order.flags.writeable = False
    return order


def share_of_rank(batch_size: int, *, rank: int, world: int) -> slice:
    """Which of a batch's samples are this rank's. Raises ConfigError where ranks cannot share equally."""
    if world < 1 or not 0 <= rank < world or batch_size % world:
        raise ConfigError(
            f"batch_size={batch_size} counts the samples of all ranks and must divide by world={world} "
            f"(rank={rank} must be below it)"
        )
    mine = batch_size // world
    return slice(rank * mine, (rank + 1) * mine)


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
