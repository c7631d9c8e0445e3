"""The frame cache holds exactly the decoded frames, and nothing half-built is ever believed."""

from __future__ import annotations

import errno
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
from lara.data.sources.videos import Videos
from lara.errors import DataError
from tests.data.sources.films import film


@pytest.fixture
def source(tmp_path, monkeypatch):
    write(tmp_path / "set")
    monkeypatch.setattr(module, "_UNIT", 6)  # several units
    return Videos().open(tmp_path / "set")


def write(root, lengths=(5, 9, 7, 6)) -> None:
    for k, length in enumerate(lengths):
        film(root / f"{k}.mp4", range(20 * k, 20 * k + length), size=(48, 48))


def truth(source, size=16) -> np.ndarray:
    images = [source.frames(row.index, "video", np.arange(row.length)) for row in source.episodes]
    return resize_area(np.concatenate(images), size)


def everything(cache: FrameCache) -> np.ndarray:
    return cache.read(np.arange(len(cache)))


@pytest.mark.parametrize("workers", [0, 2])
def test_holds_every_decoded_frame(source, workers):
    cache = open_or_build(source, "video", 16, workers=workers)
    np.testing.assert_array_equal(everything(cache), truth(source))
    cache.verify()
    asked = np.array([[26, 0, 3], [3, 3, 11]])
    np.testing.assert_array_equal(cache.read(asked[0]), truth(source)[asked[0]])
    np.testing.assert_array_equal(cache.read(asked[1]), truth(source)[asked[1]])
    before = (cache.folder / "frames.bin").read_bytes()
    cache.read(np.array([0]))[:] = 0  # a copy of ours
    assert (cache.folder / "frames.bin").read_bytes() == before


def test_a_second_opening_decodes_nothing_and_needs_no_video(source, monkeypatch):
    first = open_or_build(source, "video", 16)

    def forbidden(*_, **__):
        raise AssertionError("decoded again")

    monkeypatch.setattr(source, "frames", forbidden)
    assert open_or_build(source, "video", 16).folder == first.folder
    code = (
        "import pathlib, pickle, sys; import numpy as np; sys.modules['av'] = None\n"
        "from lara.data.frames.cache import open_or_build\n"
        "source = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(int(open_or_build(source, 'video', 16).read(np.arange(27)).sum()))"
    )
    monkeypatch.undo()
    (source.root.parent / "source").write_bytes(pickle.dumps(source))
    command = [sys.executable, "-c", code, str(source.root.parent / "source")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) == int(everything(first).sum())


def test_other_content_size_fit_or_choice_of_frames_is_another_cache(source, tmp_path):
    folder = tmp_path / "caches"
    folders = {open_or_build(source, "video", s, fit=f, folder=folder).folder for s in (8, 16) for f in ("pad", "crop")}
    write(tmp_path / "other", (5, 9, 7, 7))
    folders.add(open_or_build(Videos().open(tmp_path / "other"), "video", 16, fit="pad", folder=folder).folder)
    folders.add(open_or_build(Videos(fps=10).open(source.root), "video", 16, fit="pad", folder=folder).folder)
    assert len(folders) == 6


def test_a_changed_video_is_noticed(source):
    before = open_or_build(source, "video", 16).folder
    path = source.files("video")[0]
    path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    assert open_or_build(Videos().open(source.root), "video", 16).folder != before


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
    folder = open_or_build(source, "video", 16).folder
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_or_build(source, "video", 16)


