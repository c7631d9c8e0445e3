"""What a mixture teaches: every term by its own samples, and a run that may be interrupted and inherited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lara.cli import main
from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.data.card import Cards
from lara.errors import ConfigError
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint
from tests.data.mixtures import make_world, mixture, source_of


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("mixture"))


TINY = [
    *("image_size=32", "horizon=4", "slots=4", "stage.load.lam=null", "lam.encoder.width=32", "lam.former.width=32"),
    *("policy.expert.width=32", "policy.expert.blocks=4", "policy.backbone.width=32", "lam.decoder.width=32"),
    *("lam.decoder.layers=1", "action_dim=12", "optim.schedule=constant"),
    "runtime={batch_size: 8, log_every: 1, save_every: 1, validate_every: null, validation_limit: 1}",
]


def test_all_five_sources_teach_one_system_each_what_it_can(world):
    """The gradient of a term comes from the samples that its mask admits, and from no others."""
    sources = (
        "data.sources.robot.root=x",
        "data.sources.video.root=x",
        "policy.backbone.views=2",
        "horizon=3",
        "align.fraction=1",
    )
    given = [o for o in TINY if not o.startswith("horizon=")]
    config = resolved(compose("train", ["experiment=demo/lara", "data=mixture/pair", *given, *sources]))
    torch.manual_seed(0)
    system = build(config["system"])
    made = mixture(world, image_size=32, state_dim_max=8)
    batch = made.train_batch(0, 24)
    assert set(source_of(made, batch.index_B.numpy())) == {0, 1, 2, 3, 4}
    video = batch.observation.embodiment_B == 3
    torch.manual_seed(1)
    terms = system(batch, frozenset(system.terms())).terms
    for name in ("action", "lam.reconstruction"):
        assert terms[name].isfinite(), name
    terms["action"].backward(retain_graph=True)
    rows = [p for name, p in system.named_parameters() if p.grad is not None and p.shape[:1] == (4,)]
    # of the MLPs that every robot has for itself, those of the robots learn; nothing acts in a video
    learned = [any(bool(parameter.grad[slot].any()) for parameter in rows) for slot in range(4)]
    assert learned == [True, True, True, False]

    # other actions in the video change nothing, other pictures change what the LAM learns
    torch.manual_seed(1)
    changed = replace(batch, actions_BHA=torch.where(video[:, None, None], 7.0, batch.actions_BHA))
    assert torch.equal(system(changed, frozenset(system.terms())).terms["action"], terms["action"])
    torch.manual_seed(1)
    frames = batch.frames_BFVCHW.clone()
    frames[video, 1] = 0
    other = system(replace(batch, frames_BFVCHW=frames), frozenset(system.terms())).terms
    assert not torch.equal(other["lam.reconstruction"], terms["lam.reconstruction"])


def _train(world, output, *more: str) -> int:
    root = world[0]
    sources = [
        *(f"data.sources.robot.root={root}/toy", f"data.sources.video.root={root}/video"),
        *("data.sources.robot.cameras=[top]", "data.sources.robot.embodiment=toy", "data.sources.robot.lam.gap=2"),
        *("data.sources.video.lam.gap=6", "data.sources.video.image_fit=pad", "data.sources.robot.cache.workers=0"),
    ]
    given = ["train", "experiment=demo/lara", "data=mixture/pair", f"output={output}", *TINY, *sources, *more]
    return main(given)


def test_a_robot_and_video_train_together_and_an_interrupted_run_ends_the_same(world, tmp_path):
    assert _train(world, tmp_path / "whole", "stage.steps=4") == 0
    assert _train(world, tmp_path / "parts", "stage.steps=2") == 0
    assert _train(world, tmp_path / "parts", "stage.steps=4") == 0
    whole, parts = (read_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for name, tensor in whole.weights(False).items():
        assert torch.equal(tensor, parts.weights(False)[name]), name
    assert whole.config["embodiments"] == {"toy": 0, "video": 1}
    assert list(Cards.from_dict(whole.card)) == ["toy", "video"]

    policy = load_policy(checkpoint=str(tmp_path / "whole"))  # video acts nowhere, so there is only one robot
    image = np.zeros((32, 32, 3), np.uint8)
    chunk = policy.act({"images": {"top": image}, "state": np.zeros(2), "instruction": "toy 0", "key": (0,)})
    assert chunk.shape == (4, 3)
    assert np.isfinite(chunk).all()

    # another robot joins: the first keeps slot and statistics
    root = world[0]
    more = (f"inherit={tmp_path}/whole", f"data.sources.video.root={root}/joints")
    more = (*more, "data.sources.video.embodiment=joints")
    views = ("data.sources.video.cameras=[top]", "data.sources.video.lam.cameras=[top]", "data.sources.video.lam.gap=2")
    formats = ("data/format@data.sources.video.format=any", "stage.steps=1")
    assert _train(world, tmp_path / "heir", *more, *views, *formats) == 0
    heir = read_checkpoint(tmp_path / "heir")
    assert heir.config["embodiments"] == {"toy": 0, "video": 1, "joints": 2}
    cards = Cards.from_dict(heir.card)
    assert cards["toy"].statistics == Cards.from_dict(whole.card)["toy"].statistics
    with pytest.raises(ConfigError, match="2 embodiments"):
        load_policy(checkpoint=str(tmp_path / "heir"))
    assert load_policy(checkpoint=str(tmp_path / "heir"), embodiment="joints").card().name == "joints"
