"""Demonstrations in HDF5 become a dataset whose every number and pixel is known; hostile files become errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lara.cli import main
from lara.data.convert.robosuite import convert
from lara.data.frames.encode import ImageStorage
from lara.data.sources.lerobot.read import open_dataset
from lara.errors import ConfigError, DataError, LaraError, StoreError

h5py = pytest.importorskip("h5py", reason="HDF5 demonstrations need h5py (the extra hdf5)")

SIZE = 16


def picture(demo: int, t: int, camera: int) -> np.ndarray:
    """Four corners that differ, so that every way of turning it shows."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    half = SIZE // 2
    for k, value in enumerate((200, 150, 100, 50)):
        image[k // 2 * half : (k // 2 + 1) * half, k % 2 * half : (k % 2 + 1) * half] = value + 8 * t + demo
    image[..., 2] = 40 * camera
    return image


def write(path: Path, *, demos=(0, 1, 2, 10), task="open the drawer", libero=True, fps=20, dims=7) -> None:
    rng = np.random.default_rng(len(task))
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if libero:
            data.attrs["problem_info"] = json.dumps({"language_instruction": task})
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": fps}} if fps else {})
        for demo in demos:
            length = 3 + demo % 3
            group = data.create_group(f"demo_{demo}")
            group["actions"] = rng.uniform(-1, 1, (length, dims))
            obs = group.create_group("obs")
            for camera, name in enumerate(("agentview", "eye_in_hand") if libero else ("agentview",)):
                images = np.stack([picture(demo, t, camera) for t in range(length)])
                obs.create_dataset(f"{name}_rgb" if libero else f"{name}_image", data=images, compression="gzip")
            parts = {"ee_states": 6, "gripper_states": 2, "joint_states": 7}
            if not libero:
                parts = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
            for name, count in parts.items():
                obs[name] = rng.normal(size=(length, count))


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    write(folder / "a_demo.hdf5")
    write(folder / "b_demo.hdf5", task="close it", demos=(0, 1))
    return folder


@pytest.mark.parametrize(("images", "turned"), [(None, "rotate"), ("flip", "flip"), ("keep", "keep")])
def test_every_number_and_pixel_is_there(files, tmp_path, images, turned):
    out = tmp_path / "out"
    said = convert(files, out, storage=ImageStorage(), images=images)
    assert f"pictures: {turned}" in said[1]
    source = open_dataset(out)
    assert source.tasks == ("open the drawer", "close it")
    assert source.fps == 20
    assert [row.length for row in source.episodes] == [3, 4, 5, 4, 3, 4]  # demo_10 after demo_2
    assert [row.info["demo"] for row in source.episodes][3] == "demo_10"
    assert source.robot.action.control == "delta"
    assert source.robot.observation.state == ("x", "y", "z", "rx", "ry", "rz", "finger_1", "finger_2")
    for k, (name, demo) in enumerate([("a", 0), ("a", 1), ("a", 2), ("a", 10), ("b", 0), ("b", 1)]):
        with h5py.File(files / f"{name}_demo.hdf5") as file:
            group = file[f"data/demo_{demo}"]
            arrays = source.arrays(k)
            np.testing.assert_array_equal(arrays.actions, np.float32(group["actions"][()]))
            state = np.concatenate([group["obs/ee_states"][()], group["obs/gripper_states"][()]], axis=1)
            np.testing.assert_array_equal(arrays.state, np.float32(state))
        for c, camera in enumerate(("agentview", "eye_in_hand")):
            stored = picture(demo, 2, c)
            expected = {"rotate": stored[::-1, ::-1], "flip": stored[::-1], "keep": stored}[turned]
            np.testing.assert_array_equal(source.frames(k, camera, [2])[0], expected)
    assert not (tmp_path / "out.staging").exists()


def test_stopped_it_goes_on_and_gives_the_same(files, tmp_path, monkeypatch):
    import lara.data.convert.robosuite as module

    convert(files, tmp_path / "whole", storage=ImageStorage())
    read, made = module.read_demo, []

    def stopping(*arguments, **options):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return read(*arguments, **options)

    monkeypatch.setattr(module, "read_demo", stopping)
    with pytest.raises(KeyboardInterrupt):
        convert(files, tmp_path / "out", storage=ImageStorage())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="other images"):
        convert(files, tmp_path / "out", storage=ImageStorage(), images="keep")
    counted = []
    monkeypatch.setattr(module, "read_demo", lambda *a, **o: counted.append(1) or read(*a, **o))
    convert(files, tmp_path / "out", storage=ImageStorage())
    assert len(counted) == 3
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.is_file():
            assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    with pytest.raises(StoreError, match="exists"):
        convert(files, tmp_path / "out", storage=ImageStorage())


