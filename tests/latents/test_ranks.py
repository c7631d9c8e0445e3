"""Two processes hold the codebook that one process with the whole batch would have."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.latents import ranks_worker
from tests.ranks import run_ranks

STEPS = 200


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """After 200 steps of `lara.train.loop.train` on two ranks: rank 0's state, rank 1's, and one process's."""
    root = tmp_path_factory.mktemp("ranks")
    run_ranks("tests.latents.ranks_worker", str(root), str(STEPS))
    ranks_worker.main(root, STEPS, "alone")
    return [load_file(root / f"state-{who}.safetensors") for who in ("0", "1", "alone")]


def test_ranks_hold_the_same_bits(states):
    zero, one, _ = states
    assert [name for name, value in zero.items() if not torch.equal(value, one[name])] == []


def test_two_ranks_equal_one_process_with_the_whole_batch(states):
    # float64; what is left is sums taken in another order
    zero, _, alone = states
    for name, value in alone.items():
        torch.testing.assert_close(zero[name], value, rtol=0, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_codes_died_and_were_revived_all_along(states):
    assert states[0]["revived"] > STEPS
    assert states[0]["space.quantizer._codebook.cluster_size"].shape == (1, ranks_worker.CODES)
