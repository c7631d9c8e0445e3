"""Two processes hold the codebook, and align on the batch, that one process with the whole batch would have."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.latents import ranks_worker
from tests.ranks import run_ranks

STEPS = 80


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder in which two ranks, and then one process, did what ranks_worker describes."""
    root = tmp_path_factory.mktemp("ranks")
    run_ranks("tests.latents.ranks_worker", str(root), str(STEPS))
    ranks_worker.main(root, STEPS, "alone")
    return root


def three(root, what):
    """Of rank 0, of rank 1, of one process."""
    return [load_file(root / f"{what}-{who}.safetensors") for who in ("0", "1", "alone")]


@pytest.fixture(scope="module")
def states(root):
    """After 80 steps of `lara.train.loop.train`."""
    return three(root, "state")


@pytest.mark.parametrize("name", ["RawCosine", "CentredCosine", "InfoNCE", "floor"])
def test_an_objective_on_two_ranks_is_that_of_the_whole_batch(root, name):
    zero, one, alone = ({k: v for k, v in t.items() if k.startswith(f"{name}.")} for t in three(root, "objectives"))
    assert set(zero) >= {f"{name}.{key}" for key in ("0", "1", "z", "p")}
    for key, value in alone.items():
        torch.testing.assert_close(zero[key], value, rtol=0, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}")
        torch.testing.assert_close(one[key], zero[key], rtol=0, atol=0)
    assert alone[f"{name}.z"].abs().max() > 1e-3


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
