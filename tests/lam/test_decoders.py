"""Laws of the decoders of RotVLA and ALAM."""

from functools import partial

import pytest
import torch

from lara.errors import ConfigError
from lara.lam.decoders.cross_attention import ConcatenateDecoder, CrossAttentionDecoder
from lara.lam.decoders.features import FeatureDecoder
from lara.lam.formers.queries import QueryFormer
from lara.lam.formers.spacetime import SpaceTimeFormer
from lara.nn.cross import CrossBlock
from tests.tiny import tiny_batch, tiny_lam

B, Q, D, P, E, SIZE = 3, 2, 4, 6, 12, 16
PIXELS = {
    "cross": partial(CrossAttentionDecoder, image_size=SIZE, patch=8, width=16, heads=2, layers=1),
    "concatenate": partial(ConcatenateDecoder, image_size=SIZE, patch=8, width=16, heads=2, layers=1),
}
NOW = torch.randint(0, 256, (B, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _z(q=Q):
    return torch.randn(B, q, D, generator=torch.Generator().manual_seed(1), requires_grad=True)


def _decoder(name, **changes):
    torch.manual_seed(0)
    return PIXELS[name](**{"queries": Q, "dim": D, **changes})


@pytest.mark.parametrize("name", PIXELS)
def test_a_frame_depends_on_its_own_source_and_on_every_number_of_its_latent(name):
    decoder, z = _decoder(name), _z()
    out = decoder.train()(NOW, z)
    assert out.shape == NOW.shape
    torch.testing.assert_close(decoder.eval()(NOW[1:2], z[1:2]), out[1:2], atol=1e-5, rtol=1e-5)
    assert (decoder(255 - NOW, z) - out).abs().max() > 1e-4
    out[0].square().sum().backward()
    assert (z.grad[0].abs() > 0).all()
    assert not z.grad[1:].any()
    for key, p in decoder.named_parameters():
        assert p.grad is not None, key


@pytest.mark.parametrize("name", PIXELS)
def test_residual_decoders_start_by_copying_the_source(name):
    decoder = _decoder(name, residual=True)
    out = decoder(NOW, _z())
    assert torch.equal(out, decoder.normalizer(NOW))
    out.square().sum().backward()
    assert decoder.head.weight.grad.any()


@pytest.mark.parametrize("name", PIXELS)
def test_a_painted_patch_lands_where_its_token_is(name):
    decoder = _decoder(name)
    with torch.no_grad():
        decoder.head.weight.zero_()
        decoder.head.weight[:, 0] = 1.0
        decoder.head.bias.zero_()
    decoder.trunk = torch.nn.Identity()
    tokens = torch.zeros(1, 4, 16)
    tokens[0, 1, 0] = 7.0  # row 0, column 1
    out = decoder._paint(torch.zeros(1, 3, SIZE, SIZE), tokens)
    assert (out[:, :, :8, 8:] == 7).all()
    assert out.sum() == 7 * 3 * 64


@pytest.mark.parametrize("name", PIXELS)
def test_swapped_latent_tokens_are_another_latent(name):
    decoder, z = _decoder(name), _z()
    assert (decoder(NOW, z.flip(1)) - decoder(NOW, z)).abs().max() > 1e-5


def test_one_latent_token_says_the_same_to_every_patch_and_several_do_not():
    torch.manual_seed(0)
    block = CrossBlock(8, 2, 8)
    patches = torch.randn(2, 5, 8)
    spread = {}
    for n in (1, 3):
        heard = block.attention(block.norm_x(patches), block.norm_context(torch.randn(2, n, 8)))
        spread[n] = (heard - heard.mean(dim=1, keepdim=True)).abs().max()
    assert spread[1] < 1e-6 < 1e-3 < spread[3]


def test_masked_context_cannot_be_read():
    torch.manual_seed(0)
    block = CrossBlock(8, 2, 6)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    mask = torch.tensor([[True, True, False]] * 2)
    other = torch.where(mask[..., None], context, 99.0)
    assert torch.equal(block(x, context, mask), block(x, other, mask))
    torch.testing.assert_close(block(x, context, mask), block(x, context[:, :2]), atol=1e-6, rtol=1e-5)


def test_expand_makes_that_many_tokens_of_each_latent():
    decoder = _decoder("cross", queries=1, expand=5)
    _, latent = decoder._tokens(decoder.normalizer(NOW), _z(1))
    assert latent.shape == (B, 5, 16)
    assert (latent[:, 0] - latent[:, 1]).abs().max() > 1e-3


def test_a_patch_that_does_not_divide_the_frame_is_refused():
    with pytest.raises(ConfigError, match="multiple"):
        _decoder("cross", image_size=200, patch=14)


@pytest.mark.parametrize("residual", [False, True])
def test_feature_decoder_predicts_tokens_and_reads_its_latent(residual):
    torch.manual_seed(0)
    sizes = {"queries": Q, "dim": D, "tokens": P, "context_width": E, "width": 16, "heads": 2, "layers": 1}
    decoder = FeatureDecoder(**sizes, residual=residual)
    now, z = torch.randn(B, P, E, requires_grad=True), _z()
    out = decoder(now, z)
    assert out.shape == now.shape
    if residual:
        assert torch.equal(out, now)
        with torch.no_grad():
            decoder.head.weight.normal_(std=0.1)
        out = decoder(now, z)
    torch.testing.assert_close(decoder(now[1:2], z[1:2]), out[1:2], atol=1e-5, rtol=1e-5)
    out[0].square().sum().backward()
    assert (z.grad[0].abs() > 0).all()
    assert (now.grad[0].abs().amax(dim=1) > 0).all()
    assert not now.grad[1:].any()


@pytest.mark.parametrize(
    ("former", "decoder"),
    [
        (partial(QueryFormer, reads=4, width=16, heads=2, layers=1), CrossAttentionDecoder),
        (partial(SpaceTimeFormer, width=16, heads=2, layers=1), ConcatenateDecoder),
    ],
)
def test_they_are_parts_of_a_latent_action_model(former, decoder):
    """Fifteen steps on one batch: the error falls, which needs every joint between the parts to pass gradient."""
    lam = tiny_lam(former=former, decoder=partial(decoder, image_size=32, patch=8, width=16, heads=2, layers=1))
    frames = tiny_batch(4).frames_BFVCHW[:, :, 0]
    frames[:, 1] = 255 - frames[:, 0]
    mask = torch.ones(4, dtype=torch.bool)
    optimizer = torch.optim.Adam(lam.parameters(), lr=3e-3)
    errors = []
    for _ in range(15):
        tokens = lam.encode_frames(frames)
        loss = sum(lam.losses(frames, tokens, lam.latent(tokens), mask, frozenset(lam.terms())).terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.9 * errors[0]
    assert all(any(p.grad is not None and p.grad.any() for p in m.parameters()) for m in (lam.encoder, lam.former))
