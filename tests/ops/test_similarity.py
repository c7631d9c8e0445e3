import torch

from lara.ops.similarity import centre, common_direction, cosine, effective_rank, retrieval

ALL = torch.ones(64, dtype=torch.bool)


def test_common_direction_equals_the_mean_over_pairs():
    x = torch.randn(10, 5)
    mask = torch.rand(10) > 0.3
    kept = x[mask]
    pairs = [cosine(kept[i : i + 1], kept[j : j + 1]) for i in range(len(kept)) for j in range(len(kept)) if i != j]
    torch.testing.assert_close(common_direction(x, mask), torch.cat(pairs).mean(), atol=1e-5, rtol=1e-5)


def test_figures_tell_an_agreed_constant_from_an_alignment():
    """Both sides one common vector plus a little private noise: raw cosine is high and means nothing."""
    torch.manual_seed(0)
    common = torch.randn(16)
    z, p = common + 0.1 * torch.randn(64, 16), common + 0.1 * torch.randn(64, 16)
    assert cosine(z, p).mean() > 0.95
    assert common_direction(z, ALL) > 0.95
    assert cosine(centre(z, ALL), centre(p, ALL)).mean().abs() < 0.2
    assert retrieval(p, z, ALL) < 0.2
    assert retrieval(z + 0.001 * torch.randn(64, 16), z, ALL) == 1.0


def test_effective_rank_counts_dimensions():
    torch.manual_seed(0)
    line = torch.randn(64, 1) @ torch.randn(1, 16)
    plane = torch.randn(64, 2) @ torch.linalg.qr(torch.randn(16, 2))[0].T
    assert abs(effective_rank(line, ALL) - 1) < 1e-4
    assert 1.7 < effective_rank(plane, ALL) <= 2.0001
    spectrum = torch.linalg.svdvals(plane - plane.mean(0)) ** 2
    torch.testing.assert_close(effective_rank(plane, ALL), spectrum.sum() ** 2 / (spectrum**2).sum())


def test_masked_samples_do_not_count():
    x = torch.randn(64, 8)
    mask = torch.arange(64) < 20
    garbage = torch.where(mask[:, None], x, torch.full_like(x, 1e6))
    for figure in (common_direction, effective_rank):
        torch.testing.assert_close(figure(garbage, mask), figure(x, mask))
    assert retrieval(garbage, garbage, mask) == 1.0
