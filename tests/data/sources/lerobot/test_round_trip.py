"""What is staged and assembled comes back: numbers exactly, frames as the codec left them, and the same bytes twice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.data.robot import derived_card
from lara.data.sources.lerobot.read import open_dataset, validate
from lara.data.sources.lerobot.staged_episode import read_staged, stage_episode
from lara.data.sources.lerobot.write import assemble
from lara.errors import ConfigError, DataError, StoreError
from tests.data import worlds

STORAGES = {
    "av1": VideoStorage(),
    "h264": VideoStorage(codec="h264", gop=10),
    "png": ImageStorage(),
}


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES.keys())
@pytest.mark.parametrize("limits", [{}, {"data_file_mb": 0.0005, "video_file_mb": 0.003}], ids=["one file", "several"])
def test_round_trip(tmp_path, storage, limits):
    episodes = worlds.write(tmp_path / "set", storage=storage, **limits)
    source = open_dataset(tmp_path / "set")
    validate(source, decode=True)
    assert len(source) == len(episodes)
    assert source.fps == worlds.FPS
    assert source.robot == worlds.robot()
    assert source.cameras == worlds.CAMERAS
    files = {row.data for row in source.episodes} | {row.videos.get("top") for row in source.episodes}
    assert (len(files) > 2) == bool(limits)
    lossy = isinstance(storage, VideoStorage)
    rng = np.random.default_rng(0)
    for k, episode in enumerate(episodes):
        arrays = source.arrays(k)
        np.testing.assert_array_equal(arrays.state, episode.state)
        np.testing.assert_array_equal(arrays.actions, episode.actions)
        assert {source.tasks[t] for t in arrays.task_index} == {episode.task}
        assert dict(source.episodes[k].info) == dict(episode.info)
        for c, camera in enumerate(worlds.CAMERAS):
            asked = rng.permutation(np.repeat(np.arange(len(episode)), 2))[: len(episode) + 2]
            got = source.frames(k, camera, asked)
            assert [worlds.read_picture(image) for image in got] == [(k, t, c) for t in asked]
            if not lossy:
                np.testing.assert_array_equal(got, episode.images[camera][asked])


@pytest.mark.parametrize("dims", [(0, 0), (1, 1), (0, 2), (4, 1)])
@pytest.mark.parametrize("cameras", [(), ("top",)])
def test_robots_without_state_actions_or_cameras(tmp_path, dims, cameras):
    action, state = dims
    episodes = worlds.write(tmp_path / "set", (3, 4), cameras=cameras, action=action, state=state)
    source = open_dataset(tmp_path / "set")
    validate(source, decode=True)
    for k, episode in enumerate(episodes):
        np.testing.assert_array_equal(source.arrays(k).actions, episode.actions)
        np.testing.assert_array_equal(source.arrays(k).state, episode.state)


def test_assembling_again_gives_the_same_bytes(tmp_path):
    storage = VideoStorage()
    worlds.write(tmp_path / "a", storage=storage)
    folders = sorted((tmp_path / "staging-a").iterdir())
    assemble(folders, tmp_path / "b", robot=worlds.robot(), fps=worlds.FPS, storage=storage)

    def digests(root):
        files = sorted(p for p in root.rglob("*") if p.is_file())
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b")
    assert set(first) == {
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "meta/lara.json",
        "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet",
        "videos/observation.images.top/chunk-000/file-000.mp4",
        "videos/observation.images.wrist/chunk-000/file-000.mp4",
    }


def test_the_order_given_is_the_order_of_episodes(tmp_path):
    worlds.write(tmp_path / "a")
    folders = sorted((tmp_path / "staging-a").iterdir(), reverse=True)
    assemble(folders, tmp_path / "b", robot=worlds.robot(), fps=worlds.FPS, storage=VideoStorage(codec="h264"))
    source = open_dataset(tmp_path / "b")
    assert [row.info["seed"] for row in source.episodes] == [3, 2, 1, 0]
    assert [worlds.read_picture(source.frames(k, "top", [2])[0])[:2] for k in range(4)] == [
        (3 - k, 2) for k in range(4)
    ]


def test_statistics_are_those_of_the_data(tmp_path):
    episodes = worlds.write(tmp_path / "set", storage=ImageStorage())
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    actions = np.concatenate([e.actions for e in episodes]).astype(np.float64)
    pixels = np.concatenate([e.images["top"] for e in episodes]).astype(np.float64) / 255
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0))
    np.testing.assert_allclose(stats["action"]["q01"], np.quantile(actions, 0.01, axis=0))
    assert stats["action"]["count"] == [len(actions)]
    image = stats["observation.images.top"]
    assert np.shape(image["q99"]) == (3, 1, 1)
    flat = pixels.reshape(-1, 3)
    for name, value in {"mean": flat.mean(0), "std": flat.std(0), "min": flat.min(0), "max": flat.max(0)}.items():
        np.testing.assert_allclose(np.ravel(image[name]), value, atol=1e-12)
    expected = np.quantile(flat, 0.9, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(np.ravel(image["q90"]), expected, atol=1e-12)
    row = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    np.testing.assert_allclose(row["stats/action/std"], episodes[1].actions.astype(np.float64).std(0))


def test_staging_is_whole_or_absent(tmp_path, monkeypatch):
    episode = worlds.episode(0, 4)
    folder = tmp_path / "stage" / "000"

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(StoreError, match="No space"):
            stage_episode(folder, episode, fps=10, storage=VideoStorage(codec="h264"))
    assert list((tmp_path / "stage").iterdir()) == []
    stage_episode(folder, episode, fps=10, storage=VideoStorage(codec="h264"))
    with pytest.raises(StoreError, match="exists"):
        stage_episode(folder, episode, fps=10, storage=VideoStorage(codec="h264"))
    staged = read_staged(folder)
    assert (staged.length, staged.fps, staged.task, staged.info["seed"]) == (4, 10.0, episode.task, 0)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] if path.name != "episode.json" else whole[: len(whole) // 2])
        with pytest.raises(DataError, match=path.name):
            read_staged(folder)
        path.write_bytes(whole)
    os.remove(folder / "top.mp4")
    with pytest.raises(DataError, match=r"top\.mp4"):
        read_staged(folder)


def test_episodes_that_do_not_belong_together_are_refused(tmp_path):
    storage = VideoStorage(codec="h264")
    odd = {
        "fps": ({}, {"fps": 20.0}, {}),
        "storage": ({}, {"storage": VideoStorage(codec="h264", gop=5)}, {}),
        "camera names": ({"cameras": ("top",)}, {}, {}),
        "image shapes": ({"size": 64}, {}, {}),
        "action dimensions": ({"action": 2}, {}, {}),
        "state dimensions": ({"state": 5}, {}, {}),
    }
    good = tmp_path / "good"
    stage_episode(good, worlds.episode(0, 3), fps=worlds.FPS, storage=storage)
    settings = {"robot": worlds.robot(), "fps": worlds.FPS, "storage": storage}
    for name, (episode, stage, _) in odd.items():
        bad = tmp_path / name
        stage_episode(bad, worlds.episode(1, 3, **episode), **{"fps": worlds.FPS, "storage": storage, **stage})
        with pytest.raises(DataError, match=name):
            assemble([good, bad], tmp_path / "set", **settings)
    with pytest.raises(DataError, match="action rate"):
        assemble([good], tmp_path / "set", **{**settings, "robot": worlds.robot(fps=5.0)})
    with pytest.raises(DataError, match="at least one"):
        assemble([], tmp_path / "set", **settings)
    with pytest.raises(ConfigError):
        assemble([good], tmp_path / "set", data_file_mb=0, **settings)
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.glob(".tmp-*"))
    assemble([good], tmp_path / "set", **settings)
    with pytest.raises(StoreError, match="exists"):
        assemble([good], tmp_path / "set", **settings)


def test_a_dataset_of_another_maker_gets_its_card_from_what_the_user_says(tmp_path):
    episodes = worlds.write(tmp_path / "set")
    (tmp_path / "set/meta/lara.json").unlink()
    source = open_dataset(tmp_path / "set")
    assert source.robot is None
    card, _ = derived_card(source, {"control": "absolute", "rotation": "none", "gripper": "none"})
    assert card.action.names == ("a0", "a1", "a2")
    assert card.observation.state == ("s0", "s1")
    np.testing.assert_array_equal(card.action.low, np.concatenate([e.actions for e in episodes]).min(0))


def test_a_source_survives_pickle(tmp_path):
    worlds.write(tmp_path / "set")
    source = open_dataset(tmp_path / "set")
    source.frames(0, "top", [0])
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.frames(1, "wrist", [3]), source.frames(1, "wrist", [3]))
