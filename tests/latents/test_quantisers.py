"""What every quantiser must do, and what each one is for."""

import math

import pytest
import torch

from lara.errors import ConfigError
from lara.latents.fsq import FSQSpace
from lara.latents.moto_vq import MotoVQSpace
from lara.latents.simvq import SimVQSpace
from lara.losses.quantization import code_usage, soft_hardness, soft_kl, soft_perplexity

D = 4
SPACES = {
    "fsq": lambda: FSQSpace(dim=D, levels=[5, 3, 4]),
    "fsq, no maps": lambda: FSQSpace(dim=D, levels=[5, 5, 3, 4]),
    "simvq": lambda: SimVQSpace(dim=D, codes=16),
    "simvq, rotation trick": lambda: SimVQSpace(dim=D, codes=16, rotation_trick=True),
    "moto": lambda: MotoVQSpace(dim=D, codes=16),
}
ALL = torch.ones(6, dtype=torch.bool)
every_space = pytest.mark.parametrize("name", SPACES)


def make(name):
    torch.manual_seed(0)
    return SPACES[name]()


@every_space
def test_the_decoder_gets_a_code_and_codes_are_fixed_points_of_lookup(name):
    space, z = make(name), torch.randn(6, 3, D)
    out = space.bottleneck(space.project(z), ALL)
    indices = space.encode(z)
    assert indices.min() >= 0
    assert indices.max() < space.codes
    torch.testing.assert_close(out.z, space.lookup(indices))
    assert set(out.terms) == set(space.terms())
    assert out.metrics["used_codes"] == len(indices.unique())


@pytest.mark.parametrize("name", ["simvq", "moto"])
def test_no_code_is_nearer_than_the_chosen_one(name):
    space, z = make(name), torch.randn(6, 3, D)
    chosen = (z - space.lookup(space.encode(z))).norm(dim=-1)
    for k in range(space.codes):
        assert ((z - space.codebook[k]).norm(dim=-1) >= chosen - 1e-6).all()


@every_space
def test_masked_samples_touch_nothing(name):
    mask, z = torch.arange(6) < 4, torch.randn(6, 3, D)
    results = []
    for garbage in (0.0, 1e4, torch.nan):
        space = make(name)
        x = torch.where(mask[:, None, None], z, garbage).requires_grad_()
        out = space.bottleneck(x, mask)
        loss = out.z[mask].square().sum() + sum(out.terms.values())
        loss.backward()
        assert not x.grad[~mask].any()
        grads = [p.grad for p in space.parameters() if p.grad is not None]
        results.append((loss, dict(out.metrics), x.grad[mask], grads))
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(results[2], results[0])


@every_space
def test_an_empty_mask_is_zero_and_finite(name):
    space, z = make(name), torch.randn(6, 3, D, requires_grad=True)
    out = space.bottleneck(z, ~ALL)
    assert all(v == 0 for v in out.terms.values())
    assert out.metrics["perplexity"] == 1
    (out.z.sum() * 0 + sum(out.terms.values())).backward()
    assert z.grad.isfinite().all()


@every_space
def test_the_latents_dtype_comes_back_and_codes_are_searched_in_float32(name):
    space, z = make(name), torch.randn(6, 3, D).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = space.bottleneck(z, ALL)
    assert out.z.dtype == torch.bfloat16
    torch.testing.assert_close(out.z, space.bottleneck(z.float(), ALL).z.bfloat16())


@every_space
def test_shapes_can_be_seen_without_weights(name):
    with torch.device("meta"):
        space = SPACES[name]()
        out = space.bottleneck(torch.randn(6, 3, D), torch.ones(6, dtype=torch.bool))
    assert out.z.shape == (6, 3, D)


@pytest.mark.parametrize("name", ["simvq", "moto"])
def test_straight_through(name):
    space, z, weight = make(name), torch.randn(6, 3, D, requires_grad=True), torch.randn(6, 3, D)
    (grad,) = torch.autograd.grad((space.bottleneck(z, ALL).z * weight).sum(), z)
    torch.testing.assert_close(grad, weight)


