"""A folder of videos is a dataset like any other, whose actions and state have no dimensions."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch

from lara.data.card import DataCard
from lara.data.check.examine import examine
from lara.data.dataset import Dataset
from lara.data.frames.encode import ImageStorage, VideoStorage, encode_video, require_av
from lara.data.lam_inputs.sampling import Triplet
from lara.data.sources.fingerprints import fingerprints
from lara.data.sources.lerobot.read import open_dataset, validate
from lara.data.sources.numbers import Numbers
from lara.data.sources.videos import INSTRUCTIONS, open_source
from lara.errors import ConfigError, DataError
from lara.specs import ActionSpec, ObservationSpec
from tests.data import flat, worlds
from tests.data.test_dataset import same

LENGTHS = (5, 9, 7, 6, 8, 3, 12, 4)
H = 4


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A LeRobotDataset with one mp4 per episode, and a folder of the very same files."""
    root = tmp_path_factory.mktemp("videos")
    worlds.write(root / "set", LENGTHS, cameras=("top",), video_file_mb=1e-6)
    source = open_dataset(root / "set")
    assert len(source.files("top")) == len(LENGTHS)
    texts = {}
    for row in source.episodes:
        name = f"{'ab'[row.index > 2]}/{row.index:02d}.mp4"
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.videos["top"], root / "folder" / name)
        texts[name] = row.tasks[0]
    (root / "folder" / INSTRUCTIONS).write_text(json.dumps(texts))
    return root / "set", root / "folder"


def data(root, camera="video", **changes) -> Dataset:
    settings = {
        "root": root,
        "horizon": H,
        "cameras": [camera],
        "lam_cameras": [camera],
        "image_size": 16,
        "action_dim_max": 5,
        "state_dim_max": 4,
        "embodiment": "video",
        "slot": 2,
        "validation_fraction": 0.25,
        "cache_workers": 0,
    }
    return flat.dataset(**{**settings, **changes})


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("frames", [None, Triplet(low=1, high=3)])
def test_the_same_files_give_the_same_frames_words_and_masks_as_in_a_dataset(twins, cache, frames):
    robot, video = data(twins[0], "top", cache=cache, frames=frames), data(twins[1], cache=cache, frames=frames)
    everything = np.random.default_rng(0).permutation(sum(LENGTHS))
    a, b = robot.batch(everything), video.batch(everything)
    assert torch.equal(a.observation.images_BVCHW, b.observation.images_BVCHW)
    assert torch.equal(a.frames_BFVCHW, b.frames_BFVCHW)
    assert torch.equal(a.frame_mask_BF, b.frame_mask_BF)
    assert a.observation.instruction == b.observation.instruction
    assert a.action_mask_BHA.any()
    assert a.observation.action_dims_BA.any()


def test_no_action_is_real_and_no_number_is_anything_but_padding(twins):
    batch = data(twins[1]).train_batch(0, 6)
    assert batch.actions_BHA.shape == batch.action_mask_BHA.shape == (6, H, 5)
    assert batch.observation.state_BS.shape == (6, 4)
    for tensor in (batch.actions_BHA, batch.action_mask_BHA, batch.observation.action_dims_BA):
        assert not tensor.any()
    assert not batch.observation.state_BS.any()
    assert batch.observation.embodiment_B.tolist() == [2] * 6


@pytest.mark.parametrize("mode", ["quantile", "min_max", "mean_std", "identity"])
def test_the_card_says_that_there_is_nothing_and_survives_the_way_to_disk(twins, mode):
    card = data(twins[1], action_normalizer=mode, state_normalizer=mode).card()
    assert (card.robot.name, card.robot.action.names, card.robot.observation.state) == ("video", (), ())
    assert (card.statistics["action"].dim, card.statistics["state"].dim) == (0, 0)
    assert card.statistics["action"].count == len(data(twins[1]))
    assert DataCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert not card.action_dims().any()
    assert card.padded_states(np.zeros((3, 0), np.float32)).shape == (3, 4)


@pytest.mark.parametrize("cache", [True, False])
def test_order_workers_and_restarts_are_bit_equal(twins, cache):
    one = data(twins[1], random_shift=1, cache=cache)
    expected = [one.train_batch(step, 4) for step in range(2, 6)]
    for workers, start in ((0, 2), (2, 4)):
        stream = data(twins[1], random_shift=1, cache=cache).loader(
            start_step=start, batch_size=4, rank=0, world=1, workers=workers
        )
        for step in range(start, 6):
            same(next(stream), expected[step - 2])
        stream.close()


def test_check_tells_who_training_holds_out(twins):
    for root, camera in ((twins[1], "video"), (twins[0], "top")):
        one = data(root, camera, cache=False)
        one.prepare()
        found = examine(
            one.source,
            cameras=(),
            decode=False,
            validation_fraction=0.25,
            seed=0,
            max_episodes_per_task=None,
            modes=("quantile", "quantile"),
        )
        frames = {share.task: share.frames[1] for share in found.shares}
        held = dict.fromkeys(one.source.tasks, 0)
        for k in one.validation_episodes:
            held[one.source.episodes[k].tasks[0]] += one.source.episodes[k].length
        assert frames == held


