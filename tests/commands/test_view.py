"""`lara view`: one page per episode that holds what it shows, and obeys nothing that a dataset says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lara.cli import main
from lara.data.check.recording import recording
from lara.data.sources.auto import AnyFormat
from lara.pages.episode import POINTS, Recording, _kept, episode_page
from lara.pages.render import render
from tests.data.check.worlds import Fake

EVIL = "<script>alert(1)</script>\"'{{ 7*7 }}"


@pytest.fixture
def source(monkeypatch):
    one = Fake((40, 30), tasks=(f"push {EVIL}", "pull"))
    one.action_names, one.state_names = ("x", f"y {EVIL}", "grip"), ("x", "angle")
    monkeypatch.setattr(AnyFormat, "open", lambda self, root: one)
    return one


def test_a_page_is_written_and_its_path_printed(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["view", "data=lerobot", "data.root=a/b/set", "episode=0", "frames=5"]) == 0
    path = tmp_path / "outputs/view/set-episode-000000.html"
    assert capsys.readouterr().out.split()[-1] == "outputs/view/set-episode-000000.html"
    page = path.read_text()
    assert "<script" not in page
    assert page.count("data:image/png") == 2 * 5
    assert len(re.findall(r"<svg\b", page)) == 4  # x (both), y, grip, angle
    for words in ("top: frame 0, 0.00 s", "top: frame 39, 3.90 s", "pull", "{{ 7*7 }}", "frames without an action"):
        assert (words in page) == (words != "pull")
    assert (
        main(["view", "data=lerobot", "data.root=a/b/set", "episode=1", "output=p/q.html", "data.cameras=[top]"]) == 0
    )
    assert (tmp_path / "p/q.html").read_text().count("data:image/png") == 12


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("episode=2", r"episodes 0\.\.1, got episode=2"),
        ("episode=-1", "whole number of at least 0"),
        ("episode=x", "whole number of at least 0"),
        ("frames=0", "whole number of at least 1"),
        ("data.cameras=[tap]", "Did you mean 'top'"),
    ],
)
def test_wrong_words_are_answered(source, word, said, capsys):
    assert main(["view", "data=lerobot", "data.root=a/b/set", word]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_short_episodes_and_video_alone_have_pages():
    for fake in (Fake((1, 2)), Fake((3, 2), dims=(0, 0)), Fake((3,), task_of=lambda k: 0)):
        made = recording(fake, 0, cameras=fake.cameras, frames=12, command="lara view")
        assert len(made["shots"]["top"]) == fake.episodes[0].length
        page = render(episode_page(Recording(**made)))
        assert ("Actions and state" in page) == bool(fake.action_names)


def test_long_lines_keep_their_spikes():
    values = np.zeros(100_000)
    values[[5, 77_777]] = [3.0, -9.0]
    values[500] = np.nan
    kept = _kept(values)
    assert len(kept) <= POINTS
    assert {5, 77_777} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
