"""A labelled dataset: complete, readable, the same whoever did the work and however often it was interrupted."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from lara.cli import main
from lara.data.frames.encode import ImageStorage
from lara.data.frames.resize import resize_area
from lara.data.lam_inputs.label_columns import from_arrow
from lara.data.sources.lerobot.read import open_dataset, validate
from lara.errors import ConfigError, DataError
from lara.label.run import LabelSettings, label
from lara.serve.load import load_lam
from tests.data.worlds import write
from tests.label.worlds import ADDITIVE, files, joint_run, video_folder
from tests.tiny import SIZE

LENGTHS, GAP = (5, 9, 7, 6, 3), 4
HERE = LabelSettings(workers=0, shard_frames=8, batch_size=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    write(root / "data", LENGTHS, data_file_mb=0.0005)  # several data files
    joint_run(root / "lam", gap=GAP)
    label(lam=root / "lam", dataset=root / "data", output=root / "straight", settings=HERE)
    return root


def _columns(folder):
    paths = sorted((folder / "data").glob("chunk-*/file-*.parquet"))
    tables = [pq.read_table(p, partitioning=None) for p in paths]
    names = tables[0].column_names
    return {n: np.concatenate([from_arrow(t[n]) for t in tables]) for n in names if not n.startswith("observation")}


def test_the_sidecar_is_a_dataset_that_matches_the_labelled_one_row_by_row(world):
    source, sidecar = open_dataset(world / "data"), open_dataset(world / "straight")
    validate(sidecar, decode=False)
    assert [r.length for r in sidecar.episodes] == list(LENGTHS)
    assert [r.tasks for r in sidecar.episodes] == [r.tasks for r in source.episodes]
    names = {
        p: [f.relative_to(world / p / "data") for f in (world / p / "data").rglob("*.parquet")]
        for p in ("data", "straight")
    }
    assert sorted(names["data"]) == sorted(names["straight"])
    assert len(names["data"]) > 1
    for name in names["data"]:
        a, b = (pq.read_table(world / p / "data" / name, partitioning=None) for p in ("data", "straight"))
        for key in ("index", "episode_index", "frame_index", "task_index", "timestamp"):
            assert a[key].equals(b[key])
    about = json.loads((world / "straight/meta/labels.latent.json").read_text())
    total = sum(LENGTHS)
    pairs = sum(max(0, n - GAP) for n in LENGTHS)
    assert about["counts"] == {"frames": total, "decoded": total, "encoded": total, "pairs": pairs}
    assert str(world) not in json.dumps(about)


def test_labels_are_what_training_sees(world):
    source, (lam, _) = open_dataset(world / "data"), load_lam(world / "lam")
    columns = _columns(world / "straight")
    for row in source.episodes:
        images = resize_area(source.frames(row.index, "top", np.arange(row.length)), SIZE)
        frames = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        mask = columns["latent.mask"][row.start : row.start + row.length]
        np.testing.assert_array_equal(mask, np.arange(row.length) + GAP < row.length)
        for t in np.flatnonzero(mask):
            with torch.no_grad():
                z = lam.encode(frames[[t, t + GAP]][None]).z_BQD
            np.testing.assert_allclose(columns["latent.z"][row.start + t], z.flatten().numpy(), atol=1e-5, rtol=0)
            assert columns["latent.index"][row.start + t].tolist() == lam.space.encode(z)[0].tolist()
    stats = json.loads((world / "straight/meta/stats.json").read_text())["latent.z"]
    real = columns["latent.z"][columns["latent.mask"]].astype(np.float64)
    np.testing.assert_allclose(stats["mean"], real.mean(0), atol=1e-12)
    assert stats["count"] == [len(real)]


@pytest.mark.parametrize("workers", [2])
def test_the_number_of_workers_changes_no_byte(world, workers):
    settings = LabelSettings(workers=workers, shard_frames=8, batch_size=4)
    output = world / f"by-{workers}"
    label(lam=world / "lam", dataset=world / "data", output=output, settings=settings)
    assert files(output) == files(world / "straight")
    assert not list(world.glob(".labelling-*/"))


def test_finished_work_is_not_done_again_and_other_labels_are_not_overwritten(world, monkeypatch):
    import lara.label.run as run

    monkeypatch.setattr(run, "run_local", lambda *_: pytest.fail("worked again"))
    again = label(lam=world / "lam", dataset=world / "data", output=world / "straight", settings=HERE)
    assert again["counts"]["frames"] == sum(LENGTHS)
    other = LabelSettings(workers=0, shard_frames=8, batch_size=4, gap=2)
    with pytest.raises(DataError, match="other labels"):
        label(lam=world / "lam", dataset=world / "data", output=world / "straight", settings=other)


def test_unfinished_work_of_another_plan_is_kept(world, monkeypatch):
    import lara.label.run as run

    def dies(*_):
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(run, "run_local", dies)
        with pytest.raises(KeyboardInterrupt):
            label(lam=world / "lam", dataset=world / "data", output=world / "half", settings=HERE)
    for change in ({"gap": 2}, {"batch_size": 3}, {"camera": "wrist"}):
        settings = LabelSettings(**{"workers": 0, "shard_frames": 8, "batch_size": 4, **change})
        with pytest.raises(ConfigError, match="another plan"):
            label(lam=world / "lam", dataset=world / "data", output=world / "half", settings=settings)


@pytest.mark.parametrize("storage", ["video", "images"])
def test_in_place_adds_columns_and_touches_nothing_else(world, tmp_path, storage, monkeypatch):
    import lara.store.files as files

    data = tmp_path / "data"
    if storage == "video":
        shutil.copytree(world / "data", data)
    else:
        write(data, LENGTHS, storage=ImageStorage(), data_file_mb=0.005)
    before = {p: pq.read_table(p, partitioning=None) for p in sorted(data.glob("data/chunk-*/*.parquet"))}
    assert len(before) > 1

    real, calls = files.os.replace, []

    def killed(source, target):
        calls.extend([target] * target.name.startswith("file-"))
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            label(lam=world / "lam", dataset=data, output=None, in_place=True, settings=HERE)
    for path, table in before.items():  # whole files, old or new
        now = pq.read_table(path, partitioning=None)
        assert now.select(table.column_names).equals(table)
    assert open_dataset(data).frame_count == sum(LENGTHS)

    label(lam=world / "lam", dataset=data, output=None, in_place=True, settings=HERE)
    source = open_dataset(data)
    validate(source, decode=True)
    assert source.info["features"]["latent.z"]["shape"] == [16]
    for path, table in before.items():
        now = pq.read_table(path, partitioning=None)
        assert now.select(table.column_names).equals(table)
        assert now.num_columns == table.num_columns + 4
    assert not list(data.rglob(".tmp-*"))
    if storage == "video":
        straight = _columns(world / "straight")
        for name in ("latent.z", "latent.index", "latent.code", "latent.mask"):
            np.testing.assert_array_equal(_columns(data)[name], straight[name])
    with pytest.raises(DataError, match="other labels"):
        label(lam=world / "lam", dataset=data, output=None, in_place=True, settings=LabelSettings(workers=0, gap=2))


def test_a_folder_of_videos_is_labelled_without_actions(tmp_path):
    videos = video_folder(tmp_path / "videos")
    run = joint_run(tmp_path / "lam", gap=GAP, space=ADDITIVE)
    arguments = ["label", f"checkpoint={run}", f"dataset={videos}", f"output={tmp_path}/labels", "label.workers=0"]
    assert main(arguments) == 0
    sidecar = open_dataset(tmp_path / "labels")
    validate(sidecar, decode=False)
    assert [r.length for r in sidecar.episodes] == [7, 11, 3]
    columns = _columns(tmp_path / "labels")
    assert "latent.index" not in columns  # a space without codes
    np.testing.assert_array_equal(columns["latent.mask"].nonzero()[0], [0, 1, 2, 7, 8, 9, 10, 11, 12, 13])
    assert main([*arguments[:-1], "in_place=true"]) == 2


def test_videos_of_two_rates_are_not_one_dataset(tmp_path):
    videos = video_folder(tmp_path / "videos")
    video_folder(tmp_path / "other", (5,), fps=20.0)
    shutil.copy(tmp_path / "other/clips/000.mp4", videos / "clips/zzz.mp4")
    with pytest.raises(DataError, match=r"different rates .* zzz\.mp4"):
        label(lam=joint_run(tmp_path / "lam"), dataset=videos, output=tmp_path / "labels", settings=HERE)


def test_a_camera_must_be_named_where_there_is_a_choice(world, tmp_path):
    run = joint_run(tmp_path / "lam", camera="elsewhere")
    with pytest.raises(ConfigError, match=r"which camera of top, wrist"):
        label(lam=run, dataset=world / "data", output=tmp_path / "x", settings=HERE)


def test_pixels_that_change_half_way_are_noticed(world, tmp_path, monkeypatch):
    import lara.label.run as run

    def dies(*_):
        raise KeyboardInterrupt
        yield

    shutil.copytree(world / "data", tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(run, "run_local", dies)
        with pytest.raises(KeyboardInterrupt):
            label(lam=world / "lam", dataset=tmp_path / "data", output=tmp_path / "half", settings=HERE)
    other = tmp_path / "other"
    write(other, tuple(reversed(LENGTHS)), data_file_mb=0.0005)
    for video in (tmp_path / "data/videos").rglob("*.mp4"):
        shutil.copy(other / video.relative_to(tmp_path / "data"), video)
    with pytest.raises(ConfigError, match="dataset"):
        label(lam=world / "lam", dataset=tmp_path / "data", output=tmp_path / "half", settings=HERE)
