import pytest
import torch

from lara.errors import ConfigError
from lara.latents.scene_motion import SceneMotion, SceneMotionSpace

SPACE = SceneMotionSpace(dim=4, scene=3, motion=2)


def test_split_and_join_are_inverse():
    z = torch.randn(6, 5, 4)
    scene, motion = SPACE.split(z)
    assert scene.shape == (6, 3, 4)
    assert motion.shape == (6, 2, 4)
    assert torch.equal(SPACE.join(SPACE.split(z)), z)
    parts = SceneMotion(torch.randn(6, 3, 4), torch.randn(6, 2, 4))
    for a, b in zip(SPACE.split(SPACE.join(parts)), parts, strict=True):
        assert torch.equal(a, b)


def test_a_loss_on_motion_leaves_the_scene_alone():
    z = torch.randn(6, 5, 4, requires_grad=True)
    SPACE.split(z).motion_BQD.square().sum().backward()
    assert not z.grad[:, :3].any()
    assert z.grad[:, 3:].all()


def test_the_bottleneck_passes_everything_and_measures_real_samples_only():
    z, mask = torch.ones(4, 5, 4), torch.tensor([True, True, False, False])
    z[:, 3:] = 3
    z[2:] = torch.nan
    out = SPACE.bottleneck(SPACE.project(z), mask)
    assert out.z is z
    assert out.terms == {}
    assert out.metrics["scene_power"] == 1
    assert out.metrics["motion_power"] == 9
    assert SPACE.bottleneck(z, ~(mask | True)).metrics["motion_power"] == 0


def test_it_is_no_group():
    assert not any(hasattr(SPACE, law) for law in ("compose", "inverse", "identity"))


def test_a_wrong_number_of_tokens_is_refused():
    with pytest.raises(ConfigError, match="= 5 tokens, got 6"):
        SPACE.project(torch.randn(2, 6, 4))
    with pytest.raises(ConfigError, match="at least one"):
        SceneMotionSpace(dim=4, scene=0)
