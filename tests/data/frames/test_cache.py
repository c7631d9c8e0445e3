"""The frame cache holds exactly the decoded frames, and nothing half-built is ever believed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lara.data.frames import cache as module
from lara.data.frames.cache import FrameCache, open_or_build
from lara.data.frames.resize import resize_area
from lara.data.sources.lerobot.read import open_dataset
from lara.errors import DataError
from tests.data import worlds


@pytest.fixture
def source(tmp_path, monkeypatch):
    worlds.write(tmp_path / "set")
    monkeypatch.setattr(module, "_UNIT", 6)  # several units: episodes have 5, 9, 7, 6 frames
    return open_dataset(tmp_path / "set")


def truth(source, camera="top", size=16) -> np.ndarray:
    images = [source.frames(row.index, camera, np.arange(row.length)) for row in source.episodes]
    return resize_area(np.concatenate(images), size)


@pytest.mark.parametrize("workers", [0, 2])
def test_holds_every_decoded_frame(source, workers):
    for camera in worlds.CAMERAS:
        cache = open_or_build(source, camera, 16, workers=workers)
        np.testing.assert_array_equal(cache.frames, truth(source, camera))
        cache.verify()
        assert len(cache.checksums) > 1
        with pytest.raises(ValueError, match="read-only"):
            cache.frames[0] = 0


def test_a_second_opening_decodes_nothing_and_needs_no_video(source, monkeypatch):
    first = open_or_build(source, "top", 16)

    def forbidden(*_, **__):
        raise AssertionError("decoded again")

    monkeypatch.setattr(source, "frames", forbidden)
    assert open_or_build(source, "top", 16).folder == first.folder
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from lara.data.sources.lerobot.read import open_dataset\n"
        "from lara.data.frames.cache import open_or_build\n"
        "print(int(open_or_build(open_dataset(sys.argv[1]), 'top', 16).frames.sum()))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(source.root)], capture_output=True, text=True, check=True)
    assert int(run.stdout) == int(first.frames.sum())


def test_other_content_size_or_camera_is_another_cache(source, tmp_path):
    folder = tmp_path / "caches"
    folders = {open_or_build(source, c, s, folder=folder).folder for c in worlds.CAMERAS for s in (8, 16)}
    assert len(folders) == 4
    worlds.write(tmp_path / "other", (5, 9, 7, 7))
    folders.add(open_or_build(open_dataset(tmp_path / "other"), "top", 16, folder=folder).folder)
    assert len(folders) == 5


def test_a_changed_video_is_noticed(source):
    before = open_or_build(source, "top", 16).folder
    path = source.files("top")[0]
    path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    assert open_or_build(open_dataset(source.root), "top", 16).folder != before


DAMAGE = {
    "frames cut": (lambda f: os.truncate(f / "frames.bin", 100), "expected .* bytes, found 100"),
    "frames missing": (lambda f: (f / "frames.bin").unlink(), "found None"),
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "manifest.json.*found nothing"),
    "manifest cut": (lambda f: os.truncate(f / "manifest.json", 30), "expected JSON"),
    "manifest of another": (
        lambda f: (f / "manifest.json").write_text(
            json.dumps({**json.loads((f / "manifest.json").read_text()), "key": "0"})
        ),
        "expected a frame cache with",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_cache_is_rejected(source, damage, message):
    folder = open_or_build(source, "top", 16).folder
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_or_build(source, "top", 16)


def test_flipped_bytes_are_found_by_verify(source):
    cache = open_or_build(source, "top", 16)
    with open(cache.folder / "frames.bin", "r+b") as file:
        file.seek(7 * 16 * 16 * 3)
        byte = file.read(1)
        file.seek(7 * 16 * 16 * 3)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(DataError, match=r"frames 0\.\.13"):
        open_or_build(source, "top", 16).verify()


def test_a_failed_build_is_continued_not_repeated(source, monkeypatch):
    real = source.frames
    calls: list[int] = []

    def failing(episode, camera, indices):
        calls.append(episode)
        if len(calls) == 4:
            raise DataError("the disk went away")
        return real(episode, camera, indices)

    with monkeypatch.context() as patch:
        patch.setattr(source, "frames", failing)
        with pytest.raises(DataError, match="went away"):
            open_or_build(source, "top", 16)
        folder = source.root / ".lara-cache"
        assert not [p for p in folder.iterdir() if p.name.startswith("top-")]
        assert [p for p in folder.iterdir() if p.name.startswith(".building-top-")]
        before = len(calls)
        cache = open_or_build(source, "top", 16)
        assert calls[before:] == [2, 2, 3]  # the unit of episodes 0 and 1 was flushed and recorded
    np.testing.assert_array_equal(cache.frames, truth(source))
    assert not [p for p in folder.iterdir() if p.name.startswith(".building")]


KILLED = """
import sys, time
from lara.data.frames import cache
from lara.data.sources.lerobot.read import open_dataset
cache._UNIT = 6
source = open_dataset(sys.argv[1])
real = source.frames
def slow(*a):
    print("decoding", flush=True)
    time.sleep(float(sys.argv[2]))
    return real(*a)
source.frames = slow
cache.open_or_build(source, "top", 16)
"""


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_build_killed_at_any_time_leaves_nothing_that_is_believed(source, after):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source.root), "0.2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    folder = source.root / ".lara-cache"
    assert not [p for p in folder.iterdir() if p.name.startswith("top-")]
    np.testing.assert_array_equal(open_or_build(source, "top", 16).frames, truth(source))


def test_a_half_written_build_folder_of_another_kind_is_not_continued(source):
    cache = open_or_build(source, "top", 16)
    building = cache.folder.with_name(f".building-{cache.folder.name}")
    os.rename(cache.folder, building)  # finished bytes but no progress file: not trusted
    (building / "frames.bin").write_bytes(b"\1" * cache.frames.size)
    np.testing.assert_array_equal(open_or_build(source, "top", 16).frames, truth(source))


def test_two_processes_build_once(source):
    code = (
        "import sys\nfrom lara.data.frames.cache import open_or_build\n"
        "from lara.data.sources.lerobot.read import open_dataset\n"
        "print(int(open_or_build(open_dataset(sys.argv[1]), 'top', 16).frames.sum()))"
    )
    command = [sys.executable, "-c", code, str(source.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {int(process.communicate()[0]) for process in processes}
    assert sums == {int(truth(source).sum())}


def test_pickle_carries_no_frames(source):
    cache = open_or_build(source, "top", 16)
    data = pickle.dumps(cache)
    assert len(data) < 2000 < cache.frames.nbytes
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.frames, cache.frames)
    assert isinstance(again, FrameCache)
