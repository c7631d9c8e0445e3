"""Which source each sample of a mixture comes from, and which draw of that source it is: a pure function of (seed, n).

Positions 0, 1, 2, ... run through blocks of `BLOCK`. Every block holds the same number of draws of each source, the
weights in whole samples, in an order of its own. So the frequencies of any long run are the weights, and how often a
source was drawn before a block is a product: no state, no workers, no ranks, no restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lara.errors import ConfigError

BLOCK = 16384


def shares(weights: Sequence[float]) -> np.ndarray:
    """(S,) positive weights -> (S,) int64 draws of each source in a block, at least one each, BLOCK in all.

    Largest remainders: no share is further than 1 / BLOCK from its weight, but for those raised to one draw. Raises
    ConfigError for weights that are none, or more sources than a block has room for.
    """
    w = np.asarray(weights, np.float64)
    if w.ndim != 1 or not len(w) or not np.isfinite(w).all() or not (w > 0).all() or len(w) > BLOCK:
        raise ConfigError(f"a mixture's weights are positive numbers, one per source, got {list(weights)}")
    exact = w / w.sum() * BLOCK
    counts: np.ndarray = np.maximum(np.floor(exact).astype(np.int64), 1)
    while counts.sum() < BLOCK:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > BLOCK:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts


def draws_of_step(*, step: int, batch_size: int, counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples of batch `step` (0, 1, ...).

    Args:
        step: number of the batch.
        batch_size: B samples, over all ranks.
        counts: (S,) draws of each source in a block, see `shares`.
        seed: of the order.

    Returns:
        (B,) source of each sample, and (B,) which draw of that source it is: 0, 1, 2, ... without gaps.
    """
    if step < 0 or batch_size < 1 or seed < 0:
        raise ConfigError(f"expected step >= 0, batch_size >= 1, seed >= 0; got {step=}, {batch_size=}, {seed=}")
    blocks, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64), BLOCK)
    source, draw = np.empty(batch_size, np.int64), np.empty(batch_size, np.int64)
    for block in np.unique(blocks):
        here = blocks == block
        order, before = _block(tuple(counts.tolist()), seed, int(block))
        source[here] = order[places[here]]
        draw[here] = counts[source[here]] * block + before[places[here]]
    return source, draw


@lru_cache(maxsize=8)
def _block(counts: tuple[int, ...], seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The source at each place of a block, and how often it came before within it."""
    words = np.random.Philox(key=np.array([seed, block], np.uint64), counter=1 << 64).random_raw(BLOCK)
    order = np.repeat(np.arange(len(counts)), counts)[np.argsort(words, kind="stable")]
    before = np.empty(BLOCK, np.int64)
    for source in range(len(counts)):
        here = order == source
        before[here] = np.arange(counts[source])
    for array in (order, before):
        array.flags.writeable = False
    return order, before
