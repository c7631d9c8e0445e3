"""What people reported about datasets in public, and what is right: read, or refused by name; never wrong in silence.

Each input is a dataset of our own writer with the reported thing done to it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage, VideoStorage, encode_video
from lara.data.sources.auto import AnyFormat
from lara.data.sources.lerobot.format import LeRobot
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.data.sources.validate import validate
from lara.errors import ConfigError, DataError
from tests.data import worlds
from tests.data.sources.lerobot import patches
from tests.data.sources.lerobot.patches import DATA, EPISODES

LENGTHS = (6, 8, 7)
FPS = worlds.FPS


@pytest.fixture
def root(tmp_path):
    worlds.write(tmp_path / "set", LENGTHS, cameras=("top",))
    return tmp_path / "set"


def shown(source, episode: int) -> list[tuple[int, int]]:
    """(episode, frame) that each picture of an episode was recorded as."""
    frames = source.frames(episode, source.cameras[0], np.arange(source.episodes[episode].length))
    return [worlds.read_picture(image)[:2] for image in frames]


def kinds(findings) -> dict[str, int]:
    return {finding.kind: finding.count for finding in findings}


def unusual(source) -> dict[str, int]:
    """What is unusual; raises for what is wrong."""
    return kinds(validate(source, decode=True))


def _video(root, pictures, fps=FPS) -> None:
    path = root / "videos/observation.images.top/chunk-000/file-000.mp4"
    path.unlink()
    encode_video(path, np.stack(pictures), fps=fps, storage=VideoStorage(codec="h264"))


def test_frames_of_discarded_takes_stay_behind_each_episode_in_the_video(root):
    """huggingface/lerobot#4109."""
    spare = 5
    pictures, begins = [], []
    for k, length in enumerate(LENGTHS):
        begins.append(len(pictures) / FPS)
        pictures += [worlds.picture(k, t, 0) for t in range(length)] + [worlds.picture(9, 0, 0)] * spare
    _video(root, pictures)
    ends = [begin + (n + spare) / FPS for begin, n in zip(begins, LENGTHS, strict=True)]
    key = "videos/observation.images.top"
    patches.columns(
        root / EPISODES,
        lambda c: {**c, f"{key}/from_timestamp": pa.array(begins), f"{key}/to_timestamp": pa.array(ends)},
    )
    source = open_dataset(root)
    assert unusual(source) == {"unused video frames": len(LENGTHS)}
    for k, length in enumerate(LENGTHS):
        assert shown(source, k) == [(k, t) for t in range(length)]


def test_a_shape_may_be_channels_first_without_names(root):
    """huggingface/lerobot#2311 and older converters: 3 is the channel axis, wherever it stands."""
    wide = [np.repeat(worlds.picture(k, t, 0), 2, axis=1) for k, n in enumerate(LENGTHS) for t in range(n)]
    _video(root, wide)
    size = worlds.SIZE
    for shape, names in (
        ([3, size, 2 * size], None),
        ([size, 2 * size, 3], None),
        ([3, size, 2 * size], ["channels", "height", "width"]),
        ([size, 2 * size, 3], ["height", "width", "channel"]),
        ([2 * size, size, 3], ["width", "height", "channels"]),
        ([size, 2 * size, 3], ["channels", "height", "width"]),
    ):
        patches.info(root, lambda i, s=shape, n=names: i["features"]["observation.images.top"].update(shape=s, names=n))
        source = open_dataset(root)
        assert source.shapes == {"top": (size, 2 * size, 3)}
        assert unusual(source) == {}


@pytest.mark.parametrize("jitter", [0.2, 0.45])
def test_a_hardware_clock_jitters_beside_one_frame_per_row(root, jitter):
    """huggingface/lerobot#3513."""
    rng = np.random.default_rng(0)

    def shaken(c):
        times = c["timestamp"].to_numpy() + rng.uniform(-jitter, jitter, len(c["timestamp"])) / FPS
        return {**c, "timestamp": pa.array(times.astype(np.float32))}

    patches.columns(root / DATA, shaken)
    source = open_dataset(root)
    assert unusual(source) == ({"clock jitter": len(LENGTHS)} if jitter > 0.25 else {})
    for k, length in enumerate(LENGTHS):
        assert shown(source, k) == [(k, t) for t in range(length)]
        assert source.arrays(k).timestamp[0] == 0


def test_a_clock_that_drifts_is_believed_only_where_the_video_has_one_frame_per_row(root):
    patches.columns(root / DATA, lambda c: {**c, "timestamp": pa.array(c["timestamp"].to_numpy() * 1.13)})
    source = open_dataset(root)
    assert unusual(source)["clock drift"] == len(LENGTHS)
    assert shown(source, 1) == [(1, t) for t in range(LENGTHS[1])]
    key = "videos/observation.images.top/to_timestamp"
    patches.columns(root / EPISODES, lambda c: {n: v for n, v in c.items() if n != key})
    with pytest.raises(DataError, match=r"episode \d, frame \d: timestamps .* nothing says which picture"):
        validate(open_dataset(root), decode=False)


