"""LeRobotDataset v2.0 and v2.1, and GR00T's meta/modality.json."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.robot import derived_card
from lara.data.sources.auto import AnyFormat
from lara.data.sources.lerobot.modality import Slice
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.data.sources.validate import validate
from lara.errors import DataError
from tests.data import worlds
from tests.data.sources.lerobot import patches
from tests.data.sources.lerobot.older import write_older

LENGTHS = (5, 1, 7)
MODALITY = {
    "state": {"arm": {"start": 0, "end": 1}, "gripper": {"start": 1, "end": 2}},
    "action": {
        "gripper": {"start": 2, "end": 3, "absolute": True},
        "arm": {"start": 0, "end": 2, "absolute": False, "rotation_type": "axis_angle", "dtype": "float64"},
    },
    "video": {"front": {"original_key": "observation.images.top"}},
    "annotation": {"human.task_description": {}, "human.validity": {}},
}


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_older_layouts_hold_the_same(tmp_path, version):
    episodes = write_older(tmp_path / "set", LENGTHS, version=version)
    source = AnyFormat().open(tmp_path / "set")
    assert validate(source, decode=True) == ()
    assert (source.version, source.fps, source.cameras) == (version, worlds.FPS, worlds.CAMERAS)
    numbers = Numbers.of(source)
    np.testing.assert_array_equal(numbers.actions, np.concatenate([e.actions for e in episodes]))
    for k, episode in enumerate(episodes):
        assert source.episodes[k].tasks == (episode.task,)
        assert source.tasks[source.arrays(k).task_index[0]] == episode.task
        for c, camera in enumerate(worlds.CAMERAS):
            pictures = source.frames(k, camera, np.arange(len(episode))[::-1])
            assert [worlds.read_picture(p) for p in pictures] == [(k, t, c) for t in range(len(episode))][::-1]
    card, notes = derived_card(source)
    np.testing.assert_allclose(card.action.low, numbers.actions.min(0))
    np.testing.assert_allclose(card.action.high, numbers.actions.max(0))
    assert any("recorded statistics" in line for line in notes)


def test_an_episode_without_files_and_a_line_without_its_end(tmp_path):
    root = tmp_path / "set"
    write_older(root, LENGTHS)
    lines = (root / "meta/episodes.jsonl").read_text().splitlines()
    (root / "meta/episodes.jsonl").write_text("\n".join([lines[0], lines[2]]))  # no newline at the end
    patches.info(root, lambda i: i.update(total_episodes=2, total_frames=12))
    source = open_dataset(root)
    assert {f.kind for f in validate(source, decode=True)} >= {"gaps in episode indices"}
    assert [worlds.read_picture(p)[:2] for p in source.frames(1, "top", [0, 6])] == [(2, 0), (2, 6)]
    for content, message in (
        (lines[0] + "\n{", r"episodes\.jsonl:2: expected JSON"),
        (lines[0] + "\n[]", r"episodes\.jsonl:2: expected an object"),
        ('{"episode_index": 0, "length": "5"}', r"length should be a whole number"),
        ('{"episode_index": 0, "length": 0}', r"has length 0"),
        ('{"episode_index": 1e400, "length": 1}', r"too long or too large"),
    ):
        (root / "meta/episodes.jsonl").write_text(content)
        with pytest.raises(DataError, match=message):
            open_dataset(root)


def test_a_video_shorter_than_its_episode_and_one_with_a_tail(tmp_path):
    root = tmp_path / "set"
    write_older(root, (5, 4, 7))
    videos = {k: next(root.rglob(f"*.top/episode_00000{k}.mp4")) for k in range(3)}
    videos[0].write_bytes(videos[2].read_bytes())
    assert {f.kind for f in validate(open_dataset(root), decode=False)} == {"unused video frames"}
    videos[2].write_bytes(videos[1].read_bytes())
    with pytest.raises(DataError, match=r"episode 2 needs frames 0\.\.6, the video has 4"):
        validate(open_dataset(root), decode=False)


def _annotated(root) -> None:
    """Columns of GR00T: an instruction by number, and another number that is none."""
    path = root / "meta/tasks.jsonl"
    path.write_text(path.read_text() + json.dumps({"task_index": 2, "task": "valid"}) + "\n")
    for data in sorted(root.rglob("*.parquet")):
        task = pq.read_table(data)["task_index"].to_numpy()
        words = {
            "annotation.human.task_description": pa.array(task),
            "annotation.human.validity": pa.array(np.full(len(task), 2)),
            "task_index": pa.array(1 - task),
        }
        patches.columns(data, lambda c, w=words: {**c, **w})
    more = {key: {"dtype": "int64", "shape": [1], "names": None} for key in words}
    patches.info(root, lambda i: i["features"].update(more))


def test_modality_names_numbers_cameras_and_instructions(tmp_path):
    episodes = write_older(tmp_path / "set", LENGTHS, modality=MODALITY)
    (tmp_path / "set/meta/lara.json").unlink(missing_ok=True)
    _annotated(tmp_path / "set")
    source = open_dataset(tmp_path / "set")
    validate(source, decode=True)
    assert source.cameras == ("front", "wrist")
    assert source.action_names == ("gripper.0", "arm.0", "arm.1")
    assert source.state_names == ("arm.0", "gripper.0")
    np.testing.assert_array_equal(source.arrays(2).actions, episodes[2].actions[:, [2, 0, 1]])
    for k, episode in enumerate(episodes):
        assert {source.tasks[n] for n in source.arrays(k).task_index} == {episode.task}
    assert source.keys.action.slices[1] == Slice(
        name="arm", column="action", begin=0, end=2, rotation="axis_angle", absolute=False, dtype="float64"
    )
    card, notes = derived_card(source)
    assert (card.action.control, card.action.rotation, card.action.gripper) == ("delta", "axis_angle", "unknown")
    np.testing.assert_allclose(card.action.high, Numbers.of(source).actions.max(0))
    assert any("absolute: false" in line for line in notes)
    one = open_dataset(tmp_path / "set", keys={"action": ["action.arm"]})
    assert one.action_names == ("arm.0", "arm.1")
    assert [(f.kind, f.said) for f in one.notes] == [("numbers without a name", "no slice holds action 2")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": {"arm": {"start": 0, "end": 4}}}, r"numbers 0\.\.3 of 'action', which has 3"),
        ({"action": {"arm": {"start": 2, "end": 2}}}, "0 <= start < end"),
        ({"action": {"arm": {"start": 0, "end": True}}}, "0 <= start < end"),
        ({"action": {"arm": {"start": 0, "end": 1, "original_key": "acton"}}}, "Did you mean 'action'"),
        ({"action": {"arm": {"start": 0, "end": 1, "absolute": "yes"}}}, "absolute true or false"),
        ({"video": {"front": {"original_key": "top"}}}, "camera 'front' is 'top'"),
        ({"video": [1]}, "'video' should hold one object per name"),
    ],
)
def test_a_modality_that_contradicts_the_dataset_is_refused(tmp_path, change, message):
    write_older(tmp_path / "set", (3,), modality={**MODALITY, **change})
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set")
