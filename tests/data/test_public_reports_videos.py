"""Folders of videos as people reported them to other projects, built here; each is read right, or refused by name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lara.data.sources.videos import CAMERA, VideoFolder, Videos
from tests.data.sources.films import cut, film, number_of, turn

pytest.importorskip("av")


def numbers(source: VideoFolder) -> list[list[int]]:
    """What the frames of each episode show."""
    frames = [source.frames(row.index, CAMERA, np.arange(row.length)) for row in source.episodes]
    return [[number_of(image) for image in images] for images in frames]


@pytest.mark.parametrize("frames_between", [0, 2])
def test_a_clip_cut_without_encoding_has_only_the_frames_that_are_shown(tmp_path, frames_between):
    """vllm-project/vllm#48608, meta-pytorch/torchcodec#1502."""
    whole = film(tmp_path / "whole.mp4", range(60), fps=30, gop=15, frames_between=frames_between)
    (tmp_path / "set").mkdir()
    cut(whole, tmp_path / "set/clip.mp4", first_packet=15, first_shown=20, end=50, fps=30)
    source = Videos().open(tmp_path / "set")
    assert numbers(source) == [list(range(20, 50))]
    rng = np.random.default_rng(0)
    for _ in range(20):
        asked = rng.integers(0, 30, 3)
        assert [number_of(image) for image in source.frames(0, CAMERA, asked)] == (asked + 20).tolist()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".webm", "libvpx-vp9"),
        (".mkv", "h264"),
        (".mov", "h264"),
        (".avi", "mpeg4"),
        (".m4v", "h264"),
        (".MP4", "h264"),
    ],
)
def test_every_usual_container_is_read(tmp_path, suffix, codec):
    """LatentActionPretraining/LAPA#22: something-something is a folder of webm files."""
    for k in range(2):
        film(tmp_path / f"{k}.{suffix.lower()}", range(100 * k, 100 * k + 24), fps=12, codec=codec)
        (tmp_path / f"{k}.{suffix.lower()}").rename(tmp_path / f"{k}.{suffix}")
    source = Videos().open(tmp_path)
    assert source.fps == pytest.approx(12)
    assert numbers(source) == [list(range(24)), list(range(100, 124))]


def test_files_with_times_in_milliseconds_have_their_nominal_rate(tmp_path):
    """OpenDriveLab/UniVLA#22: mp4 files remuxed from containers that count milliseconds."""
    for k, length in enumerate((24, 31, 47)):
        times = [round(j * 1000 / 30) for j in range(length)]
        film(tmp_path / f"{k}.mp4", range(length), fps=30, times=times, clock=Fraction(1, 1000))
    source = Videos().open(tmp_path)
    assert source.fps == 30
    assert numbers(source) == [list(range(24)), list(range(31)), list(range(47))]


def test_both_ways_to_say_29_97_are_one_rate(tmp_path):
    film(tmp_path / "a.mp4", range(40), fps=Fraction(2997, 100))
    film(tmp_path / "b.mp4", range(40), fps=Fraction(30000, 1001))
    times = [round(j * 1001 / 30) for j in range(40)]
    film(tmp_path / "c.mkv", range(40), fps=Fraction(30000, 1001), times=times, clock=Fraction(1, 1000))
    assert Videos().open(tmp_path).fps == pytest.approx(30000 / 1001, rel=1e-4)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_phone_film_is_read_upright(tmp_path, quarters):
    """meta-pytorch/torchcodec#1084, datachain-ai/datachain#1823: a display matrix turns the picture."""
    straight, turned = film(tmp_path / "a/x.mp4", range(8)), turn(film(tmp_path / "b/x.mp4", range(8)), quarters)
    given = Videos().open(straight.parent).frames(0, CAMERA, np.arange(8))
    source = Videos().open(turned.parent)
    got = source.frames(0, CAMERA, np.arange(8))
    np.testing.assert_array_equal(got, np.rot90(given, -quarters, axes=(1, 2)))
    assert source.shapes[CAMERA] == got.shape[1:]
    assert [f.kind for f in source.findings(decode=False, cameras=())] == ["turned videos"]


def test_linked_folders_and_files_are_read_once_each(tmp_path):
    """Data sets put together from links: a hub's cache, a network drive."""
    film(tmp_path / "set/own.mp4", range(5))
    film(tmp_path / "store/linked.mp4", range(10, 15))
    film(tmp_path / "elsewhere.mp4", range(20, 25))
    (tmp_path / "set/sub").symlink_to(tmp_path / "store")
    (tmp_path / "set/file.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    (tmp_path / "store/circle").symlink_to(tmp_path / "set")
    source = Videos().open(tmp_path / "set")
    assert [row.info["file"] for row in source.episodes] == ["file.mp4", "own.mp4", "sub/linked.mp4"]
    assert numbers(source) == [list(range(20, 25)), list(range(5)), list(range(10, 15))]
    (finding,) = source.findings(decode=True, cameras=(CAMERA,))
    assert finding.kind == "folders met twice"
    assert str(Path("sub/circle")) in finding.said