def test_whole_files_are_held_out_by_their_content_wherever_they_stand(twins, tmp_path):
    def held_out(folder, **changes):
        one = data(folder, **changes)
        one.prepare()
        files = one.source.files("video")
        assert sorted((*one.training_episodes, *one.validation_episodes)) == list(range(len(files)))
        held = {files[k].read_bytes() for k in one.validation_episodes}
        seen = {int(i) for batch in one.validation_batches(batch_size=5) for i in batch.index_B}
        assert seen == set(one._numbers.frames_of(one.validation_episodes).tolist())
        return held

    before = held_out(twins[1])
    assert len(before) == 2  # one of each task
    assert held_out(twins[1], cache=False) == before
    renamed = tmp_path / "renamed"
    texts = json.loads((twins[1] / INSTRUCTIONS).read_text())
    renamed.mkdir()
    for k, name in enumerate(reversed(texts)):
        shutil.copy(twins[1] / name, renamed / f"{k}.mp4")
    (renamed / INSTRUCTIONS).write_text(json.dumps({f"{k}.mp4": texts[n] for k, n in enumerate(reversed(texts))}))
    assert held_out(renamed) == before
    shutil.copy(renamed / "0.mp4", renamed / "0again.mp4")  # a copy stays on its original's side
    (renamed / INSTRUCTIONS).unlink()
    source = open_source(renamed)
    names = fingerprints(source, Numbers.of(source), folder=None)
    assert names[0] == names[1]
    assert len(set(names)) == len(LENGTHS)


def test_the_source_is_what_validation_asks_of_a_dataset(twins):
    validate(open_source(twins[1]), decode=True)
    robot, video = open_source(twins[0]), open_source(twins[1])
    for k in range(len(robot.episodes)):
        a, b = robot.arrays(k), video.arrays(k)
        np.testing.assert_allclose(a.timestamp, b.timestamp, rtol=1e-6)
        assert robot.tasks[a.task_index[0]] == video.tasks[b.task_index[0]]


def _video(path, ticks):
    """Frames shown at these hundredths of a second."""
    av = require_av("writing video")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=10)
        stream.width = stream.height = worlds.SIZE
        stream.pix_fmt, stream.options = "yuv420p", {"bf": "0"}
        stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        for t, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(worlds.picture(0, t, 0), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_rate_that_varies_is_refused_and_a_late_beginning_is_not(tmp_path):
    for name, ticks in (("late", range(30, 150, 10)), ("varying", [*range(0, 60, 10), *range(90, 150, 10)])):
        (tmp_path / name).mkdir()
        _video(tmp_path / name / "one.mp4", ticks)
    one = data(tmp_path / "late", cache=False)
    assert one.source.episodes[0].length == 12
    shown = one.batch(range(12)).observation.images_BVCHW[:, 0]
    assert [worlds.read_picture(image.permute(1, 2, 0).numpy())[1] for image in shown] == list(range(12))
    with pytest.raises(DataError, match=r"one\.mp4: frame \d+ is shown at .* its rate varies"):
        data(tmp_path / "varying")


def test_sizes_that_differ_are_refused(twins, tmp_path):
    shutil.copytree(twins[1], tmp_path / "two")
    (tmp_path / "two" / INSTRUCTIONS).unlink()
    images = np.zeros((4, 48, 32, 3), np.uint8)
    encode_video(tmp_path / "two" / "z.mp4", images, fps=worlds.FPS, storage=VideoStorage(codec="h264"))
    with pytest.raises(DataError, match="48 x 32, not square"):
        data(tmp_path / "two").prepare()
    assert data(tmp_path / "two", image_fit="pad").batch(range(4)).observation.images_BVCHW.shape[-2:] == (16, 16)


def test_a_damaged_dataset_is_not_taken_for_a_folder_of_videos(twins, tmp_path):
    shutil.copytree(twins[0], tmp_path / "set")
    (tmp_path / "set/meta/info.json").unlink()
    with pytest.raises(DataError, match=r"info\.json"):
        data(tmp_path / "set")
    with pytest.raises(DataError, match="found neither"):
        data(tmp_path / "nothing")


def test_a_card_with_actions_does_not_fit_videos(twins):
    with pytest.raises(ConfigError, match="actions have 0 numbers, the robot card 3"):
        data(twins[1], robot=worlds.robot())


@pytest.mark.parametrize("state", [0, 2])
@pytest.mark.parametrize("carded", [True, False])
def test_a_lerobot_dataset_without_actions_is_read_the_same_way(tmp_path, state, carded):
    worlds.write(tmp_path / "set", LENGTHS, action=0, state=state, storage=ImageStorage())
    if not carded:
        (tmp_path / "set/meta/lara.json").unlink()
    one = data(tmp_path / "set", "top")
    batch = one.train_batch(0, 4)
    assert not batch.action_mask_BHA.any()
    assert batch.observation.state_BS.any() == (state > 0)
    card = one.card()
    assert card.robot.action == ActionSpec(
        names=(), control="delta", rotation="none", gripper="none", low=(), high=(), rate_hz=worlds.FPS
    )
    assert card.robot.observation == ObservationSpec(cameras=("top", "wrist"), state=tuple(["s0", "s1"][:state]))
    assert DataCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
