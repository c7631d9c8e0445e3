import pytest
import torch

from lara.latents.vq import VQSpace


@pytest.mark.parametrize("gradient", [False, True])
def test_bottleneck_gives_the_nearest_code_and_passes_the_gradient_straight_through(gradient):
    torch.manual_seed(0)
    space = VQSpace(dim=4, codes=8, gradient=gradient).eval()
    z = torch.randn(5, 3, 4, requires_grad=True)
    out = space.bottleneck(z, torch.ones(5, dtype=torch.bool))
    nearest = space.lookup(space.encode(z))
    torch.testing.assert_close(out.z, nearest)
    assert set(out.terms) == set(space.terms())
    space.train()
    out = space.bottleneck(z, torch.ones(5, dtype=torch.bool))
    weight = torch.randn_like(out.z)
    (grad,) = torch.autograd.grad((out.z * weight).sum(), z)
    torch.testing.assert_close(grad, weight)


def test_only_a_gradient_codebook_learns_by_gradient():
    for gradient in (False, True):
        space = VQSpace(dim=4, codes=8, gradient=gradient)
        assert any(p.requires_grad for p in space.parameters()) == gradient
    out = space.bottleneck(torch.randn(5, 3, 4), torch.ones(5, dtype=torch.bool))
    out.terms["codebook"].backward()
    assert any(p.grad is not None and p.grad.any() for p in space.parameters())


def test_masked_samples_move_neither_losses_nor_codebook():
    mask = torch.tensor([True, True, False])
    z = torch.randn(3, 2, 4)
    results = []
    for garbage in (0.0, 1e3):
        torch.manual_seed(0)
        space = VQSpace(dim=4, codes=8, revive_below=0)
        other = torch.where(mask[:, None, None], z, torch.full_like(z, garbage))
        out = space.bottleneck(other, mask)
        results.append((out.terms["commitment"], out.metrics["perplexity"], space.codebook.clone()))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_a_batch_without_any_real_sample_is_finite_and_moves_nothing():
    torch.manual_seed(0)
    space = VQSpace(dim=4, codes=8)
    before = space.codebook.clone()
    z = torch.randn(3, 2, 4, requires_grad=True)
    out = space.bottleneck(z, torch.zeros(3, dtype=torch.bool))
    out.terms["commitment"].backward()
    assert out.terms["commitment"].item() == 0
    assert torch.isfinite(space.codebook).all()
    assert torch.isfinite(out.z).all()
    assert (space.codebook - before).abs().max() < 1e-4


def test_dead_codes_come_back_to_life():
    """Data far away from every code but one: without revival one code takes all, with it many share the work."""
    used = {}
    for revive in (0.0, 1.0):
        torch.manual_seed(0)
        space = VQSpace(dim=4, codes=16, decay=0.8, revive_below=revive)
        mask = torch.ones(64, dtype=torch.bool)
        for _ in range(30):
            out = space.bottleneck(10 + torch.randn(64, 2, 4), mask)
        used[revive] = out.metrics["perplexity"].item()
    assert used[1.0] > 3 * used[0.0]
    assert used[1.0] > 8


def test_perplexity_counts_codes_in_use():
    torch.manual_seed(0)
    space = VQSpace(dim=2, codes=4, revive_below=0).eval()
    codes = space.codebook.detach()
    out = space.bottleneck(codes[torch.tensor([[0, 1], [0, 1]])], torch.ones(2, dtype=torch.bool))
    assert abs(out.metrics["perplexity"] - 2) < 1e-3
