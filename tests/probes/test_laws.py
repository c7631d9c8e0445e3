"""Probes of models whose answer is known in advance."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from lara.errors import ConfigError
from lara.probes.algebra import Additive, algebra, laws
from lara.probes.baselines import paint_difference, pixel_difference
from lara.probes.degeneration import degeneration
from lara.probes.determinism import determinism
from lara.probes.horizons import horizons
from lara.probes.transfer import transfer
from tests.probes import worlds


def test_a_change_adds_up_and_reverses_and_a_picture_does_not():
    seen = worlds.clips(5, steady=False)
    good, bad = algebra(worlds.motion(), seen), algebra(worlds.target(), seen)
    for name in ("additivity", "reversal"):
        assert max(getattr(good.rows["model"], name)) < 1e-4
        assert max(getattr(good.rows["pixel_difference"], name)) < 1e-4
        assert getattr(good.rows["other_latent"], f"{name}_relative")[-1] > 0.5
        assert getattr(bad.rows["model"], f"{name}_relative")[-1] > 1.0
        assert getattr(bad.rows["future_frame"], name) == pytest.approx(getattr(bad.rows["model"], name))
    assert good.rows["model"].additivity[0] == 0


def test_relative_errors_do_not_shrink_with_the_latent():
    seen = worlds.clips(4, steady=False)
    large = algebra(worlds.model(lambda now, future: future), seen).rows["model"]
    little = algebra(worlds.model(lambda now, future: 0.01 * future), seen).rows["model"]
    assert little.reversal[-1] == pytest.approx(0.01 * large.reversal[-1], rel=1e-4)
    assert little.reversal_relative == pytest.approx(large.reversal_relative, rel=1e-4)
    assert little.additivity_relative == pytest.approx(large.additivity_relative, rel=1e-4)


def test_a_constant_latent_has_the_errors_that_arithmetic_gives_it():
    c = torch.full((5, 2, 2), 0.5)
    found = laws([c] * 9, Additive())
    assert found.additivity == pytest.approx([0.0, 1.0, 2.0])
    assert found.reversal == pytest.approx([2.0, 2.0, 2.0])
    zero = laws([torch.zeros(5, 2, 2)] * 9, Additive())
    assert all(math.isnan(x) for x in zero.additivity_relative)
    assert zero.json()["additivity_relative"] == [None] * 3


def test_rotations_are_composed_by_matmul_with_the_earlier_step_left():
    seen = worlds.clips(4, steady=False)
    right = algebra(worlds.rotations(lambda a, b: a.mT @ b), seen)
    wrong = algebra(worlds.rotations(lambda a, b: b @ a.mT), seen)
    assert "RotationSpace" in right.operation
    assert max(right.rows["model"].additivity) < 1e-4
    assert max(right.rows["model"].reversal) < 1e-4
    assert wrong.rows["model"].additivity[-1] > 0.1
    assert max(wrong.rows["model"].reversal) < 1e-4


def test_rotations_are_composed_in_the_gauge_of_their_own_standing_still():
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.5], [0.0, -0.5, 0.0]]))
    seen = worlds.clips(4, steady=False)
    moved = worlds.rotations(lambda a, b: a.mT @ b @ turn)
    assert max(algebra(moved, seen).rows["model"].additivity) < 1e-4
    # identical frames give the unit itself, which is not the identity matrix
    assert determinism(moved, worlds.clips(3, steady=False)).identity < 1e-4


def test_direct_and_cumulative_pictures_are_perfect_for_a_change_only():
    seen = worlds.clips(4)
    good, bad = horizons(worlds.motion(), seen), horizons(worlds.target(), seen)
    assert good.horizons == [2, 4, 6]
    for name in ("direct", "cumulative"):
        assert min(good.rows[name].psnr) > 60
        assert min(good.rows[name].ssim) > 0.999
        assert good.rows[name].lpips == []
    assert max(good.rows["copy_frame"].psnr) < 40
    assert max(good.rows["other_latent"].psnr) < 40
    assert min(bad.rows["direct"].psnr) > 60
    assert bad.rows["cumulative"].psnr[-1] < 20


def test_the_pixel_difference_paints_what_its_numbers_hold():
    """Perfect at the size it is taken at; on a larger picture it still beats copying where the change is smooth."""
    seen = worlds.clips(3)
    found = horizons(worlds.motion(), seen)
    assert set(found.rows) == {"direct", "cumulative", "other_latent", "copy_frame", "pixel_difference"}
    assert min(found.rows["pixel_difference"].psnr) > 60
    row = degeneration(worlds.motion(), seen).rows["pixel_difference"]
    assert row.recon_target < 1e-9
    assert row.imagined_second < 1e-9
    now = torch.full((1, 3, 48, 48), 100, dtype=torch.uint8)
    future = now.clone()
    future[..., 24:] = 180
    painted = paint_difference(now, pixel_difference(now, future))
    assert (painted - future / 255).square().mean() < 0.05 * ((now.float() - future.float()) / 255).square().mean()
    torch.testing.assert_close(paint_difference(now, torch.zeros(1, 432)), now / 255)


def test_a_latent_that_holds_the_current_frame_breaks_both_laws():
    row = algebra(worlds.motion(), worlds.clips(4)).rows["current_frame"]
    assert row.additivity[0] == 0
    assert row.additivity_relative[-1] > 1.0
    assert min(row.reversal_relative) > 1.0


def test_the_perceptual_network_is_asked_in_unit_pixels_and_averaged_over_clips():
    class Distance(torch.nn.Module):
        def forward(self, a, b, mask):
            assert a.min() >= 0
            assert a.max() <= 1
            assert mask.all()
            return (a - b).abs().mean()

    found = horizons(worlds.motion(), worlds.clips(3, n=40), perceptual=Distance())
    seen = worlds.clips(3, n=40).frames_NFCHW.float() / 255
    expected = [(seen[:, 0] - seen[:, t]).abs().mean().item() for t in (1, 2)]
    assert found.rows["copy_frame"].lpips == pytest.approx(expected, rel=1e-4)
    assert max(found.rows["direct"].lpips) < 1e-6


def test_an_action_applied_again_goes_on_and_a_picture_stays():
    seen = worlds.clips(3)
    good, bad = degeneration(worlds.motion(), seen), degeneration(worlds.target(), seen)
    assert good.rows["model"].recon_target < 1e-9
    assert good.rows["model"].imagined_second < 1e-9
    assert good.rows["model"].imagined_recon == pytest.approx(good.moved, rel=1e-3)
    assert bad.rows["model"] == bad.rows["copy_target"]
    assert bad.rows["model"].imagined_recon == bad.rows["model"].imagined_target == 0
    assert bad.rows["copy_frame"].recon_target == pytest.approx(bad.moved)


def test_the_picture_of_an_action_applied_again_shows_where_it_went():
    seen = worlds.clips(3)
    for model, same in ((worlds.motion(), False), (worlds.target(), True)):
        found = degeneration(model, seen, examples=3)
        drawn = np.asarray(Image.open(io.BytesIO(found.picture)))
        now, target, recon, imagined, second = np.split(drawn, 5)
        assert np.array_equal(recon, target)
        assert np.array_equal(imagined, recon) == same
        assert np.array_equal(imagined, second) != same
        assert not np.array_equal(now, target)
        assert "picture" not in found.json()


def test_determinism_tells_noise_scene_and_motion_apart():
    seen = worlds.clips(3)
    motion, target = determinism(worlds.motion(), seen), determinism(worlds.target(), seen)
    noisy = determinism(worlds.model(lambda a, b: b - a + torch.randn_like(a)), seen)
    assert motion.max_difference == 0
    assert noisy.max_difference > 0.1
    assert motion.identity == 0
    assert target.identity == pytest.approx(1, abs=0.05)
    # there and on: z(past, now) and z(future, now) point against each other for a steady motion
    assert motion.s_pcfc["model"] == pytest.approx(-1, abs=1e-4)
    assert motion.s_pcfc["pixel_difference"] == pytest.approx(-1, abs=1e-4)
    assert target.s_pcfc["model"] == pytest.approx(1, abs=1e-4)


def test_a_transferred_change_is_painted_where_the_donor_had_it():
    found = transfer(worlds.motion(), worlds.clips(2), examples=2)
    assert found.donor == pytest.approx(1, abs=1e-3)
    assert found.receiver == pytest.approx(found.donor_receiver, abs=1e-3)
    assert found.receiver < 0.5
    assert found.change_away == pytest.approx(found.change_home, rel=1e-4)
    assert found.picture.startswith(b"\x89PNG")
    assert "picture" not in found.json()


@pytest.mark.parametrize("probe", [degeneration, determinism])
def test_probes_refuse_clips_that_they_cannot_read(probe):
    with pytest.raises(ConfigError, match="expected frames"):
        probe(worlds.motion(), worlds.clips(5))


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ConfigError, match="eval mode"):
        algebra(worlds.motion().train(), worlds.clips(3))