def test_robomimic_needs_an_instruction_and_keeps_its_pictures(tmp_path, capsys):
    write(tmp_path / "low.hdf5", libero=False)
    line = ["import", "hdf5", f"path={tmp_path}/low.hdf5", f"output={tmp_path}/out", "storage=png"]
    assert main(line) == 2
    assert "task='pick up the cube'" in capsys.readouterr().err
    assert main([*line, "task=lift the cube", "state=[robot0_gripper_qpos]"]) == 0
    source = open_dataset(tmp_path / "out")
    assert source.tasks == ("lift the cube",)
    assert source.robot.observation.state == ("finger_1", "finger_2")
    np.testing.assert_array_equal(source.frames(0, "agentview", [1])[0], picture(0, 1, 0))


def linked(file):
    file["data/demo_0/obs/ee_states_2"] = h5py.ExternalLink("/etc/hostname", "/")
    del file["data/demo_0/actions"]
    file["data/demo_0/actions"] = h5py.SoftLink("/data/demo_1/actions")


def external(file):
    del file["data/demo_0/actions"]
    file["data/demo_0"].create_dataset("actions", (3, 7), "u1", external=[("/etc/passwd", 0, 21)])


def huge(file):
    del file["data/demo_0/actions"]
    file["data/demo_0"].create_dataset("actions", (1 << 40, 7), "f4", chunks=(1024, 7))


def objects(file):
    del file["data/demo_0/actions"]
    file["data/demo_0/actions"] = np.array([b"cos\nsystem\n"], object)


def attribute(file):
    file["data"].attrs["problem_info"] = "[" * 100_000


FAULTS = {
    "link": (linked, "is a link"),
    "external": (external, "in another file"),
    "huge": (huge, "more than"),
    "objects": (objects, "array of numbers"),
    "deep json": (attribute, "problem_info|JSON|deep|nest"),
    "no demos": (lambda f: [f["data"].__delitem__(k) for k in list(f["data"])], "demo_0"),
    "no data": (lambda f: f.__delitem__("data"), "has no 'data'"),
    "short": (lambda f: _replace(f, "data/demo_1/obs/agentview_rgb", np.zeros((1, 4, 4, 3), np.uint8)), "demo_1"),
    "nan": (lambda f: _replace(f, "data/demo_1/actions", np.full((4, 7), np.nan)), "finite"),
    "two arms": (lambda f: _replace(f, "data/demo_0/actions", np.zeros((3, 14))), "14 numbers"),
}


def _replace(file, name, value):
    del file[name]
    file[name] = value


@pytest.mark.parametrize(("damage", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_and_hostile_files_are_named_and_leave_no_dataset(tmp_path, damage, words):
    write(tmp_path / "x.hdf5", demos=(0, 1))
    with h5py.File(tmp_path / "x.hdf5", "a") as file:
        damage(file)
    with pytest.raises(LaraError, match=words):
        convert(tmp_path / "x.hdf5", tmp_path / "out", storage=ImageStorage())
    assert not (tmp_path / "out").exists()


def test_files_that_do_not_fit_together_and_no_files(files, tmp_path):
    write(files / "c_demo.hdf5", fps=10)
    with pytest.raises(DataError, match="fps is 10"):
        convert(files, tmp_path / "out", storage=ImageStorage())
    (files / "c_demo.hdf5").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable HDF5 file"):
        convert(files, tmp_path / "out", storage=ImageStorage())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        convert(tmp_path / "empty", tmp_path / "out", storage=ImageStorage())
    write(tmp_path / "y.hdf5", fps=None)
    with pytest.raises(ConfigError, match="fps=20"):
        convert(tmp_path / "y.hdf5", tmp_path / "out", storage=ImageStorage())
