"""What a space can do is asked of the space, and every answer is kept."""

import re
from pathlib import Path

import pytest
import torch

from lara.latents.additive import AdditiveSpace
from lara.latents.codes import CodeSpace
from lara.latents.fsq import FSQSpace
from lara.latents.groups import Group
from lara.latents.moto_vq import MotoVQSpace
from lara.latents.rotation import RotationSpace
from lara.latents.scene_motion import SceneMotionSpace
from lara.latents.simvq import SimVQSpace
from lara.latents.space import LatentSpace
from lara.latents.vq import VQSpace
from lara.nn.softvq import SoftVQ

N = 4
SPACES = {
    "vq": lambda: VQSpace(dim=N, codes=8),
    "vq by gradient": lambda: VQSpace(dim=N, codes=8, gradient=True),
    "simvq": lambda: SimVQSpace(dim=N, codes=8),
    "moto": lambda: MotoVQSpace(dim=N, codes=8),
    "fsq": lambda: FSQSpace(dim=N, levels=[5, 3]),
    "additive": lambda: AdditiveSpace(dim=N),
    "additive, quantised": lambda: AdditiveSpace(dim=N, quantizer=VQSpace(dim=N, codes=8)),
    "rotation": lambda: RotationSpace(dim=N),
    "rotation, SoftVQ": lambda: RotationSpace(dim=N, softvq=SoftVQ(dim=N, codes=8)),
    "scene and motion": lambda: SceneMotionSpace(dim=N, scene=1, motion=3),
}
CODED = {"vq", "vq by gradient", "simvq", "moto", "fsq", "additive, quantised"}
GROUPS = {"additive", "additive, quantised", "rotation", "rotation, SoftVQ"}
ALL = torch.ones(6, dtype=torch.bool)
every_space = pytest.mark.parametrize("name", SPACES)


@every_space
def test_the_weights_that_a_space_brings_are_those_of_the_losses_that_it_returns(name):
    space = SPACES[name]()
    out = space.extract(torch.randn(6, N, N), ALL)
    assert set(out.terms) == set(space.default_weights()) == set(space.terms())
    assert all(weight > 0 for weight in space.default_weights().values())


@every_space
def test_a_space_with_codes_writes_and_reads_them_and_says_whether_they_are_their_own(name):
    torch.manual_seed(0)
    space = SPACES[name]()
    coder = space.coder()
    assert (coder is not None) == (name in CODED)
    if coder is None:
        return
    assert isinstance(coder, CodeSpace)
    every = torch.arange(coder.codes)[:, None]
    vectors = coder.lookup(every)
    assert vectors.shape == (coder.codes, 1, N)
    if coder.fixed_points:
        assert torch.equal(coder.encode(vectors), every)
    written = coder.encode(space.project(torch.randn(6, N, N)))
    assert written.min() >= 0
    assert written.max() < coder.codes


@every_space
def test_a_space_that_is_a_group_has_an_operation_and_a_gauge(name):
    torch.manual_seed(0)
    space = SPACES[name]()
    assert (space.group() is not None) == (name in GROUPS)
    z = space.project(torch.randn(6, N, N))
    for group in (space.group(), space.gauge(z, ALL)):
        assert (group is not None) == (name in GROUPS)
        if group is not None:
            assert isinstance(group, Group)
            torch.testing.assert_close(group.compose(group.identity(z), z), z, atol=1e-5, rtol=1e-5)
    assert space.gauged == (name in GROUPS and space.gauge(z, ALL) is not space.group())


@every_space
def test_named_parts_are_the_whole_latent_or_none(name):
    z = torch.randn(6, N, N)
    parts = SPACES[name]().named_parts(z)
    assert not parts or torch.equal(torch.cat(list(parts.values()), dim=1), z)
    assert (list(parts) == ["scene", "motion"]) == (name == "scene and motion")


def test_plain_r_d_is_a_space_that_can_nothing_more():
    space, z = LatentSpace(), torch.randn(6, N, N)
    assert space.extract(z, ALL).z is z
    assert space.coder() is None
    assert space.group() is None


def test_nobody_asks_for_the_class_of_a_space():
    root = Path(__file__).parents[2] / "lara"
    files = [p for folder in ("lam", "label", "probes") for p in (root / folder).rglob("*.py")]
    assert len(files) > 20
    assert [str(p) for p in files if re.search(r"isinstance\(.*Space|hasattr\(.*space", p.read_text())] == []
