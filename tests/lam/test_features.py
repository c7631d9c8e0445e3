"""The LAM that predicts a frozen encoder's tokens: what it compares, what may move, what it reports instead of PSNR."""

import dataclasses
from functools import partial

import pytest
import torch

from lara.errors import ConfigError
from lara.lam.decoders.features import FeatureDecoder
from lara.lam.encoders.patches import PatchEncoder
from lara.lam.features import FeatureActionModel
from lara.lam.former import MFormer
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.probes.clips import predict
from lara.systems.lam import LamSystem
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.rotation import RotationTriplets
from lara.train.stage import Stage, apply_stage
from tests.tiny import SIZE, tiny_batch, tiny_lam

FRAMES = tiny_batch().frames_BFVCHW[:, :, 0]
ALL = torch.ones(len(FRAMES), dtype=torch.bool)


class Scaled(PatchEncoder):
    """The same encoder in other units."""

    def _encode(self, x):
        return 7.0 * super()._encode(x) + 3.0


def _lam(space=None, queries=2, residual=False, encoder=PatchEncoder):
    torch.manual_seed(0)
    return FeatureActionModel(
        encoder=encoder(image_size=SIZE, patch=16, width=32),
        former=partial(MFormer, width=32, heads=4, layers=1),
        space=space or AdditiveSpace(dim=8),
        decoder=partial(FeatureDecoder, width=32, heads=4, layers=1, residual=residual),
        queries=queries,
    )


def _losses(lam, frames=FRAMES, mask=ALL):
    tokens = lam.encode_frames(frames)
    return lam.losses(frames, tokens, lam.latent(tokens), mask, frozenset(lam.terms()))


def _triplets():
    frames = torch.randint(0, 256, (6, 3, 1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1)).byte()
    return dataclasses.replace(tiny_batch(), frames_BFVCHW=frames, frame_mask_BF=torch.ones(6, 3, dtype=torch.bool))


SYSTEMS = {
    "lara": (lambda: LamSystem(lam=_lam()), tiny_batch),
    "alam": (lambda: LamSystem(lam=_lam(), objective=AdditiveLaws()), _triplets),
    "rotvla": (lambda: LamSystem(lam=_lam(RotationSpace(dim=4), queries=4), objective=RotationTriplets()), _triplets),
}


def test_reconstruction_is_the_distance_of_predicted_and_future_tokens():
    lam = _lam()
    tokens = lam.encode_frames(FRAMES)
    predicted = lam.decode(tokens[:, 0], lam.latent(tokens).z_BQD)
    found = _losses(lam).terms["reconstruction"]
    torch.testing.assert_close(found, (predicted - tokens[:, 1]).square().mean())


def test_the_encoder_stays_frozen_in_a_stage_that_learns_the_whole_lam_and_all_else_learns():
    system = LamSystem(lam=_lam())
    applied = apply_stage(system, Stage(name="s", learn=["lam"], steps=1, weights={"lam": {"reconstruction": 1.0}}))
    assert not any(name.startswith("lam.encoder") for name in applied.learning)
    system.losses(tiny_batch(), frozenset(system.terms())).terms["lam.reconstruction"].backward()
    for name in ("former", "decoder"):
        assert any(p.grad is not None and p.grad.any() for p in system.lam.parts()[name].parameters()), name


def test_a_residual_decoder_starts_at_the_error_of_copying():
    metrics = _losses(_lam(residual=True)).metrics
    torch.testing.assert_close(metrics["error"], metrics["error_copy"])
    assert metrics["error_copy"] > 0.1


def test_the_errors_have_no_unit():
    plain, scaled = (_losses(_lam(residual=True, encoder=e)).metrics for e in (PatchEncoder, Scaled))
    torch.testing.assert_close(plain["error_copy"], scaled["error_copy"])
    lam = _lam()
    tokens = lam.encode_frames(FRAMES)[:, 1]
    mean = tokens.mean(dim=(0, 1)).expand_as(tokens)
    assert lam.quality(mean, tokens, tokens, ALL)["error"].item() == pytest.approx(1.0, rel=1e-5)
    assert lam.quality(tokens, tokens, tokens, ALL)["error"] == 0


def test_anothers_latent_costs_nothing_where_the_decoder_does_not_listen():
    lam = _lam().eval()
    metrics = _losses(lam).metrics
    assert abs(metrics["error_other_latent"] - metrics["error"]) > 1e-6
    with torch.no_grad():
        lam.decoder.up.weight.zero_()
    metrics = _losses(lam).metrics
    torch.testing.assert_close(metrics["error_other_latent"], metrics["error"])


def test_masked_pairs_change_neither_terms_nor_figures():
    mask = ALL.clone()
    mask[0] = False
    values = []
    for fill in (0, 255):
        frames = FRAMES.clone()
        frames[0, 1] = fill
        values.append(_losses(_lam(), frames, mask))
    for key, value in (values[0].terms | values[0].metrics).items():
        torch.testing.assert_close((values[1].terms | values[1].metrics)[key], value, rtol=1e-5, atol=0, msg=key)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_lam_system_works_on_tokens_and_reports_no_psnr(name):
    make, batch = SYSTEMS[name]
    system = make().eval()
    losses = system.losses(batch(), frozenset(system.terms()))
    assert set(losses.terms) == set(system.terms())
    assert {"lam.error", "lam.error_copy", "lam.error_other_latent"} <= set(losses.metrics)
    assert not any("psnr" in key for key in losses.metrics)
    sum(losses.terms.values()).backward()
    assert any(p.grad is not None and p.grad.any() for p in system.lam.former.parameters())


def test_pixels_cannot_be_painted_and_the_pixel_model_still_reports_psnr():
    with pytest.raises(ConfigError, match="paints no pixels"):
        predict(_lam().eval(), FRAMES[:, 0], torch.zeros(len(FRAMES), 2, 8))
    assert {"psnr", "psnr_copy", "psnr_other_latent"} <= set(_losses(tiny_lam().eval()).metrics)
