"""lara data cache: builds what training then opens; says what it does; wrong lines are answered with the right form."""

from __future__ import annotations

import numpy as np
import pytest

from lara.cli import main
from lara.data.frames.cache import is_built, open_or_build
from lara.data.frames.resize import resize_area
from lara.data.sources.videos import CAMERA, Videos
from tests.data.sources.films import film

pytest.importorskip("av")


def test_caches_are_built_once_and_are_those_that_training_opens(tmp_path, capsys):
    for k in range(2):
        film(tmp_path / f"set/{k}.mp4", range(5))
    line = ["data", "cache", f"root={tmp_path / 'set'}", "size=16,8", f"folder={tmp_path / 'caches'}", "workers=1"]
    assert main(line) == 0
    said = capsys.readouterr().out.splitlines()
    assert [text.split(" in ")[0] for text in said] == [
        f"{CAMERA}, {size} px: 10 frames, 0.00 GB, now" for size in (16, 8)
    ]
    source = Videos().open(tmp_path / "set")
    for size in (16, 8):
        assert is_built(source, CAMERA, size, fit="pad", folder=tmp_path / "caches")
        cache = open_or_build(source, CAMERA, size, fit="pad", folder=tmp_path / "caches")
        images = resize_area(source.frames(1, CAMERA, np.arange(5)), size, fit="pad")
        np.testing.assert_array_equal(cache.read(np.arange(5, 10)), images)
    assert main(line) == 0
    assert all("was in" in text for text in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "expected: lara data cache root="),
        (["cache"], "expected: lara data cache root="),
        (["cache", "root=x", "size=16", "sizes=8"], "expected: lara data cache root="),
        (["cache", "root=x", "size=0"], "whole numbers from 1 on"),
        (["cache", "root=x", "size=16", "workers=-1"], "whole numbers from 1 on"),
        (["cache", "root=x", "size=16", "fit=padd"], "pad"),
        (["cache", "root=/nowhere/at/all", "size=16"], "found neither"),
    ],
)
def test_wrong_lines_are_answered(line, message, capsys):
    assert main(["data", *line]) == 2
    assert message in capsys.readouterr().err


def test_a_camera_that_is_not_there_is_named(tmp_path, capsys):
    film(tmp_path / "0.mp4", range(3))
    assert main(["data", "cache", f"root={tmp_path}", "size=16", "cameras=top"]) == 2
    assert "no camera 'top'" in capsys.readouterr().err
