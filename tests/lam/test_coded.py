"""The discrete latent: a code of the book, the same training, decoded to the same picture."""

import pytest
import torch

from lara.errors import ConfigError
from lara.lam.coded import CodedActionModel
from lara.latents.additive import AdditiveSpace
from lara.latents.fsq import FSQSpace
from lara.latents.moto_vq import MotoVQSpace
from lara.latents.rotation import RotationSpace
from lara.latents.simvq import SimVQSpace
from lara.latents.vq import VQSpace
from lara.probes.clips import latents, predict
from tests.tiny import tiny_batch, tiny_lam

FRAMES = tiny_batch().frames_BFVCHW[:, :, 0]
SPACES = {
    "vq": lambda: VQSpace(dim=8, codes=16),
    "simvq": lambda: SimVQSpace(dim=8, codes=16),
    "moto": lambda: MotoVQSpace(dim=8, codes=16),
    "additive": lambda: AdditiveSpace(dim=8, quantizer=VQSpace(dim=8, codes=16)),
}


def _coded(space, **changes):
    """The library's tiny LAM, with another export."""
    plain = tiny_lam(space=space, **changes)
    plain.__class__ = CodedActionModel
    return plain


@pytest.mark.parametrize("name", SPACES)
def test_what_leaves_is_a_code_of_the_book_and_its_own_code(name):
    torch.manual_seed(0)
    lam = _coded(SPACES[name]()).eval()
    z = lam.encode(FRAMES).z_BQD
    codes = lam._codes()
    assert torch.equal(codes.lookup(codes.encode(z)), z)
    book = codes.codebook
    assert torch.cdist(z.flatten(0, 1), book).min(dim=1).values.max() < 1e-6
    torch.testing.assert_close(lam.space.bottleneck(z, torch.ones(len(z), dtype=torch.bool)).z, z)


def test_probes_see_the_code_and_the_decoder_paints_the_same_from_it():
    torch.manual_seed(0)
    space = VQSpace(dim=8, codes=16)
    plain, coded = tiny_lam(space=space).eval(), _coded(space).eval()
    (continuous,), (discrete,) = (latents(lam, FRAMES, [(0, 1)]) for lam in (plain, coded))
    assert not torch.equal(continuous, discrete)
    torch.testing.assert_close(predict(plain, FRAMES[:, 0], continuous), predict(coded, FRAMES[:, 0], discrete))


def test_training_is_that_of_the_continuous_model():
    values = []
    for make in (tiny_lam, lambda space: _coded(space)):
        torch.manual_seed(0)
        lam = make(space=VQSpace(dim=8, codes=16))
        tokens = lam.encode_frames(FRAMES)
        mask = torch.ones(len(FRAMES), dtype=torch.bool)
        losses = lam.losses(FRAMES, tokens, lam.latent(tokens), mask, frozenset(lam.terms()))
        sum(losses.terms.values()).backward()
        values.append((losses.terms, lam.former.down[0].weight.grad))
    for name, value in values[0][0].items():
        assert torch.equal(value, values[1][0][name]), name
    assert torch.equal(values[0][1], values[1][1])


@pytest.mark.parametrize("space", [AdditiveSpace(dim=8), FSQSpace(dim=8), RotationSpace(dim=2)])
def test_a_space_whose_codes_are_not_their_own_codes_is_refused(space):
    lam = tiny_lam(space=space)
    with pytest.raises(ConfigError, match="needs a codebook"):
        CodedActionModel(
            encoder=lam.encoder, former=lambda **k: lam.former, space=space, decoder=lambda **k: lam.decoder
        )
