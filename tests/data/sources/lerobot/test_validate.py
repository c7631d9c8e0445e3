"""Every fault that we know how to make is found before training, by name, file, episode and frame."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage, VideoStorage, encode_video
from lara.data.sources.lerobot.read import open_dataset, validate
from lara.errors import ConfigError, DataError
from tests.data import worlds

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.wrist/chunk-000/file-000.mp4"


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good") / "set"
    worlds.write(root)
    validate(open_dataset(root), decode=True)
    return root


@pytest.fixture
def root(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "set"))


def change(path: Path, column: str, row: int, value) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table[column].type)), path)


def keep_rows(path: Path, count: int) -> None:
    pq.write_table(pq.read_table(path).slice(0, count), path)


def cut(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def short_video(path: Path) -> None:
    frames = np.zeros((26, worlds.SIZE, worlds.SIZE, 3), np.uint8)  # the episodes have 27
    encode_video(path, frames, fps=worlds.FPS, storage=VideoStorage(codec="h264"))


def long_video(path: Path) -> None:
    frames = np.zeros((28, worlds.SIZE, worlds.SIZE, 3), np.uint8)
    encode_video(path, frames, fps=worlds.FPS, storage=VideoStorage(codec="h264"))


# Episodes have 5, 9, 7, 6 frames: row 7 is frame 2 of episode 1.
FAULTS = {
    "data file missing": (lambda r: (r / DATA).unlink(), r"file-000\.parquet.*found nothing"),
    "data file cut": (lambda r: cut(r / DATA, 0.7), r"file-000\.parquet.*damaged"),
    "data file garbage": (lambda r: (r / DATA).write_bytes(b"x" * 999), r"file-000\.parquet.*damaged"),
    "data rows missing": (lambda r: keep_rows(r / DATA, 26), r"27 rows, the file has 26"),
    "column missing": (
        lambda r: pq.write_table(pq.read_table(r / DATA).drop_columns(["action"]), r / DATA),
        r"\['action'\] are missing",
    ),
    "video missing": (lambda r: (r / VIDEO).unlink(), r"wrist.*found nothing"),
    "video cut": (lambda r: cut(r / VIDEO, 0.9), r"wrist.*cut short"),
    "video cut early": (lambda r: cut(r / VIDEO, 0.1), r"wrist.*damaged"),
    "video empty": (lambda r: (r / VIDEO).write_bytes(b""), r"wrist.*damaged"),
    "video shorter": (lambda r: short_video(r / VIDEO), r"wrist.*episode 3 needs frames 21\.\.26, the video has 26"),
    "nan action": (
        lambda r: change(r / DATA, "action", 7, [0.0, float("nan"), 0.0]),
        r"episode 1, frame 2: action\[1\] is nan",
    ),
    "infinite state": (
        lambda r: change(r / DATA, "observation.state", 0, [float("inf"), 0.0]),
        r"episode 0, frame 0: state\[0\] is inf",
    ),
    "unknown task": (lambda r: change(r / DATA, "task_index", 7, 9), r"episode 1, frame 2: task index 9 is unknown"),
    "another task": (lambda r: change(r / DATA, "task_index", 7, 0), r"episode 1: .*push the cube"),
    "timestamp stands still": (lambda r: change(r / DATA, "timestamp", 7, 0.1), r"episode 1, frame 2: timestamps"),
    "timestamp nan": (lambda r: change(r / DATA, "timestamp", 7, float("nan")), r"episode 1, frame 2: timestamps"),
    "frame index": (lambda r: change(r / DATA, "frame_index", 7, 3), r"episode 1, frame 2: frame_index should be 2"),
    "episode index": (lambda r: change(r / DATA, "episode_index", 7, 2), r"episode 1, frame 2: episode_index"),
    "index": (lambda r: change(r / DATA, "index", 7, 8), r"episode 1, frame 2: index should be 7"),
    "episodes overlap": (lambda r: change(r / EPISODES, "dataset_from_index", 1, 4), r"episode 1 claims .*overlap"),
    "episode too long": (lambda r: change(r / EPISODES, "length", 3, 7), r"episode 3 claims"),
    "episode empty": (lambda r: change(r / EPISODES, "length", 0, 0), r"episode 0 claims"),
    "episodes overlap in video": (
        lambda r: change(r / EPISODES, "videos/observation.images.wrist/from_timestamp", 1, 0.4),
        r"wrist.*episode 1 begins at frame 4, inside episode 0",
    ),
    "episode between frames": (
        lambda r: change(r / EPISODES, "videos/observation.images.wrist/from_timestamp", 3, 2.15),
        r"wrist.*episode 3 begins between two frames",
    ),
    "episode number": (lambda r: change(r / EPISODES, "episode_index", 2, 5), r"numbered 0\.\.3"),
    "file number": (lambda r: change(r / EPISODES, "data/file_index", 3, 1), r"add up to 21 rows, the file has 27"),
    "tasks renumbered": (lambda r: change(r / "meta/tasks.parquet", "task_index", 1, 5), r"task index 1 is unknown"),
    "info missing": (lambda r: (r / "meta/info.json").unlink(), r"info\.json.*found nothing"),
    "info not json": (lambda r: (r / "meta/info.json").write_text("{"), r"info\.json.*expected JSON"),
    "info version 1.6": (lambda r: edit(r / "meta/info.json", codebase_version="v1.6"), r"v3\.0, found 'v1\.6'"),
    "info version 2.1": (lambda r: edit(r / "meta/info.json", codebase_version="v2.1"), r"tasks\.jsonl.*found nothing"),
    "info frames": (lambda r: edit(r / "meta/info.json", total_frames=99), r"total_frames is 99.* 27"),
    "info path leaves": (
        lambda r: edit(r / "meta/info.json", data_path="../{chunk_index}.parquet"),
        r"not a path inside",
    ),
    "info path attribute": (
        lambda r: edit(r / "meta/info.json", data_path="{chunk_index.__class__}.parquet"),
        r"not a path inside",
    ),
    "info fps": (lambda r: edit(r / "meta/info.json", fps=0), r"fps must be"),
    "lara.json": (lambda r: edit(r / "meta/lara.json", episodes=[]), r"lara\.json.*4 episodes"),
}


@pytest.mark.parametrize(("damage", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_named_without_decoding(root, damage, message):
    damage(root)
    with pytest.raises(DataError, match=message):
        validate(open_dataset(root), decode=False)


def test_a_frame_that_does_not_decode_is_found_by_decoding(root):
    path = root / VIDEO
    whole = bytearray(path.read_bytes())
    begin = whole.index(b"mdat") + 600
    whole[begin : begin + 1500] = b"\xff" * 1500
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"episode \d, camera 'wrist', frames .*file-000\.mp4"):
        validate(open_dataset(root), decode=True)


def test_a_damaged_png_is_found_by_decoding(tmp_path):
    root = tmp_path / "set"
    worlds.write(root, storage=ImageStorage())
    table = pq.read_table(root / DATA)
    structs = table["observation.images.top"].to_pylist()
    structs[8]["bytes"] = structs[8]["bytes"][:40]
    place = table.column_names.index("observation.images.top")
    column = pa.array(structs, table["observation.images.top"].type)
    pq.write_table(table.set_column(place, "observation.images.top", column), root / DATA)
    source = open_dataset(root)
    validate(source, decode=False)
    with pytest.raises(DataError, match=r"episode 1, camera 'top'.*row 8"):
        validate(source, decode=True)


def test_bad_requests_are_named(root):
    source = open_dataset(root)
    for indices in ([], [-1], [5], [[0]]):
        with pytest.raises(DataError, match=r"frames 0\.\.4"):
            source.frames(0, "top", indices)
    with pytest.raises(DataError, match=r"episodes 0\.\.3"):
        source.frames(4, "top", [0])
    with pytest.raises(ConfigError, match="wrist"):
        source.frames(0, "wirst", [0])