@pytest.mark.parametrize("png", [True, False])
def test_pictures_of_sixteen_bits_are_refused_by_name(tmp_path, png):
    """Depth cameras; info.json says (h, w, 3) as many recorders do."""
    worlds.write(tmp_path / "set", LENGTHS, cameras=("top",), storage=ImageStorage())
    key = "observation.images.top"
    plain = np.full((worlds.SIZE, worlds.SIZE), 3000)
    column = pa.array([{"bytes": patches.png16(plain), "path": None}] * sum(LENGTHS))
    if png:
        patches.columns(tmp_path / "set" / DATA, lambda c: {**c, key: column})
    source = open_dataset(tmp_path / "set")
    if not png:
        assert unusual(source) == {}
        return
    with pytest.raises(DataError, match=r"observation\.images\.top.*more than 8 bits per channel \(mode I;16\)"):
        validate(source, decode=False)
    with pytest.raises(DataError, match="more than 8 bits"):
        source.frames(1, "top", [0])


def test_a_camera_that_says_it_records_depth_is_refused_by_name(root):
    patches.info(root, lambda i: i["features"]["observation.images.top"]["info"].update({"video.is_depth_map": True}))
    source = open_dataset(root)
    validate(source, decode=False, cameras=[])
    with pytest.raises(DataError, match="'top' records depth"):
        validate(source, decode=False)
    with pytest.raises(DataError, match="'top' records depth"):
        source.frames(0, "top", [0])


NAMES = {"action": "actions", "observation.state": "state", "observation.images.top": "image"}


def test_columns_of_other_names_are_asked_for_with_the_override_to_type(root):
    """Physical-Intelligence/openpi#387 and its LIBERO conversion: 'actions', 'state', 'image'."""
    patches.renamed(root, NAMES)
    with pytest.raises(DataError) as caught:
        AnyFormat().open(root)
    for word in (
        "'action'",
        "'actions' (3 numbers)",
        "data.format.keys.action=[actions]",
        "data.format.keys.state=[state]",
    ):
        assert word in str(caught.value)
    keys = {"action": ["actions"], "state": "state", "cameras": {"front": "image"}}
    source = LeRobot(keys=keys).open(root)
    assert unusual(source) == {}
    assert (source.cameras, source.action_names, source.state_names) == (("front",), ("a0", "a1", "a2"), ("s0", "s1"))
    np.testing.assert_array_equal(source.arrays(1).actions, worlds.episode(1, 8).actions)
    assert shown(source, 2) == [(2, t) for t in range(LENGTHS[2])]


def test_a_dataset_is_without_actions_only_if_somebody_says_so(root):
    patches.renamed(root, {"action": "arm.command"})
    with pytest.raises(DataError, match=r"data\.format\.keys\.action=\[arm\.command\]"):
        open_dataset(root)
    assert open_dataset(root, keys={"action": []}).action_names == ()


