"""Every latent space of conf/latent can be put into every family of latent action models that it suits."""

import re

import pytest
import torch

from lara.config.build import build
from lara.config.compose import choices, compose, config_folder, resolved
from lara.errors import ConfigError
from lara.probes.clips import latents, predict
from lara.train.stage import apply_stage
from tests.conf.tiny_configs import batch_for, shrink, without_lpips


@pytest.mark.parametrize("latent", choices("latent"))
def test_every_latent_space_is_built_and_takes_a_step(latent):
    config = resolved(compose("train", ["experiment=demo/lam", "data.root=x", f"latent={latent}"]))
    space = build(config["latent"])
    fixed = {"scene_motion": getattr(space, "queries", 0)}
    queries = space.dim if latent.startswith("rotation") else fixed.get(latent, 4)
    raw = torch.randn(5, queries, space.dim, requires_grad=True)
    out = space.bottleneck(space.project(raw), torch.ones(5, dtype=torch.bool))
    assert set(out.terms) == set(space.terms())
    (out.z.sum() + sum(out.terms.values())).backward()
    assert raw.grad.any()


def _commands_of_the_spaces():
    """latent -> overrides: of the document's line about it, or its name alone (a space brings its losses' weights)."""
    text = (config_folder().parent / "docs" / "results" / "lam_family.md").read_text()
    lines = re.findall(r"^lara train (experiment=demo/lam latent=(\w+).*)$", text, re.M)
    alone = {latent: ["experiment=demo/lam", f"latent={latent}", "data.root=x"] for latent in choices("latent")}
    return alone | {latent: line.split() for line, latent in lines}


@pytest.mark.skipif(not (config_folder().parent / "docs").is_dir(), reason="the documents are not here")
def test_every_command_of_the_document_is_about_a_space_that_there_is():
    assert set(_commands_of_the_spaces()) == set(choices("latent"))


@pytest.mark.parametrize("latent", choices("latent"))
def test_that_command_builds_a_lam_that_learns_and_can_be_probed(latent):
    config = shrink(resolved(compose("train", _commands_of_the_spaces()[latent])))
    torch.manual_seed(0)
    system = build(config["system"])
    stage = build(config["stage"], "run").for_system(system)
    applied, weights = apply_stage(system, stage), stage.weights_at(0)
    losses = system.losses(batch_for(config), frozenset(weights))
    sum(weights[k] * losses.terms[k] for k in weights).backward()
    assert all(p.grad is not None for n, p in applied.learning.items() if n.startswith("lam.former"))
    frames = torch.randint(0, 256, (4, 2, 3, 32, 32), dtype=torch.uint8)
    (z,) = latents(system.lam.eval(), frames, [(0, 1)])
    assert z.shape == (4, system.lam.queries, system.lam.space.dim)
    assert predict(system.lam, frames[:, 0], z).shape == (4, 3, 32, 32)


# one of each family of LAM recipes, of those that set no key of their own latent; what else a latent needs is its
# shape, never a weight
FAMILIES = ["demo/lam", "demo/lara", "alam/lam", "rotvla/lam"]
SHAPES = {
    "rotation": ["latent.dim=4", "lam.queries=4"],
    "rotation_continuous": ["latent.dim=4", "lam.queries=4"],
    "scene_motion": ["latent.dim=32", "latent.scene=2", "latent.motion=2", "lam.queries=4"],
}
# the laws of ALAM need a group, those of RotVLA rotations
NEEDS_GROUP = {"alam/lam": {"additive", "rotation", "rotation_continuous"}}
NEEDS_GROUP["rotvla/lam"] = {"rotation", "rotation_continuous"}


@pytest.mark.parametrize("latent", choices("latent"))
@pytest.mark.parametrize("family", FAMILIES)
def test_the_latent_space_alone_can_be_switched(family, latent):
    overrides = [f"experiment={family}", "data.root=x", f"latent={latent}", *SHAPES.get(latent, [])]
    config = without_lpips(shrink(resolved(compose("train", overrides))))
    if latent not in NEEDS_GROUP.get(family, {latent}):
        with pytest.raises(ConfigError, match=r"the laws need a space|RotVLA's latents are rotations"):
            build(config["system"])
        return
    torch.manual_seed(0)
    system = build(config["system"])
    stage = build({**config["stage"], "load": {}}, "run").for_system(system)
    applied, weights = apply_stage(system, stage), stage.weights_at(0)
    space = system.lam.space
    assert {f"lam.{term}" for term in space.terms()} <= set(weights)
    losses = system.losses(batch_for(config), frozenset(weights))
    total = sum(weights[k] * losses.terms[k] for k in weights)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is not None for n, p in applied.learning.items() if n.startswith("lam.former"))
