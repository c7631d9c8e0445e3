"""What is merely unusual is read right and said once, with a count; faults can be left out, within limits."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage
from lara.data.sources.auto import AnyFormat
from lara.data.sources.lerobot.format import LeRobot
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import EpisodeArrays
from lara.data.sources.validate import validate
from lara.errors import ConfigError, DataError
from tests.data import worlds
from tests.data.sources.lerobot import patches
from tests.data.sources.lerobot.patches import DATA, EPISODES

LENGTHS = (5, 9, 7, 6)


@pytest.fixture
def root(tmp_path):
    worlds.write(tmp_path / "set", LENGTHS)
    return tmp_path / "set"


def kinds(source) -> dict[str, int]:
    return {finding.kind: finding.count for finding in validate(source, decode=False)}


def test_a_sound_dataset_has_no_findings(root):
    assert list(open_dataset(root).findings(decode=True, cameras=worlds.CAMERAS)) == []


@pytest.mark.parametrize("kind", [pa.large_list(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 3)])
def test_vectors_are_read_however_they_are_stored(root, kind):
    before = Numbers.of(open_dataset(root)).actions
    patches.columns(root / DATA, lambda c: {**c, "action": pa.array(c["action"].to_pylist(), kind)})
    source = open_dataset(root)
    assert kinds(source) == ({"column types": 1} if pa.types.is_large_list(kind) else {})
    np.testing.assert_array_equal(Numbers.of(source).actions, before)


def test_rows_of_different_widths_are_no_vectors_even_if_they_add_up(root):
    def ragged(c):
        rows = c["action"].to_pylist()
        rows[3], rows[4] = rows[3][:2], [*rows[4], 0.5]
        return {**c, "action": pa.array(rows, pa.list_(pa.float32()))}

    patches.columns(root / DATA, ragged)
    with pytest.raises(DataError, match="its rows hold 2 to 4"):
        validate(open_dataset(root), decode=False)


def test_task_indices_may_have_gaps_and_texts_may_be_missing(root):
    tasks = root / "meta/tasks.parquet"
    patches.columns(tasks, lambda c: {**c, "task_index": pa.array([0, 7])})
    patches.columns(
        root / DATA, lambda c: {**c, "task_index": pa.array(np.where(c["task_index"].to_numpy() == 1, 7, 0))}
    )
    source = open_dataset(root)
    assert kinds(source) == {"gaps in task indices": 1}
    assert source.tasks == worlds.TASKS
    assert set(source.arrays(1).task_index) == {1}
    patches.columns(tasks, lambda c: {**c, "__index_level_0__": pa.array([worlds.TASKS[0], None])})
    patches.columns(root / EPISODES, lambda c: {**c, "tasks": pa.array([[worlds.TASKS[0]], None] * 2)})
    source = open_dataset(root)
    assert kinds(source) == {"gaps in task indices": 1, "tasks without text": 1, "episodes without tasks": 2}
    assert source.tasks == (worlds.TASKS[0], "")


def test_counters_that_begin_elsewhere_are_said_and_broken_ones_refused(root):
    patches.columns(root / DATA, lambda c: {**c, "index": pa.array(c["index"].to_numpy() + 100)})
    assert kinds(open_dataset(root)) == {"index": 4}
    patches.columns(root / DATA, lambda c: {n: v for n, v in c.items() if n not in ("index", "frame_index")})
    assert kinds(open_dataset(root)) == {"no frame_index": 4}


def test_git_lfs_pointers_are_recognised(root):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    video = next((root / "videos").rglob("*.mp4"))
    whole = video.read_bytes()
    video.write_text(pointer)
    with pytest.raises(DataError, match="git lfs pull"):
        validate(open_dataset(root), decode=False)
    with pytest.raises(DataError, match="git lfs pull"):
        open_dataset(root).frames(0, video.parts[-3].removeprefix("observation.images."), [0])
    video.write_bytes(whole)
    (root / DATA).write_text(pointer)
    with pytest.raises(DataError, match="git lfs pull"):
        validate(open_dataset(root), decode=False)


def test_recorded_statistics_of_other_numbers_do_not_become_limits(root):
    stats = json.loads((root / "meta/stats.json").read_text())
    stats["action"]["max"][1] /= 2
    (root / "meta/stats.json").write_text(json.dumps(stats))
    validate(open_dataset(root), decode=False)  # its card has limits of its own
    (root / "meta/lara.json").unlink()
    with pytest.raises(DataError, match=r"meta: .*'a1' the range .* of other data"):
        validate(open_dataset(root), decode=False)


def _break(root, episode: int) -> None:
    def nan(c):
        whole = np.stack(c["action"].to_numpy())
        whole[sum(LENGTHS[:episode]) + 2, 1] = np.nan
        return {**c, "action": pa.array(list(whole))}

    patches.columns(root / DATA, nan)


def test_episodes_with_a_fault_can_be_left_out(root):
    before = open_dataset(root)
    _break(root, 1)
    with pytest.raises(DataError, match=r"episode 1, frame 2: action\[1\] is nan"):
        validate(LeRobot().open(root), decode=False)
    source = AnyFormat(on_error="skip").open(root)
    found = list(source.findings(decode=True, cameras=source.cameras))
    (ledger,) = [f for f in found if f.kind == "episode left out"]
    assert ledger.where == "episode 1"
    assert "action[1] is nan" in ledger.said
    assert {f.severity for f in found} == {"unusual"}
    assert [row.number for row in source.episodes] == [0, 2, 3]
    assert [row.start for row in source.episodes] == [0, 5, 12]
    for place, old in enumerate([0, 2, 3]):
        np.testing.assert_array_equal(source.arrays(place).state, before.arrays(old).state)
        np.testing.assert_array_equal(source.frames(place, "wrist", [3]), before.frames(old, "wrist", [3]))
    assert len(Numbers.of(source).task) == sum(LENGTHS) - LENGTHS[1]


def test_a_file_cut_short_costs_only_the_episodes_in_its_missing_part(root):
    patches.rows(root / DATA, np.arange(sum(LENGTHS[:3]) + 1))
    source = LeRobot(on_error="skip").open(root)
    assert [row.number for row in source.episodes] == [0, 1, 2]
    kept = [f for f in validate(source, decode=True) if f.kind == "episode left out"]
    assert len(kept) == 1


def test_a_damaged_dataset_is_not_skipped_away(root):
    _break(root, 0)
    _break(root, 2)
    with pytest.raises(DataError, match=r"2 of 4 episodes have a fault, data\.format\.max_skipped=1"):
        LeRobot(on_error="skip", max_skipped=1).open(root)
    (root / DATA).unlink()
    with pytest.raises(DataError, match="4 of 4"):
        LeRobot(on_error="skip", max_skipped=100).open(root)
    with pytest.raises(ConfigError, match="refuse or skip"):
        LeRobot(on_error="ignore")
    with pytest.raises(ConfigError, match="mean nothing there"):
        AnyFormat(on_error="skip").open(root.parent)


@pytest.mark.parametrize("storage", [None, ImageStorage()])
def test_all_numbers_at_once_are_those_of_each_episode(tmp_path, storage):
    worlds.write(tmp_path / "set", LENGTHS, storage=storage, data_file_mb=0.001)
    source = open_dataset(tmp_path / "set")
    assert len(source.tables()) > 1
    whole = source.all_arrays()
    for name in EpisodeArrays.__dataclass_fields__:
        parts = [getattr(source.arrays(k), name) for k in range(len(source))]
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate(parts))
        assert getattr(whole, name).dtype == parts[0].dtype
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.all_arrays().state, whole.state)


def test_place_changes_when_the_frames_do(root):
    source = open_dataset(root)
    places = [source.place(k, c) for k in range(4) for c in worlds.CAMERAS]
    assert len(set(places)) == 8
    assert not any("\n" in place for place in places)
    moved = pq.read_table(root / EPISODES)
    key = "videos/observation.images.top/from_timestamp"
    at = moved.column_names.index(key)
    pq.write_table(moved.set_column(at, key, pa.array(np.array(moved[key]) + 0.1)), root / EPISODES)
    assert all(open_dataset(root).place(k, "top") != source.place(k, "top") for k in range(4))


def test_annotations_in_words_are_left_to_those_who_want_them(root):
    """Columns of lerobot 0.6: lists of remarks, which are no numbers and no pictures, and tools in info.json."""
    remark = pa.struct(
        [pa.field("role", pa.string(), nullable=False), ("content", pa.string()), ("tool_calls", pa.list_(pa.string()))]
    )
    before, names = Numbers.of(open_dataset(root)), ("language_persistent", "language_events")
    said = [[{"role": "user", "content": "left, please", "tool_calls": None}] * (k % 3) for k in range(sum(LENGTHS))]
    patches.columns(root / DATA, lambda c: {**c, **dict.fromkeys(names, pa.array(said, pa.list_(remark)))})
    feature = {"dtype": "language", "shape": [1], "names": None}
    patches.info(root, lambda i: i["features"].update(dict.fromkeys(names, feature)))
    patches.info(root, lambda i: i.update(tools=[{"type": "function", "function": {"name": "say"}}]))
    source = open_dataset(root)
    assert kinds(source) == {}
    assert (source.cameras, source.action_dim, source.state_dim) == (worlds.CAMERAS, worlds.ACTION, worlds.STATE)
    after = Numbers.of(source)
    np.testing.assert_array_equal(after.actions, before.actions)
    np.testing.assert_array_equal(after.task, before.task)


@pytest.mark.parametrize("flag", ["is_depth_map", "video.is_depth_map"])
def test_depth_is_known_by_both_of_its_names(root, flag):
    patches.info(root, lambda i: i["features"]["observation.images.wrist"]["info"].pop("video.is_depth_map"))
    assert open_dataset(root).depth == set()
    patches.info(root, lambda i: i["features"]["observation.images.wrist"]["info"].update({flag: True}))
    with pytest.raises(DataError, match=r"'wrist' records depth.*data.cameras=\['top'\]"):
        open_dataset(root).frames(0, "wrist", [0])
