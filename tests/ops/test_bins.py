import numpy as np
import pytest
import torch

from lara.ops.bins import bin_centres, to_bins


@pytest.mark.parametrize("bins", [2, 7, 256])
def test_the_centre_of_a_bin_is_in_it(bins):
    every = torch.arange(bins)
    assert torch.equal(to_bins(bin_centres(every, bins), bins), every)


def test_a_number_is_within_half_a_bin_of_its_bins_centre():
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (bin_centres(to_bins(x)) - x).abs().max() <= 1 / 256 + 1e-6


def test_edges_and_what_lies_beyond():
    """As numpy's digitize on the published edges, which puts -1 below and 255 at and above 1."""
    edges = np.linspace(-1, 1, 257)
    x = np.concatenate([edges, [-1.0001, -7.0, 1.0001, 7.0]]).astype(np.float32)
    expected = np.digitize(x, edges[:-1]) - 1
    assert to_bins(torch.from_numpy(x)).tolist() == expected.tolist()
    assert to_bins(torch.tensor([-7.0, 7.0])).tolist() == [-1, 255]
