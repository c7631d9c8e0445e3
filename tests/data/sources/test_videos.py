"""A folder of videos as a source: what is read, what is refused, what is left out and said."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from fractions import Fraction

import numpy as np
import pytest

from lara.data.frames.encode import ImageStorage
from lara.data.frames.resize import resize_area
from lara.data.sources.source import Source
from lara.data.sources.videos import CAMERA, INSTRUCTIONS, VideoFolder, Videos, open_source
from lara.errors import ConfigError, DataError
from tests.data import worlds
from tests.data.sources.films import film, number_of

pytest.importorskip("av")


def shown(source: Source, episode: int) -> list[int]:
    images = source.frames(episode, CAMERA, np.arange(source.episodes[episode].length))
    return [number_of(image) for image in images]


@pytest.fixture
def folder(tmp_path):
    for name, first, length in (("b/2.mp4", 20, 6), ("a/1.mp4", 10, 9), ("a/0.mp4", 0, 7)):
        film(tmp_path / "set" / name, range(first, first + length))
    return tmp_path / "set"


def kinds(source: VideoFolder, **how) -> dict[str, int]:
    found = source.findings(**{"decode": False, "cameras": (CAMERA,), **how})
    return {f.kind: f.count for f in found}


def test_it_answers_everything_that_a_source_promises(folder):
    texts = {"a/0.mp4": "open", "a/1.mp4": "close", "b/2.mp4": "open"}
    (folder / INSTRUCTIONS).write_text(json.dumps(texts))
    source = Videos().open(folder)
    assert (source.root, source.fps, source.cameras, source.robot) == (folder, 10.0, (CAMERA,), None)
    assert (source.action_names, source.state_names, source.tasks) == ((), (), ("open", "close"))
    assert source.shapes == {CAMERA: (32, 48, 3)}
    rows = [(row.index, row.length, row.start, row.tasks, row.info["file"]) for row in source.episodes]
    assert rows == [
        (0, 7, 0, ("open",), "a/0.mp4"),
        (1, 9, 7, ("close",), "a/1.mp4"),
        (2, 6, 16, ("open",), "b/2.mp4"),
    ]
    assert [shown(source, k) for k in range(3)] == [list(range(7)), list(range(10, 19)), list(range(20, 26))]
    numbers = source.arrays(1)
    assert numbers.actions.shape == numbers.state.shape == (9, 0)
    assert not numbers.real.any()
    assert numbers.task_index.tolist() == [1] * 9
    np.testing.assert_allclose(numbers.timestamp, np.arange(9) / 10)
    assert source.files(CAMERA) == tuple(folder / name for name in texts)
    assert len({source.place(k, CAMERA) for k in range(3)}) == 3
    assert kinds(source, decode=True) == {}
    again = pickle.loads(pickle.dumps(source))
    assert shown(again, 2) == list(range(20, 26))


def test_what_is_not_there_is_refused_by_name(folder):
    source = Videos().open(folder)
    for episode, camera, wanted, message in (
        (3, CAMERA, [0], r"has episodes 0\.\.2, asked for 3"),
        (0, CAMERA, [7], r"0\.mp4: has frames 0\.\.6, asked for \[7\]"),
        (0, CAMERA, [-1], r"asked for \[-1\]"),
        (0, CAMERA, [], r"asked for \[\]"),
    ):
        with pytest.raises(DataError, match=message):
            source.frames(episode, camera, wanted)
    with pytest.raises(ConfigError, match="no camera 'top'"):
        source.frames(0, "top", [0])
    film(folder / "a/0.mp4", range(5))
    with pytest.raises(DataError, match=r"0\.mp4: had 7 frames when the folder was opened, now 5"):
        source.frames(0, CAMERA, [0])


def test_an_instruction_for_every_file_or_for_none(folder):
    for texts in ({"a/0.mp4": "x"}, {"a/0.mp4": "x", "a/1.mp4": "y", "b/2.mp4": "z", "b/3.mp4": "?"}):
        (folder / INSTRUCTIONS).write_text(json.dumps(texts))
        with pytest.raises(DataError, match=r"instructions\.json: \d videos have no instruction"):
            Videos().open(folder)


BROKEN = {
    "empty": (b"", "has no bytes at all"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "git-lfs pointer.*git lfs pull",
    ),
    "noise": (b"\x00\x01noise" * 100, "damaged"),
    "link to nothing": (None, "found nothing"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_without_a_video_refuses_the_folder_or_is_left_out_aloud(folder, content, message):
    bad = folder / "a/2.mp4"
    bad.symlink_to(folder / "gone.mp4") if content is None else bad.write_bytes(content)
    with pytest.raises(DataError, match=f"1 of 4 videos cannot be read, first: .*2.mp4: .*{message}.*left_out"):
        Videos().open(folder)
    source = Videos(damaged="left_out").open(folder)
    assert len(source.episodes) == 3
    (finding,) = source.findings(decode=True, cameras=(CAMERA,))
    assert (finding.kind, finding.count) == ("files left out", 1)
    assert "4 videos found, 3 read, 1 left out" in finding.said


def test_files_of_other_kinds_are_counted_and_hidden_ones_are_not_videos(folder):
    for name in ("a/x.gif", "a/y.GIF", "b/z.wmv", "notes.txt", "._0.mp4"):
        (folder / name).write_bytes(b"?")
    (folder / ".lara-cache").mkdir()
    (folder / ".lara-cache/frames.mp4").write_bytes(b"?")
    source = Videos().open(folder)
    assert kinds(source) == {"other files": 3}
    shutil.rmtree(folder / "a")
    (folder / "b/2.mp4").unlink()
    with pytest.raises(DataError, match=r"\.webm, .*found neither; other files there: \.wmv \(1\)"):
        Videos().open(folder)


def test_damage_inside_is_a_finding_when_frames_are_decoded(folder):
    path = folder / "a/1.mp4"
    data = bytearray(path.read_bytes())
    end = data.find(b"moov") - 4
    data[end - 200 : end] = bytes(200)  # the index is sound: only decoding tells
    path.write_bytes(data)
    source = Videos().open(folder)
    assert kinds(source) == {}
    assert kinds(source, decode=True) == {"undecodable frames": 1}


def test_a_late_beginning_is_read_and_a_varying_rate_only_resampled(tmp_path):
    late = film(tmp_path / "late/one.mp4", range(12), times=range(30, 150, 10), clock=Fraction(1, 100))
    assert shown(Videos().open(late.parent), 0) == list(range(12))
    times = [*range(0, 60, 10), *range(90, 150, 10)]  # no frame at 0.6, 0.7 and 0.8 s
    varying = film(tmp_path / "varying/one.mp4", range(12), times=times, clock=Fraction(1, 100)).parent
    with pytest.raises(DataError, match=r"one\.mp4: frame \d+ is shown at .* its rate varies.*data\.format\.fps="):
        Videos().open(varying)
    source = Videos(fps=10).open(varying)
    assert shown(source, 0) == [*range(6), 5, 5, 6, *range(6, 12)]
    assert kinds(source) == {"resampled": 1}
    assert shown(Videos(fps=5).open(late.parent), 0) == list(range(0, 12, 2))


def test_different_rates_are_named_and_become_one_when_asked(tmp_path):
    film(tmp_path / "slow.mp4", range(10), fps=10)
    film(tmp_path / "fast.mp4", range(30), fps=30)
    with pytest.raises(DataError, match=r"10 fps: 1 files such as slow\.mp4; 30 fps: 1 files such as fast\.mp4"):
        Videos().open(tmp_path)
    source = Videos(fps=10).open(tmp_path)
    assert [shown(source, k) for k in range(2)] == [list(range(0, 30, 3)), list(range(10))]
    assert Videos(fps=5).open(tmp_path).place(0, CAMERA) != source.place(0, CAMERA)
    for fps in (0, -1, float("nan"), 1e9):
        with pytest.raises(ConfigError):
            Videos(fps=fps)


def test_sizes_may_differ_and_the_fit_decides(folder):
    film(folder / "z.mp4", range(5), size=(48, 24))
    source = Videos().open(folder)
    assert kinds(source) == {"mixed sizes": 2}
    image = source.frames(3, CAMERA, [0])
    assert image.shape == (1, 48, 24, 3)
    assert resize_area(image, 16, fit="pad").shape == (1, 16, 16, 3)


def test_a_damaged_dataset_is_not_taken_for_a_folder_of_videos(tmp_path):
    worlds.write(tmp_path / "set", (5, 5), storage=ImageStorage())
    (tmp_path / "set/meta/info.json").unlink()
    with pytest.raises(DataError, match=r"info\.json"):
        open_source(tmp_path / "set")
    with pytest.raises(DataError, match="found neither"):
        open_source(tmp_path / "nothing")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_listed_is_not_left_out(folder):
    (folder / "b").chmod(0)
    try:
        with pytest.raises(Exception, match=r"/b"):
            Videos().open(folder)
    finally:
        (folder / "b").chmod(0o755)