def test_the_rotation_trick_turns_the_gradient_and_scales_it_by_the_lengths():
    space, z, weight = make("simvq, rotation trick"), torch.randn(6, 3, D, requires_grad=True), torch.randn(6, 3, D)
    out = space.bottleneck(z, ALL).z
    (grad,) = torch.autograd.grad((out * weight).sum(), z)
    ratio = out.norm(dim=-1) / z.norm(dim=-1)
    torch.testing.assert_close(grad.norm(dim=-1), weight.norm(dim=-1) * ratio, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(grad, weight, atol=1e-2)


def test_simvq_moves_every_code_in_one_update():
    space, z = make("simvq"), torch.randn(6, 3, D)
    before = space.codebook.detach().clone()
    used = space.encode(z).unique()
    assert len(used) < space.codes
    space.bottleneck(z, ALL).terms["codebook"].backward()
    torch.optim.SGD(space.parameters(), lr=0.1).step()
    assert ((space.codebook - before).norm(dim=-1) > 0).all()


def test_fsq_has_as_many_codes_as_its_levels_multiply_to_and_each_is_its_own_latent():
    space = FSQSpace(dim=3, levels=[5, 3, 4])
    assert space.codes == 60
    codes = space.lookup(torch.arange(60)[None])
    assert len(codes[0].unique(dim=0)) == 60
    assert codes.abs().max() <= 1
    for c, levels in enumerate((5, 3, 4)):
        assert len(codes[0, :, c].unique()) == levels
    assert space.terms() == ()
    with pytest.raises(ConfigError, match="3 levels"):
        FSQSpace(dim=3, levels=[5, 2])


def test_moto_loss_is_the_releases_formula_with_beta_on_the_codebook():
    space, z = make("moto"), torch.randn(6, 3, D, requires_grad=True)
    code = space.lookup(space.encode(z))
    expected = (code.detach() - z).pow(2).mean() + 0.25 * (code - z.detach()).pow(2).mean()
    out = space.bottleneck(z, ALL).terms["quantization"]
    torch.testing.assert_close(out, expected)
    ours = torch.autograd.grad(out, [z, space.embedding.weight])
    torch.testing.assert_close(ours, torch.autograd.grad(expected, [z, space.embedding.weight]))


def test_moto_loads_the_releases_key_and_starts_as_the_release_does():
    space = MotoVQSpace()
    assert list(space.state_dict()) == ["embedding.weight"]
    assert space.embedding.weight.shape == (128, 32)
    assert 0.99 / 128 < space.embedding.weight.abs().max() <= 1 / 128


def test_usage_counts_codes_of_real_samples():
    indices = torch.tensor([[0, 1], [2, 3], [5, 5]])
    usage = code_usage(indices, torch.tensor([True, True, False]), 8)
    torch.testing.assert_close(usage["perplexity"], torch.tensor(4.0))
    assert usage["used_codes"] == 4


def test_soft_kl_is_least_for_hard_even_use_and_grows_both_ways():
    k = 4
    hard = torch.eye(k).clamp(min=1e-30).log()[None]
    constant = hard[:, :1].expand(1, k, k)
    uniform = torch.full((1, k, k), -math.log(k))
    mask = torch.ones(1, dtype=torch.bool)
    torch.testing.assert_close(soft_kl(hard, mask), torch.tensor(0.0))
    torch.testing.assert_close(soft_kl(constant, mask), torch.tensor(math.log(k)))
    torch.testing.assert_close(soft_kl(uniform, mask), torch.tensor(math.log(k)))
    torch.testing.assert_close(soft_perplexity(hard, mask), torch.tensor(4.0))
    torch.testing.assert_close(soft_perplexity(constant, mask), torch.tensor(1.0))
    torch.testing.assert_close(soft_hardness(uniform, mask), torch.tensor(0.25))


def test_soft_kl_is_entropy_difference_with_a_numerical_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, True, False])
    q = logits[:2].softmax(-1)
    mean = q.mean((0, 1))
    release = -(q * q.log()).sum(-1).mean() + (mean * mean.log()).sum()
    torch.testing.assert_close(soft_kl(logits.log_softmax(-1), mask), release + math.log(5))
    assert torch.autograd.gradcheck(lambda x: soft_kl(x.log_softmax(-1), mask), (logits,))