def flip(path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_a_flipped_byte_is_found_when_its_frame_is_first_read(source):
    folder = open_or_build(source, "video", 16).folder
    expected = truth(source)
    rng = np.random.default_rng(0)
    for number in rng.choice(27, 12, replace=False).tolist():
        at = number * 16 * 16 * 3 + int(rng.integers(16 * 16 * 3))
        flip(folder / "frames.bin", at)
        cache = open_or_build(source, "video", 16)
        others = np.delete(np.arange(27), number)
        np.testing.assert_array_equal(cache.read(others), expected[others])
        for _ in range(2):  # and every time
            with pytest.raises(DataError, match=f"frame {number} has changed on disk"):
                cache.read(np.array([0, number, 3]))
        with pytest.raises(DataError, match=f"frame {number} has changed"):
            open_or_build(source, "video", 16).verify()
        flip(folder / "frames.bin", at)
    flip(folder / "checksums.bin", 9)
    with pytest.raises(DataError, match=r"checksums\.bin: has changed on disk"):
        open_or_build(source, "video", 16)


def test_a_place_that_cannot_be_written_is_named_and_a_finished_cache_in_it_is_read(source, monkeypatch):
    made = open_or_build(source, "video", 16)
    refusal = OSError(errno.EROFS, "Read-only file system")

    def refuse(*_, **__):
        raise refusal

    monkeypatch.setattr(module.tempfile, "TemporaryFile", refuse)
    (made.folder.parent / "hashes.json").unlink()
    again = open_or_build(source, "video", 16)  # no hashes remembered, none written
    assert again.folder == made.folder
    assert not (made.folder.parent / "hashes.json").exists()
    with pytest.raises(DataError, match=r"\.lara-cache: no frame cache can be written here .*data\.cache\.folder=PATH"):
        open_or_build(source, "video", 8)
    monkeypatch.setattr(module.Path, "mkdir", refuse)  # not even the folder
    with pytest.raises(DataError, match=r"no frame cache can be written here"):
        open_or_build(source, "video", 16, folder=source.root.parent / "new")


def test_an_image_that_the_fit_refuses_is_named_with_its_file(source):
    film(source.root / "9.mp4", range(3), size=(24, 48))
    with pytest.raises(DataError, match=r"episode 4 \(9\.mp4 from 0.*24 x 48, not square.*data\.image_fit"):
        open_or_build(Videos().open(source.root), "video", 16)


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
            open_or_build(source, "video", 16)
        folder = source.root / ".lara-cache"
        assert not [p for p in folder.iterdir() if p.name.startswith("video-")]
        assert [p for p in folder.iterdir() if p.name.startswith(".building-video-")]
        before = len(calls)
        cache = open_or_build(source, "video", 16)
        assert calls[before:] == [2, 2, 3]  # the unit of episodes 0 and 1 was flushed and recorded
    np.testing.assert_array_equal(everything(cache), truth(source))
    assert not [p for p in folder.iterdir() if p.name.startswith(".building")]


KILLED = """
import sys, time
from lara.data.frames import cache
from lara.data.sources.videos import Videos
cache._UNIT = 6
source = Videos().open(sys.argv[1])
real = source.frames
def slow(*a):
    print("decoding", flush=True)
    time.sleep(float(sys.argv[2]))
    return real(*a)
source.frames = slow
cache.open_or_build(source, "video", 16)
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
    assert not [p for p in folder.iterdir() if p.name.startswith("video-")]
    np.testing.assert_array_equal(everything(open_or_build(source, "video", 16)), truth(source))


def test_a_half_written_build_folder_of_another_kind_is_not_continued(source):
    cache = open_or_build(source, "video", 16)
    building = cache.folder.with_name(f".building-{cache.folder.name}")
    os.rename(cache.folder, building)  # finished bytes but no progress file: not trusted
    (building / "frames.bin").write_bytes(b"\1" * (27 * 16 * 16 * 3))
    np.testing.assert_array_equal(everything(open_or_build(source, "video", 16)), truth(source))


def test_two_processes_build_once(source):
    code = (
        "import sys\nimport numpy as np\nfrom lara.data.frames.cache import open_or_build\n"
        "from lara.data.sources.videos import Videos\n"
        "print(int(open_or_build(Videos().open(sys.argv[1]), 'video', 16).read(np.arange(27)).sum()))"
    )
    command = [sys.executable, "-c", code, str(source.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {int(process.communicate()[0]) for process in processes}
    assert sums == {int(truth(source).sum())}


def test_pickle_carries_no_frames(source):
    cache = open_or_build(source, "video", 16)
    data = pickle.dumps(cache)
    assert len(data) < 2000
    again = pickle.loads(data)
    np.testing.assert_array_equal(everything(again), everything(cache))
    assert isinstance(again, FrameCache)
