"""Laws of LatBot's two-stream decoder: who ends where, who reads whom, and SANA in the place of the small stream."""

from functools import partial

import pytest
import torch

from lara.data.actions.unified_actions import ACTION_DIM, STATE_DIM
from lara.errors import CheckpointError, ConfigError
from lara.lam.decoders.sana import SanaStream
from lara.lam.decoders.unified import PatchStream, UnifiedDecoder

B, D, SCENE, MOTION, H, SIZE = 2, 4, 2, 3, 5, 32
NOW = torch.randint(0, 256, (B, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SMALL = partial(PatchStream, image_size=SIZE, patch=16, width=16, heads=2, layers=2)


def _decoder(stream=SMALL, **changes):
    torch.manual_seed(0)
    sizes = {"queries": SCENE + MOTION, "dim": D, "scene": SCENE, "width": 24, "heads": 2, "horizon": H}
    return UnifiedDecoder(stream=stream, **{**sizes, **changes})


def _z():
    return torch.randn(B, SCENE + MOTION, D, generator=torch.Generator().manual_seed(1), requires_grad=True)


@pytest.fixture(params=["small", "sana"])
def stream(request):
    return SMALL if request.param == "small" else partial(SanaStream, path=request.getfixturevalue("sana"))


def test_one_stream_ends_in_a_frame_the_other_in_unified_actions(stream):
    decoder, z = _decoder(stream), _z()
    out = decoder.train()(NOW, z)
    assert out.frame.shape == NOW.shape
    assert out.actions.shape == (B, H, ACTION_DIM)
    assert torch.isfinite(out.frame).all()
    torch.rand(3)
    again = decoder.eval()(NOW, z)
    assert torch.equal(out.frame, again.frame)
    assert torch.equal(out.actions, again.actions)
    alone = decoder(NOW[1:], z[1:])
    torch.testing.assert_close(alone.frame, out.frame[1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.actions, out.actions[1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("end", ["frame", "actions"])
def test_both_ends_move_scene_and_motion_of_their_own_sample(stream, end):
    """Motion refines the picture and the scene guides the actions: the exchange works in both directions."""
    decoder, z = _decoder(stream), _z()
    getattr(decoder(NOW, z), end)[0].square().sum().backward()
    assert (z.grad[0].abs().amax(dim=1) > 0).all()
    assert not z.grad[1].any()


@pytest.mark.parametrize(("cut", "end"), [("action_to_image", "frame"), ("image_to_action", "actions")])
def test_each_direction_of_the_exchange_is_the_only_bridge_to_its_end(cut, end):
    decoder, z = _decoder(), _z()
    for block in getattr(decoder, cut):
        for p in block.attention.out.parameters():
            torch.nn.init.zeros_(p)
    getattr(decoder(NOW, z), end).square().sum().backward()
    own = slice(0, SCENE) if end == "frame" else slice(SCENE, None)
    foreign = slice(SCENE, None) if end == "frame" else slice(0, SCENE)
    assert (z.grad[:, own].abs().amax(dim=2) > 0).all()
    assert not z.grad[:, foreign].any()


def test_actions_see_the_picture_and_every_step_is_its_own(stream):
    decoder, z = _decoder(stream), _z()
    out = decoder(NOW, z)
    assert (decoder(255 - NOW, z).actions - out.actions).abs().max() > 1e-5
    assert (out.actions[:, 0] - out.actions[:, 1]).abs().max() > 1e-4


def test_a_state_is_read_when_asked_for_and_refused_otherwise():
    decoder, z = _decoder(state_dim=STATE_DIM), _z()
    state = torch.randn(B, STATE_DIM, requires_grad=True)
    out = decoder(NOW, z, state)
    out.actions[0].square().sum().backward()
    assert (state.grad[0].abs() > 0).all()
    assert not state.grad[1].any()
    with pytest.raises(ConfigError, match="not given"):
        decoder(NOW, z)
    with pytest.raises(ConfigError, match="state_dim=0"):
        _decoder()(NOW, z, state)


@pytest.mark.parametrize("scene", [0, SCENE + MOTION])
def test_both_kinds_of_tokens_are_needed(scene):
    with pytest.raises(ConfigError, match="scene"):
        _decoder(scene=scene)


def test_every_parameter_of_the_small_decoder_learns():
    decoder = _decoder()
    out = decoder(NOW, _z())
    (out.frame.square().sum() + out.actions.square().sum()).backward()
    for key, p in decoder.named_parameters():
        assert p.grad is not None, key
        assert p.grad.any(), key


def test_sana_learns_but_its_autoencoder_does_not(sana):
    decoder = _decoder(partial(SanaStream, path=sana)).train()
    assert not decoder.image.vae.training
    decoder(NOW, _z()).frame.square().sum().backward()
    assert all(p.grad is None for p in decoder.image.vae.parameters())
    assert all(b.attn1.to_q.weight.grad.any() for b in decoder.image.transformer.transformer_blocks)
    assert decoder.image.up.weight.grad.any()


def test_our_walk_through_sana_is_diffusers_own(sana):
    """Without the exchange, the stream's change of the latent is what SanaTransformer2DModel.forward returns."""
    torch.manual_seed(0)
    stream = SanaStream(scene=SCENE, dim=D, path=sana, timestep=250.0).eval()
    scene = torch.randn(B, SCENE, D)
    with torch.no_grad():
        canvas = stream.start(NOW, scene)
        latent = canvas.fixed[0]
        expected = stream.transformer(latent, stream.up(scene), torch.full((B,), 250.0)).sample
        for k in range(stream.layers):
            canvas = stream.step(k, canvas)
        ours = stream.finish(canvas)
        theirs = stream.vae.decode((latent + expected) / stream.vae.config.scaling_factor).sample
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_sana_may_be_kept_in_bfloat16_and_described_without_weights(sana):
    half = _decoder(partial(SanaStream, path=sana, dtype="bfloat16"))
    assert half.image.transformer.dtype == half.image.vae.dtype == torch.bfloat16
    out = half(NOW, _z())
    assert out.frame.dtype == out.actions.dtype == torch.float32
    full = _decoder(partial(SanaStream, path=sana))(NOW, _z())
    assert (out.frame - full.frame).abs().max() < 0.1 * full.frame.abs().max()
    with torch.device("meta"):
        described = _decoder(partial(SanaStream, path=sana))
        assert described(NOW.to("meta"), _z()).frame.shape == NOW.shape
    assert all(p.is_meta for p in described.parameters())


def test_sana_refuses_what_is_not_there_and_what_does_not_fit(sana, tmp_path):
    with pytest.raises(CheckpointError, match="local folder"):
        SanaStream(scene=SCENE, dim=D, path=str(tmp_path))
    with pytest.raises(ConfigError, match="multiples of 8"):
        SanaStream(scene=1, dim=D, path=sana).start(NOW[:, :, :30], torch.zeros(B, 1, D))
