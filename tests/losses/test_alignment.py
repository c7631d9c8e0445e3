import pytest
import torch

from lara.losses.alignment import CentredCosine, InfoNCE, RawCosine, variance_floor

D = 8
ALL = torch.ones(16, dtype=torch.bool)
OBJECTIVES = [RawCosine, CentredCosine, InfoNCE]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_masked_samples_change_neither_value_nor_gradient(objective):
    torch.manual_seed(0)
    z, p = torch.randn(16, D), torch.randn(16, D)
    mask = torch.arange(16) < 10
    results = []
    for fill in (0.0, 50.0):
        other = torch.where(mask[:, None], z, torch.full_like(z, fill)).requires_grad_()
        loss = objective(dim=D).eval()(other, p, mask)
        (grad,) = torch.autograd.grad(loss, other)
        assert not grad[10:].any()
        results.append((loss, grad[:10]))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_empty_mask_is_zero_and_finite(objective):
    z = torch.randn(16, D, requires_grad=True)
    loss = objective(dim=D)(z, torch.randn(16, D), ~ALL)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_agreement_is_better_than_disagreement_and_scale_does_not_matter(objective):
    torch.manual_seed(0)
    z = torch.randn(16, D)
    score = objective(dim=D).eval()
    assert score(z, z, ALL) < score(z, torch.randn(16, D), ALL)
    torch.testing.assert_close(score(z, 3 * z, ALL), score(z, z, ALL))


def test_only_the_raw_cosine_is_won_by_one_common_direction():
    torch.manual_seed(0)
    common = 10 * torch.randn(D)
    z, p = common + torch.randn(16, D), common + torch.randn(16, D)
    assert RawCosine(dim=D)(z, p, ALL) < 0.1
    assert CentredCosine(dim=D)(z, p, ALL) > 0.6
    assert InfoNCE(dim=D)(z, p, ALL) > 2.0


def test_centred_cosine_is_unbiased_from_the_first_batch_and_still_in_eval():
    torch.manual_seed(0)
    z, p = torch.randn(16, D) + 5, torch.randn(16, D) - 3
    objective = CentredCosine(dim=D, momentum=0.9)
    first = objective(z, p, ALL)
    expected = 1 - torch.nn.functional.cosine_similarity(z - z.mean(0), p - p.mean(0)).mean()
    torch.testing.assert_close(first, expected, atol=1e-4, rtol=1e-4)
    before = objective.mean_z.clone()
    objective.eval()(z + 100, p, ALL)
    assert torch.equal(objective.mean_z, before)


def test_variance_floor_is_zero_above_it_and_pulls_apart_below():
    spread = 3 * torch.randn(64, D)
    assert variance_floor(spread, torch.ones(64, dtype=torch.bool), floor=1.0) == 0
    z = (0.01 * torch.randn(16, D)).requires_grad_()
    loss = variance_floor(z, ALL, floor=1.0)
    loss.backward()
    assert loss > 0.9
    assert (z - 0.1 * z.grad).std(0).mean() > z.std(0).mean()
