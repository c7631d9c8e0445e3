import pytest
import torch

from lara.errors import CheckpointError
from lara.lam.encoders.timm_vit import TimmEncoder
from lara.losses.reconstruction import Perceptual
from tests.tiny import SIZE, tiny_batch, tiny_lam

FRAMES = tiny_batch().frames_BFVCHW[:, :, 0]
ALL = torch.ones(len(FRAMES), dtype=torch.bool)


def _losses(lam, frames=FRAMES, mask=ALL, terms=None):
    tokens = lam.encode_frames(frames)
    return lam.losses(frames, tokens, lam.latent(tokens), mask, frozenset(terms or lam.terms()))


def test_the_same_pair_gives_the_same_latent_always():
    lam = tiny_lam()
    first = lam.train().encode(FRAMES).z_BQD
    torch.rand(7)  # the random state plays no part
    assert torch.equal(first, lam.encode(FRAMES).z_BQD)
    assert torch.equal(first, lam.eval().encode(FRAMES).z_BQD)


def test_a_latent_depends_on_its_own_pair_only_and_on_the_order_of_its_frames():
    lam = tiny_lam()
    z = lam.encode(FRAMES).z_BQD
    torch.testing.assert_close(lam.encode(FRAMES[2:3]).z_BQD, z[2:3], atol=1e-5, rtol=1e-5)
    assert (lam.encode(FRAMES.flip(1)).z_BQD - z).abs().max() > 1e-3


def test_each_frame_is_encoded_once(monkeypatch):
    lam = tiny_lam()
    seen = []
    forward = lam.encoder.forward
    monkeypatch.setattr(lam.encoder, "forward", lambda frames: seen.append(len(frames)) or forward(frames))
    _losses(lam)
    assert sum(seen) == FRAMES.shape[0] * FRAMES.shape[1]


def test_every_part_learns_from_reconstruction():
    lam = tiny_lam()
    terms = _losses(lam).terms
    sum(terms.values()).backward()
    for name, part in lam.parts().items():
        grads = [p.grad for p in part.parameters()]
        assert name == "space" or any(g is not None and g.any() for g in grads), name


def test_masked_pairs_change_nothing():
    mask = ALL.clone()
    mask[0] = False
    values = []
    for fill in (0, 255):
        frames = FRAMES.clone()
        frames[0, 1] = fill
        values.append(_losses(tiny_lam(), frames, mask).terms)
    for name in values[0]:
        assert torch.equal(values[0][name], values[1][name]), name


def test_residual_decoder_starts_as_a_copy_of_the_current_frame():
    from functools import partial

    from lara.lam.decoders.pixel import PixelDecoder

    lam = tiny_lam(decoder=partial(PixelDecoder, image_size=SIZE, patch=8, width=32, heads=4, layers=1, residual=True))
    metrics = _losses(lam).metrics
    torch.testing.assert_close(metrics["psnr"], metrics["psnr_copy"])


def test_frozen_vit_keeps_patch_order_and_passes_no_gradient():
    encoder = TimmEncoder(name="vit_tiny_patch16_224.augreg_in21k", weights="random", image_size=SIZE)
    lam = tiny_lam(encoder=encoder)
    assert not encoder.train().training
    frames = FRAMES[:1].clone()
    tokens = lam.encode_frames(frames)
    assert tokens.shape == (1, 2, 4, 192)
    assert not tokens.requires_grad
    # only the patch that changed is changed at the input of the first block
    moved = frames.clone()
    moved[0, 0, :, :16, 16:] = 0
    before, after = (encoder.vit.patch_embed(encoder.normalizer(f[:, 0])) for f in (frames, moved))
    assert ((before - after).abs().sum(dim=2) > 0).tolist() == [[False, True, False, False]]
    sum(_losses(lam).terms.values()).backward()
    assert all(p.grad is None for p in encoder.parameters())


def test_local_vit_weights_are_loaded_strictly(tmp_path):
    from safetensors.torch import save_file

    encoder = TimmEncoder(name="vit_tiny_patch16_224.augreg_in21k", weights="random", image_size=SIZE)
    tensors = {k: v.clone() for k, v in encoder.vit.state_dict().items()}
    save_file(tensors, tmp_path / "vit.safetensors")
    again = TimmEncoder(
        name="vit_tiny_patch16_224.augreg_in21k", weights=str(tmp_path / "vit.safetensors"), image_size=SIZE
    )
    assert torch.equal(again(FRAMES[:, 0]), encoder(FRAMES[:, 0]))
    tensors.pop("cls_token")
    save_file(tensors, tmp_path / "vit.safetensors")
    with pytest.raises(CheckpointError, match=r"1 of \d+ keys missing"):
        TimmEncoder(
            name="vit_tiny_patch16_224.augreg_in21k", weights=str(tmp_path / "vit.safetensors"), image_size=SIZE
        )


def test_feature_term_reaches_the_decoder_but_not_a_frozen_encoder():
    encoder = TimmEncoder(name="vit_tiny_patch16_224.augreg_in21k", weights="random", image_size=SIZE)
    lam = tiny_lam(encoder=encoder, features=True)
    assert lam.terms() == ("reconstruction", "commitment", "feature")
    _losses(lam, terms={"feature"}).terms["feature"].backward()
    assert any(p.grad is not None and p.grad.any() for p in lam.decoder.parameters())
    assert all(p.grad is None for p in encoder.parameters())


def test_lpips_is_zero_for_equal_images_and_moves_the_decoder():
    torch.manual_seed(0)
    measure = Perceptual(network="alex", backbone_weights="random")
    images = torch.rand(2, 3, 64, 64)
    mask = torch.ones(2, dtype=torch.bool)
    assert measure(images, images, mask).abs() < 1e-6
    assert not measure.train().training
    prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
    measure(prediction, images, mask).backward()
    assert prediction.grad.any()
    assert all(not p.requires_grad for p in measure.parameters())


def test_the_difference_form_sees_nothing_where_nothing_moves():
    """Given two equal frames, only the current one may be seen: the second frame's tokens are their change, zero."""
    from functools import partial

    from lara.lam.former import MFormer

    lam = tiny_lam(former=partial(MFormer, width=32, heads=4, layers=1, difference=True))
    tokens = lam.encode_frames(FRAMES[:, [0, 0]])
    seen = []
    project = lam.former.project.forward
    lam.former.project.forward = lambda x: seen.append(x) or project(x)
    lam.latent(tokens)
    assert torch.equal(seen[0], tokens[:, 0])
    assert not seen[1].any()


def test_a_latent_that_is_not_listened_to_shows_in_eval_mode_only():
    lam = tiny_lam()
    assert "psnr_other_latent" not in _losses(lam.train()).metrics
    listening = _losses(lam.eval()).metrics
    assert listening["psnr_other_latent"] != listening["psnr"]
    with torch.no_grad():
        lam.decoder.fuse.weight.zero_()
    deaf = _losses(lam).metrics
    torch.testing.assert_close(deaf["psnr_other_latent"], deaf["psnr"])
