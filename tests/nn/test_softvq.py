import pytest
import torch

from lara.errors import ConfigError
from lara.nn.softvq import SoftVQ


def make(**changes):
    torch.manual_seed(0)
    return SoftVQ(**{"dim": 4, "codes": 8, "temperature": 0.5, **changes})


def test_weights_are_a_distribution_and_the_mixture_is_theirs():
    softvq, x = make(), torch.randn(3, 5, 4)
    out = softvq(x)
    torch.testing.assert_close(out.log_q_BTK.exp().sum(-1), torch.ones(3, 5))
    torch.testing.assert_close(out.mixture_BTD, torch.einsum("btk,kd->btd", out.log_q_BTK.exp(), softvq.codebook))
    nearest = torch.cdist(x, softvq.codebook.expand(3, -1, -1)).argmin(-1)
    assert torch.equal(out.log_q_BTK.argmax(-1), nearest)


def test_temperature_runs_from_the_nearest_code_to_the_mean_code():
    x = torch.randn(3, 5, 4)
    cold, hot = make(temperature=1e-4), make(temperature=1e6)
    nearest = torch.cdist(x, cold.codebook.expand(3, -1, -1)).argmin(-1)
    torch.testing.assert_close(cold(x).mixture_BTD, cold.codebook[nearest])
    torch.testing.assert_close(hot(x).mixture_BTD, hot.codebook.mean(0).expand(3, 5, 4), atol=1e-4, rtol=1e-4)


def test_gradient_is_the_numerical_one_for_tokens_and_codes():
    softvq = make().double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, c: tuple(softvq(x)), (x, softvq.codebook))


def test_a_token_on_a_code_or_far_away_has_a_finite_gradient():
    softvq = make(temperature=0.07)
    x = torch.stack([softvq.codebook.detach()[:2], torch.full((2, 4), 1e12)]).requires_grad_()
    out = softvq(x)
    (out.mixture_BTD.sum() + out.log_q_BTK.clamp(min=-5).sum()).backward()
    assert x.grad.isfinite().all()
    assert softvq.codebook.grad.isfinite().all()


def test_autocast_changes_nothing():
    softvq, x = make(temperature=0.07), torch.randn(3, 5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = softvq(x)
    assert torch.equal(out.mixture_BTD, softvq(x).mixture_BTD)


def test_the_order_of_codes_and_tokens_does_not_matter():
    softvq, x = make(), torch.randn(3, 5, 4)
    before = softvq(x).mixture_BTD
    with torch.no_grad():
        softvq.codebook.copy_(softvq.codebook.flip(0))
    torch.testing.assert_close(softvq(x.flip(1)).mixture_BTD, before.flip(1))


@pytest.mark.parametrize(("changes", "message"), [({"temperature": 0.0}, "above 0"), ({"codes": 1}, "at least 2")])
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)
