"""Batches say exactly what the dataset says: right frames, right actions, masks at the episode's end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lara.config.build import build
from lara.data import dataset as module
from lara.data.actions.normalize import Statistics
from lara.data.dataset import Dataset
from lara.data.frames.encode import ImageStorage
from lara.data.lam_inputs.sampling import Clip
from lara.errors import ConfigError, DataError
from tests.data import flat, worlds

LENGTHS = (5, 9, 7, 6, 8, 3, 12, 4)
H = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("episodes") / "set"
    return root, worlds.write(root, LENGTHS)


def data(made, **changes) -> Dataset:
    settings = {
        "root": made[0],
        "horizon": H,
        "cameras": ["top"],
        "lam_cameras": ["top"],
        "image_size": 16,
        "action_dim_max": 5,
        "state_dim_max": 4,
        "embodiment": "toy",
        "slot": 2,
        "validation_fraction": 0.25,
        "action_normalizer": "identity",
        "state_normalizer": "identity",
        "cache_workers": 0,
    }
    return flat.dataset(**{**settings, **changes})


def places(index) -> list[tuple[int, int]]:
    """Frame numbers -> (episode, t)."""
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    episodes = np.searchsorted(starts, np.asarray(index), side="right") - 1
    return [(int(e), int(i - starts[e])) for e, i in zip(episodes, index, strict=True)]


def seen(images) -> list[tuple[int, int, int]]:
    return [worlds.read_picture(image.permute(1, 2, 0).numpy()) for image in images]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("gap", [None, 2, 6])
def test_every_sample_of_the_dataset(made, cache, gap):
    one = data(made, cache=cache, frame_gap=gap, cameras=["wrist", "top"], lam_cameras=["top"], lam_image_size=8)
    everything = np.random.default_rng(0).permutation(sum(LENGTHS))
    batch = one.batch(everything)
    where = places(everything)
    gap = gap or H
    assert batch.index_B.tolist() == everything.tolist()
    assert batch.observation.instruction == tuple(made[1][e].task for e, _ in where)
    assert batch.observation.embodiment_B.tolist() == [2] * len(where)
    assert batch.observation.action_dims_BA.tolist() == [[True] * 3 + [False] * 2] * len(where)
    assert batch.observation.images_BVCHW.shape == (len(where), 2, 3, 16, 16)
    assert seen(batch.observation.images_BVCHW[:, 0]) == [(e, t, 1) for e, t in where]
    assert seen(batch.observation.images_BVCHW[:, 1]) == [(e, t, 0) for e, t in where]
    assert batch.frames_BFVCHW.shape == (len(where), 2, 1, 3, 8, 8)
    assert seen(batch.frames_BFVCHW[:, 0, 0]) == [(e, t, 0) for e, t in where]
    for i, (e, t) in enumerate(where):
        episode, length = made[1][e], LENGTHS[e]
        count = min(H, length - t)
        np.testing.assert_array_equal(batch.actions_BHA[i, :count, :3], episode.actions[t : t + count])
        assert not batch.actions_BHA[i, count:].any()
        assert not batch.actions_BHA[i, :, 3:].any()
        expected = np.zeros((H, 5), bool)
        expected[:count, :3] = True
        np.testing.assert_array_equal(batch.action_mask_BHA[i], expected)
        np.testing.assert_array_equal(batch.observation.state_BS[i], [*episode.state[t], 0, 0])
        assert batch.frame_mask_BF[i].tolist() == [True, t + gap < length]
        if t + gap < length:
            assert seen(batch.frames_BFVCHW[i, 1]) == [(e, t + gap, 0)]
        else:
            assert not batch.frames_BFVCHW[i, 1].any()


@pytest.mark.parametrize(("count", "gap"), [(5, 1), (3, 2)])
def test_a_clip_holds_the_frames_that_it_names_and_masks_those_past_the_end(made, count, gap):
    one = data(made, lam_cameras=["wrist", "top"], frames=Clip(count=count, gap=gap))
    batch = one.batch(np.arange(sum(LENGTHS)))
    assert batch.frames_BFVCHW.shape[1:3] == (count, 2)
    for i, (e, t) in enumerate(places(np.arange(sum(LENGTHS)))):
        when = [t + gap * k for k in range(count)]
        assert batch.frame_mask_BF[i].tolist() == [w < LENGTHS[e] for w in when]
        real = [w for w in when if w < LENGTHS[e]]
        for view, camera in enumerate((1, 0)):
            assert seen(batch.frames_BFVCHW[i, : len(real), view]) == [(e, w, camera) for w in real]
        assert not batch.frames_BFVCHW[i, len(real) :].any()


def test_cache_and_video_give_the_same_bytes(made):
    a, b = data(made, cache=True), data(made, cache=False)
    for step in range(3):
        same(a.train_batch(step, 8), b.train_batch(step, 8))


def test_png_datasets_train_too(tmp_path):
    worlds.write(tmp_path / "set", LENGTHS, storage=ImageStorage())
    batch = data((tmp_path / "set", None)).train_batch(0, 6)
    assert seen(batch.observation.images_BVCHW[:, 0]) == [(e, t, 0) for e, t in places(batch.index_B.numpy())]


def same(a, b) -> None:
    for name in ("actions_BHA", "action_mask_BHA", "frames_BFVCHW", "frame_mask_BF", "index_B"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    for name in ("images_BVCHW", "state_BS", "embodiment_B", "action_dims_BA"):
        assert torch.equal(getattr(a.observation, name), getattr(b.observation, name)), name
    assert a.observation.instruction == b.observation.instruction


def test_statistics_are_taken_once_and_not_for_every_batch(made, monkeypatch):
    taken, real = [], module.fit
    monkeypatch.setattr(module, "fit", lambda *args, **more: taken.append(1) or real(*args, **more))
    one = data(made)
    for step in range(3):
        one.train_batch(step, 4)
    one.batch([0])
    list(one.validation_batches(batch_size=4))
    _ = len(one), one.card(), one.notes(), one.summary()
    assert taken == [1]


@pytest.mark.parametrize("cameras", [[], ["top"]])
@pytest.mark.parametrize("lam_cameras", [[], ["top", "wrist"]])
def test_views_and_frames_may_be_absent(made, cameras, lam_cameras):
    batch = data(made, cameras=cameras, lam_cameras=lam_cameras).train_batch(0, 3)
    assert batch.observation.images_BVCHW.shape == (3, len(cameras), 3, 16, 16)
    frames = 2 if lam_cameras else 0
    assert batch.frames_BFVCHW.shape == (3, frames, len(lam_cameras), 3, 16, 16)
    assert batch.frame_mask_BF.shape == (3, frames)


def test_equal_views_share_memory(made):
    batch = data(made).train_batch(0, 3)
    storage = batch.frames_BFVCHW.untyped_storage().data_ptr()
    assert batch.observation.images_BVCHW.untyped_storage().data_ptr() == storage
    assert torch.equal(batch.observation.images_BVCHW, batch.frames_BFVCHW[:, 0])


def test_an_epoch_shows_every_training_sample_once_and_no_other(made):
    one = data(made, cameras=[], lam_cameras=[])
    held = {i for batch in one.validation_batches(batch_size=5) for i in batch.index_B.tolist()}
    n = len(one)
    assert n + len(held) == sum(LENGTHS)
    stream = np.concatenate([one.train_batch(step, 7).index_B for step in range(-(-3 * n // 7))])
    for epoch in range(3):
        shown = stream[epoch * n : (epoch + 1) * n]
        assert len(set(shown)) == n
        assert not set(shown) & held
    assert {e for e, _ in places(sorted(held))} == set(one.validation_episodes)


def test_ranks_share_one_global_batch(made):
    one = data(made, random_shift=2)
    whole = one.train_batch(3, 12)
    for world in (1, 2, 3, 4):
        parts = [one.train_batch(3, 12, rank=r, world=world) for r in range(world)]
        assert torch.equal(torch.cat([p.index_B for p in parts]), whole.index_B)
        assert torch.equal(torch.cat([p.frames_BFVCHW for p in parts]), whole.frames_BFVCHW)
    with pytest.raises(ConfigError, match="must divide"):
        one.train_batch(0, 12, rank=0, world=5)


@pytest.mark.parametrize("cache", [True, False])
def test_loader_is_the_same_for_every_number_of_workers_and_every_restart(made, cache):
    one = data(made, random_shift=1, cache=cache)
    expected = [one.train_batch(step, 4) for step in range(2, 8)]
    for workers in (0, 2):
        for start in (2, 5):
            stream = data(made, random_shift=1, cache=cache).loader(
                start_step=start, batch_size=4, rank=0, world=1, workers=workers
            )
            for step in range(start, 8):
                same(next(stream), expected[step - 2])
            stream.close()


def test_validation_is_the_same_at_every_call(made):
    one = data(made, random_shift=2)
    first = list(one.validation_batches(batch_size=4, limit=3))
    assert [len(b) for b in first] == [4, 4, 4]
    for a, b in zip(first, data(made).validation_batches(batch_size=4, limit=3), strict=True):  # nor augmented
        same(a, b)
    assert list(data(made, validation_fraction=0.0).validation_batches(batch_size=4)) == []


def test_shift_is_the_same_for_all_frames_of_a_sample_and_another_at_each_step(made):
    plain, moved = data(made), data(made, random_shift=3)
    n = len(plain)
    distinct = set()
    for step in range(4):
        a, b = plain.train_batch(step, 6), moved.train_batch(step, 6)
        assert torch.equal(a.index_B, b.index_B)
        for i in range(6):
            found = [
                (dy, dx)
                for dy in range(-3, 4)
                for dx in range(-3, 4)
                if all(torch.equal(moved_by(a.frames_BFVCHW[i, f], dy, dx), b.frames_BFVCHW[i, f]) for f in (0, 1))
            ]
            assert len(found) == 1
            distinct.add(found[0])
    assert len(distinct) > 8
    same(moved.train_batch(0, 6), moved.train_batch(0, 6))
    assert n == len(moved)


def moved_by(image, dy, dx):
    lines = torch.arange(image.shape[-1])
    rows, columns = (lines - dy).clamp(0, len(lines) - 1), (lines - dx).clamp(0, len(lines) - 1)
    return image[..., rows, :][..., columns]


def test_statistics_come_from_training_episodes_only(made):
    one = data(made, cameras=[], lam_cameras=[], action_normalizer="mean_std", state_normalizer="min_max")
    card = one.card()
    train = [made[1][k] for k in one.training_episodes]
    assert 0 < len(train) < len(LENGTHS)
    actions = np.concatenate([e.actions for e in train])
    assert card.statistics["action"] == Statistics.of(actions)
    assert card.statistics["state"] == Statistics.of(np.concatenate([e.state for e in train]))
    assert card.statistics["action"] != Statistics.of(np.concatenate([e.actions for e in made[1]]))
    batch = one.batch(one.training_samples)
    first = batch.actions_BHA[:, 0, :3].numpy()
    np.testing.assert_allclose(first.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(first.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(card.normalizer_of_actions().unnormalize(first), actions, atol=1e-5)
    assert card.instructions == tuple(sorted(worlds.TASKS))
    assert (card.horizon, card.frame_gap, card.slot, card.embodiment) == (H, H, 2, "toy")


def test_statistics_from_outside_are_used_also_through_a_configuration(made):
    given = {
        "action": Statistics.of(np.array([[-2.0] * 3, [6.0] * 3])),
        "state": Statistics.of(np.array([[0.0] * 2, [1.0] * 2])),
    }
    config = {
        "_target_": "lara.data.dataset.Dataset",
        "root": str(made[0]),
        "horizon": H,
        "cameras": [],
        "image_size": 16,
        "action_dim_max": 3,
        "state_dim_max": 2,
        "embodiment": "toy",
        "action_normalizer": "min_max",
    }
    for one in (
        data(made, cameras=[], lam_cameras=[], statistics=given, action_normalizer="min_max"),
        build(config, "data", statistics=given),
        build(config, "data", statistics={name: value.to_dict() for name, value in given.items()}),
    ):
        assert one.card().statistics == given
        e, t = places([9])[0]
        expected = (made[1][e].actions[t] - 2) / 4
        np.testing.assert_allclose(one.batch([9]).actions_BHA[0, 0, :3], expected, atol=1e-6)
    with pytest.raises(ConfigError, match="describe 2"):
        data(made, statistics={**given, "action": given["state"]}).prepare()
    with pytest.raises(ConfigError, match="action and state"):
        data(made, statistics={"action": given["action"]}).prepare()


def test_max_episodes_per_task_leaves_validation_alone(made):
    small, all_ = data(made, max_episodes_per_task=1), data(made)
    small.prepare()
    all_.prepare()
    assert small.validation_episodes == all_.validation_episodes
    assert len(small.training_episodes) == len(worlds.TASKS)
    assert set(small.training_episodes) < set(all_.training_episodes)


def test_prepare_validates_before_anything_else(tmp_path):
    worlds.write(tmp_path / "set")
    video = next(p for p in (tmp_path / "set").rglob("*.mp4") if "top" in str(p))
    video.write_bytes(video.read_bytes()[:-50])
    with pytest.raises(DataError, match=video.name):
        data((tmp_path / "set", None)).prepare()
    # what nobody asks for is not opened, and a finished cache of exactly these files needs no second look
    data((tmp_path / "set", None), cameras=[], lam_cameras=[]).prepare()


def test_a_video_that_changes_after_it_was_cached_is_looked_at_again(tmp_path):
    worlds.write(tmp_path / "set")
    data((tmp_path / "set", None)).prepare()
    video = next(p for p in (tmp_path / "set").rglob("*.mp4") if "top" in str(p))
    video.write_bytes(video.read_bytes()[:-50])
    with pytest.raises(DataError, match=video.name):
        data((tmp_path / "set", None)).prepare()


WRONG = {
    "unknown camera": ({"cameras": ["tpo"]}, "top"),
    "narrow actions": ({"action_dim_max": 2}, "action_dim_max is 2"),
    "narrow state": ({"state_dim_max": 1}, "state_dim_max is 1"),
    "no horizon": ({"horizon": 0}, "positive horizon"),
    "negative shift": ({"random_shift": -1}, "got -1"),
    "another robot": ({"robot": worlds.robot(action=2)}, "the robot card 2"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_do_not_fit_are_refused(made, changes, message):
    with pytest.raises(ConfigError, match=message):
        data(made, **changes)


def test_frames_outside_the_dataset_are_refused(made):
    one = data(made)
    for wrong in ([-1], [sum(LENGTHS)], [[0]]):
        with pytest.raises(DataError, match="frames are numbered"):
            one.batch(wrong)


def test_a_dataset_without_a_card_gets_one_that_says_what_is_unknown(tmp_path):
    worlds.write(tmp_path / "set", LENGTHS)
    (tmp_path / "set/meta/lara.json").unlink()
    one = data((tmp_path / "set", None))
    assert one.robot.action.control == "unknown"
    assert any("data.robot.control" in line for line in one.assumed)
    said = data((tmp_path / "set", None), robot={"control": "delta", "rotation": "none", "gripper": "none"}).robot
    assert said.action.names == worlds.robot().action.names
    assert said.action.control == "delta"
    for card in (worlds.robot(), worlds.robot().to_dict()):
        assert data((tmp_path / "set", None), robot=card).card().robot == worlds.robot()


def test_video_without_a_robot_has_no_real_actions(tmp_path):
    worlds.write(tmp_path / "set", LENGTHS, action=0, state=0)
    batch = data((tmp_path / "set", None)).train_batch(0, 5)
    assert not batch.action_mask_BHA.any()
    assert not batch.actions_BHA.any()
    assert batch.frame_mask_BF[:, 0].all()
