import pytest
import torch

from lara.errors import ConfigError
from lara.latents.additive import AdditiveSpace
from lara.latents.vq import VQSpace

ALL = torch.ones(5, dtype=torch.bool)


def test_without_a_quantizer_nothing_stands_between_latent_and_decoder():
    space, z = AdditiveSpace(dim=4), torch.randn(5, 2, 4)
    assert space.project(z) is z
    out = space.bottleneck(z, ALL)
    assert out.z is z
    assert out.terms == {}
    assert space.terms() == ()


def test_the_quantizer_is_vqspace_itself():
    torch.manual_seed(0)
    space = AdditiveSpace(dim=4, quantizer=VQSpace(dim=4, codes=7)).eval()
    z = torch.randn(5, 2, 4)
    out, plain = space.bottleneck(z, ALL), space.quantizer.bottleneck(z, ALL)
    assert torch.equal(out.z, plain.z)
    assert set(out.terms) == set(space.terms()) == {"commitment"}
    assert not torch.allclose(out.z, z)


def test_laws_hold_on_the_continuous_latent_although_codes_do_not_add_up():
    torch.manual_seed(0)
    space = AdditiveSpace(dim=4, quantizer=VQSpace(dim=4, codes=7)).eval()
    a, b = torch.randn(5, 2, 4), torch.randn(5, 2, 4)
    both = space.compose(space.project(a), space.project(b))
    assert torch.equal(space.project(a + b), both)
    quantised = [space.bottleneck(x, ALL).z for x in (a, b, both)]
    assert not torch.allclose(quantised[0] + quantised[1], quantised[2])


def test_codes_of_another_width_are_refused():
    with pytest.raises(ConfigError, match="the space's dims, 4, got 5"):
        AdditiveSpace(dim=4, quantizer=VQSpace(dim=5))