def test_several_columns_are_joined_in_the_order_given(root):
    def split(c):
        whole = np.stack(c.pop("action").to_numpy())
        return {**c, "action.pose": pa.array(list(whole[:, :2])), "action.grip": pa.array(whole[:, 2])}

    def told(i):
        del i["features"]["action"]
        i["features"]["action.pose"] = {"dtype": "float32", "shape": [2], "names": None}
        i["features"]["action.grip"] = {"dtype": "float32", "shape": [1], "names": ["open"]}

    patches.columns(root / DATA, split)
    patches.info(root, told)
    source = open_dataset(root, keys={"action": ["action.grip", "action.pose"]})
    assert source.action_names == ("open", "action.pose_0", "action.pose_1")
    np.testing.assert_array_equal(source.arrays(0).actions, worlds.episode(0, 6).actions[:, [2, 0, 1]])
    for wrong, message in (
        ({"action": ["action.poze"]}, "Did you mean 'action.pose'"),
        ({"actions": ["action.pose"]}, "no 'actions'. Did you mean 'action'"),
        ({"action": [], "cameras": {"front": "top"}}, "which is no camera"),
        ({"action": [], "task": "words"}, "keys.task"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_dataset(root, keys=wrong)


def _trimmed(root, cut=2) -> None:
    """The first frames of every episode leave the table; the video keeps them, the other rows their times."""
    frame = pq.read_table(root / DATA)["frame_index"].to_numpy()
    patches.rows(root / DATA, np.flatnonzero(frame >= cut))
    left = [n - cut for n in LENGTHS]
    ends = np.cumsum(left)
    counters = {
        "frame_index": pa.array(np.concatenate([np.arange(n) for n in left])),
        "index": pa.array(np.arange(sum(left))),
    }
    patches.columns(root / DATA, lambda c: {**c, **counters})
    places = {
        "length": pa.array(left),
        "dataset_from_index": pa.array(ends - left),
        "dataset_to_index": pa.array(ends),
    }
    patches.columns(root / EPISODES, lambda c: {**c, **places})
    patches.info(root, lambda i: i.update(total_frames=sum(left)))


def test_rows_cut_from_the_table_leave_the_others_at_their_own_pictures(root):
    """huggingface/lerobot#2775, #2111: the picture of a row is the one at from_timestamp + timestamp."""
    before = open_dataset(root).place(0, "top")
    _trimmed(root)
    source = open_dataset(root)
    assert unusual(source) == {"rows cut": 3, "unused video frames": 3}
    for k, length in enumerate(LENGTHS):
        assert shown(source, k) == [(k, t) for t in range(2, length)]
        np.testing.assert_allclose(source.arrays(k).timestamp, np.arange(length - 2) / FPS, atol=1e-6)
    assert source.place(0, "top") != before
    unread = open_dataset(root)  # the same without validation before
    assert shown(unread, 1) == shown(source, 1)
    assert unread.place(1, "top") == source.place(1, "top")


def test_times_that_lead_out_of_the_episodes_video_are_refused(root):
    patches.columns(root / DATA, lambda c: {**c, "timestamp": pa.array(c["timestamp"].to_numpy() + np.float32(0.2))})
    with pytest.raises(DataError, match=r"episode 0, frame 4: its timestamp leads to frame 6 .* which has 6"):
        validate(open_dataset(root), decode=False)


@pytest.mark.parametrize("rows_too", [False, True])
@pytest.mark.parametrize("gone", [0, 1, 2])
def test_an_episode_taken_out_of_the_table_leaves_the_others_readable(root, gone, rows_too):
    """huggingface/lerobot#630, #831."""
    kept = np.array([k for k in range(3) if k != gone])
    patches.rows(root / EPISODES, kept)
    if rows_too:
        patches.rows(root / DATA, np.flatnonzero(pq.read_table(root / DATA)["episode_index"].to_numpy() != gone))
    total = sum(LENGTHS) - LENGTHS[gone]
    patches.info(root, lambda i: i.update(total_episodes=2, total_frames=total))
    source = open_dataset(root)
    found = unusual(source)
    assert found.get("gaps in episode indices", 0) == (gone != 2)
    assert found.get("rows of no episode", 0) == (0 if rows_too else LENGTHS[gone])
    assert [row.index for row in source.episodes] == [0, 1]
    assert [row.start for row in source.episodes] == [0, LENGTHS[kept[0]]]
    for place, number in enumerate(kept):
        assert source.episodes[place].info["seed"] == number
        assert shown(source, place) == [(number, t) for t in range(LENGTHS[number])]
        np.testing.assert_array_equal(
            source.arrays(place).actions, worlds.episode(int(number), LENGTHS[number]).actions
        )
    numbers = Numbers.of(source)
    np.testing.assert_array_equal(numbers.actions[numbers.begins[1] :], source.arrays(1).actions)


@pytest.mark.parametrize("column", ["task_index", "episode_index", "frame_index"])
def test_whole_numbers_may_have_become_floating_point(root, column):
    """A merge with gaps in pandas makes integers floats."""
    patches.columns(root / DATA, lambda c: {**c, column: pa.array(c[column].to_numpy().astype(float))})
    source = open_dataset(root)
    assert unusual(source) == {"column types": 1}
    assert [source.tasks[k] for k in source.arrays(1).task_index] == [worlds.TASKS[1]] * LENGTHS[1]


@pytest.mark.parametrize("value", [0.5, float("nan"), None])
def test_a_number_that_is_not_whole_is_no_task(root, value):
    def broken(c):
        return {**c, "task_index": pa.array([*c["task_index"].to_pylist()[:-1], value], pa.float64())}

    patches.columns(root / DATA, broken)
    with pytest.raises(DataError, match=r"task_index.*row.*20"):
        validate(open_dataset(root), decode=False)


def test_pictures_need_not_be_square(root):
    wide = [np.repeat(worlds.picture(k, t, 0), 2, axis=1) for k, n in enumerate(LENGTHS) for t in range(n)]
    _video(root, wide)
    patches.info(root, lambda i: i["features"]["observation.images.top"].update(shape=[32, 64, 3]))
    source = open_dataset(root)
    assert unusual(source) == {}
    assert source.frames(0, "top", [1]).shape == (1, 32, 64, 3)


def test_an_action_that_hardly_moves_is_read_as_it_is(root):
    """Physical-Intelligence/openpi#814: what statistics make of it is another question."""
    near = np.full(sum(LENGTHS), 1.569, np.float32)
    near[[3, 4, 17]] = -1.6

    def rests(c):
        whole = np.stack(c["action"].to_numpy())
        whole[:, 2] = near
        return {**c, "action": pa.array(list(whole))}

    patches.columns(root / DATA, rests)
    source = open_dataset(root)
    assert unusual(source) == {}
    np.testing.assert_array_equal(Numbers.of(source).actions[:, 2], near)
