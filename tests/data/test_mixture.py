"""A mixture of five sources: three representations of actions, two rates, one and two cameras, and plain video."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from lara.cli import main
from lara.data.actions.normalize import Statistics
from lara.data.card import Cards
from lara.data.lam_inputs.labels import LatentCodes
from lara.data.mixture import Mixture
from lara.data.mixture_order import BLOCK
from lara.errors import ConfigError, DataError
from lara.serve.policy import TrainedPolicy
from tests.data import flat
from tests.data.mixtures import LENGTHS, WEIGHTS, card, make_world, mixture, settings, source_of, write
from tests.data.test_dataset import same


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def mixed(world) -> Mixture:
    made = mixture(world)
    made.prepare()
    return made


def test_realised_frequencies_are_the_weights(mixed):
    index = np.concatenate([mixed.train_batch(k, 64).index_B.numpy() for k in range(40)])
    found = np.bincount(source_of(mixed, index), minlength=5)
    expected = len(index) * np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
    chi2 = float(((found - expected) ** 2 / expected).sum())
    assert chi2 < 18.47  # the 0.1 % point for 4 degrees of freedom
    np.testing.assert_allclose(mixed.counts / BLOCK, expected / len(index), atol=1 / BLOCK)
    held_out = {k: part.validation_episodes for k, part in enumerate(mixed.sources.values())}
    for number, part in enumerate(mixed.sources.values()):
        before = sum(other.frame_count for other in [*mixed.sources.values()][:number])
        mine = index[source_of(mixed, index) == number] - before
        assert not set(part._numbers.episode[mine]) & set(held_out[number])


def test_every_sample_is_what_its_own_source_gives_but_for_the_views(mixed):
    parts = list(mixed.sources.values())
    begins = np.cumsum([0, *(part.frame_count for part in parts)])
    for step in (0, 7):
        batch = mixed.train_batch(step, 40)
        source = source_of(mixed, batch.index_B.numpy())
        assert set(source) == {0, 1, 2, 3, 4}
        assert batch.observation.images_BVCHW.shape == (40, 2, 3, 16, 16)
        for s, part in enumerate(parts):
            here = np.flatnonzero(source == s)
            own = part.augmented(batch.index_B.numpy()[here] - begins[s], step=step)
            for name in ("actions_BHA", "action_mask_BHA", "frames_BFVCHW", "frame_mask_BF"):
                assert torch.equal(getattr(batch, name)[here], getattr(own, name)), name
            for name in ("state_BS", "embodiment_B", "action_dims_BA"):
                assert torch.equal(getattr(batch.observation, name)[here], getattr(own.observation, name)), name
            views = len(part.cameras)
            images = batch.observation.images_BVCHW[here]
            assert torch.equal(images[:, :views], own.observation.images_BVCHW)
            assert not images[:, views:].any()
            assert tuple(batch.observation.instruction[k] for k in here) == own.observation.instruction


def test_masks_say_what_each_source_has(mixed):
    batch = mixed.train_batch(3, 64)
    source = source_of(mixed, batch.index_B.numpy())
    dims = {0: 3, 1: 3, 2: 10, 3: 3, 4: 0}
    for s, count in dims.items():
        here = source == s
        assert batch.observation.action_dims_BA[here].sum(1).unique().tolist() == [count]
        assert not batch.action_mask_BHA[here][..., count:].any()
        assert bool(batch.action_mask_BHA[here].any()) == (count > 0)
        assert batch.observation.embodiment_B[here].unique().tolist() == [{0: 0, 1: 0, 2: 1, 3: 2, 4: 3}[s]]
        assert batch.frame_mask_BF[here][:, 0].all()
    assert not batch.actions_BHA[~batch.action_mask_BHA].any()


def test_one_stride_is_one_duration_at_any_rate(mixed, world):
    # 0.2 s are 2 frames at 10 Hz and 6 at 30 Hz
    for name, frames in (("toy", 2), ("arm", 6), ("video", 6)):
        part = mixed.sources[name]
        assert part.card().frame_gap == frames
        images = part.batch([5]).frames_BFVCHW[0, :, 0]
        assert torch.equal(images[1], part.batch([5 + frames]).frames_BFVCHW[0, 0, 0])
    with pytest.raises(ConfigError, match=r"stride_seconds=0\.02 is 0\.20 frames at 10 Hz"):
        mixture(world, names=("toy", "arm"), stride_seconds=0.02)


def test_statistics_are_those_of_each_robot_over_all_its_sources(mixed, world):
    cards = mixed.cards()
    assert list(cards) == ["toy", "arm", "joints", "video"]
    rows = [
        episode.actions
        for name in ("toy", "toy_again")
        for k, episode in enumerate(world[1][name])
        if k in mixed.sources[name].training_episodes
    ]
    assert cards["toy"].statistics["action"] == Statistics.of(np.concatenate(rows))
    assert cards["toy"].instructions == ("toy 0", "toy 1")
    # who has fewer cameras acts as it was trained, with black pictures behind its own
    assert {name: (len(card.cameras), card.views) for name, card in cards.items()} == {
        "toy": (2, 2),
        "arm": (1, 2),
        "joints": (2, 2),
        "video": (1, 2),
    }
    sample = mixed.sources["arm"].batch([4])
    policy = TrainedPolicy(torch.nn.Linear(1, 1), cards["arm"], steps=1, identity="x")  # type: ignore[arg-type]
    episode = world[1]["arm"][0]
    shown = {"images": {"front": episode.images["front"][4]}, "state": episode.state[4], "instruction": "arm 0"}
    seen = policy.observe(shown)
    assert torch.equal(seen.images_BVCHW[:, :1], sample.observation.images_BVCHW)
    assert not seen.images_BVCHW[:, 1:].any()
    torch.testing.assert_close(seen.state_BS, sample.observation.state_BS)
    assert Cards.from_dict(json.loads(json.dumps(cards.to_dict()))) == cards


def test_decoding_what_was_encoded_gives_each_robot_its_own_actions(mixed, world):
    cards = mixed.cards()
    for name in ("toy", "toy_again", "arm", "joints"):
        part, card = mixed.sources[name], cards[mixed.sources[name].embodiment]
        index = np.arange(part.frame_count)
        batch = part.batch(index)
        states = np.concatenate([episode.state for episode in world[1][name]])
        truth = np.concatenate([episode.actions for episode in world[1][name]])
        found = card.robot_actions(batch.actions_BHA.numpy(), states)
        real = batch.action_mask_BHA.any(dim=2).numpy()
        np.testing.assert_allclose(found[real[:, 0], 0], truth[real[:, 0]], atol=2e-5)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("world_size", [1, 2])
def test_workers_ranks_and_restarts_give_one_global_order(world, mixed, workers, world_size):
    expected = [mixed.train_batch(k, 8) for k in range(6)]
    start = 2 + world_size
    for rank in range(world_size):
        stream = mixture(world).loader(start_step=start, batch_size=8, rank=rank, world=world_size, workers=workers)
        for k in range(start, 6):
            share = 8 // world_size
            mine = next(stream)
            whole = expected[k]
            begin = rank * share
            assert torch.equal(mine.index_B, whole.index_B[begin : begin + share])
            assert torch.equal(mine.actions_BHA, whole.actions_BHA[begin : begin + share])
            assert torch.equal(mine.frames_BFVCHW, whole.frames_BFVCHW[begin : begin + share])
            assert torch.equal(mine.observation.images_BVCHW, whole.observation.images_BVCHW[begin : begin + share])
        stream.close()


def test_validation_shows_the_held_out_samples_of_all_sources_once(mixed):
    seen = torch.cat([batch.index_B for batch in mixed.validation_batches(batch_size=16)])
    held = sum(len(part.validation_samples) for part in mixed.sources.values())
    assert len(seen) == len(seen.unique()) == held
    first = next(mixed.validation_batches(batch_size=16))
    same(first, next(mixed.validation_batches(batch_size=16)))
    same(mixed.batch(first.index_B), first)
    with pytest.raises(DataError, match="are numbered"):
        mixed.batch([10**6])


@pytest.mark.parametrize(("alpha", "expected"), [(None, [1, 1]), (0.0, [1, 1]), (1.0, [2, 1]), (0.5, [2**0.5, 1])])
def test_weights_by_size(world, tmp_path, alpha, expected):
    write(tmp_path / "big", card("toy", ("top",)), fps=10, seed=1)
    own = {"root": tmp_path / "big", "validation_fraction": 0.0}
    small = partial(flat.dataset, **settings(tmp_path, "toy", **own, max_episodes_per_task=1, embodiment="b"))
    big = partial(flat.dataset, **settings(tmp_path, "toy", **own))
    made = Mixture(sources={"big": big, "small": small}, alpha=alpha)
    made.prepare()
    ratio = (len(made.sources["big"]) / len(made.sources["small"])) ** (alpha or 0.0)
    assert made.counts[0] / made.counts[1] == pytest.approx(ratio, rel=1e-3)
    assert expected[0] / expected[1] == pytest.approx(ratio, rel=0.2)


WRONG = {
    "no source": ({}, {}, "at least one source"),
    "a weight too few": ({"weights": {"toy": 1.0}}, {}, "one number for each"),
    "a weight of nothing": ({"weights": {"toy": 1.0, "arm": 0.0}}, {}, "positive numbers"),
    "two horizons": ({}, {"horizon": 4}, "share one horizon"),
    "other views of the LAM": ({}, {"lam_cameras": []}, "number of lam.cameras"),
    "one robot, two representations": (
        {},
        {"embodiment": "toy", "actions": None},
        "embodiment 'toy' and have different",
    ),
}


@pytest.mark.parametrize(("given", "second", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_stand_in_one_batch_is_refused(world, given, second, message):
    sources = {
        "toy": partial(flat.dataset, **settings(world[0], "toy")),
        "arm": partial(flat.dataset, **settings(world[0], "arm", **second)),
    }
    with pytest.raises(ConfigError, match=message):
        Mixture(sources={} if message.endswith("source") else sources, **given).prepare()


def test_all_missing_roots_are_named_at_once(tmp_path, capsys):
    (tmp_path / "viola").mkdir()
    code = main(["check", "data=mixture/alam", f"data.root={tmp_path}"])
    out = capsys.readouterr().out
    assert code == 2
    for name in ("fractal", "calvin", "toto"):
        assert f"== data.sources.{name}\nerror: " in out
    said = r"2 of 2 sources cannot be used:\n  data\.sources\.a: .*\n  data\.sources\.b: "
    with pytest.raises(DataError, match=said):
        Mixture(sources={k: partial(flat.dataset, **settings(tmp_path, "toy", root=tmp_path / k)) for k in "ab"})


def test_codes_of_some_sources_are_masked_in_the_others(world, monkeypatch):
    codes = LatentCodes(root="labels", queries=2)
    monkeypatch.setattr(LatentCodes, "read", lambda self, source: np.full((sum(LENGTHS), 2), 7))
    made = Mixture(
        sources={
            "toy": partial(flat.dataset, **settings(world[0], "toy", codes=codes)),
            "arm": partial(flat.dataset, **settings(world[0], "arm")),
        }
    )
    batch = made.train_batch(0, 16)
    assert batch.codes_BT is not None
    assert batch.codes_BT[batch.observation.embodiment_B == 0].unique().tolist() == [7]
    assert batch.codes_BT[batch.observation.embodiment_B == 1].unique().tolist() == [-1]
