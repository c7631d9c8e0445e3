"""`lara collect` killed anywhere between the last attempt and its end goes on to the same dataset."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal

import pytest

import lara.data.collect as collecting
import lara.store.files as files
from lara.errors import ConfigError
from lara.store.lock import only_one
from tests.data.test_collect import contents, gather


def _killed_at(where, output):
    """Collects in this (forked) process until the point `where`, and dies there by SIGKILL."""

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    if where == "before assembling":
        collecting.assemble = die
    elif where == "before publishing":
        files.os.rename = die
    elif where == "after publishing":
        collecting.retire_folder = die
    elif where == "while the staging goes":
        files.shutil.rmtree = die
    gather(output)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with every attempt staged and nothing assembled, and the dataset that it must become."""
    root = tmp_path_factory.mktemp("staged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "retire_folder", lambda _: None)
        gather(root / "data")
    (root / "data").rename(root / "whole")
    return root


@pytest.mark.parametrize(
    "where", ["before assembling", "before publishing", "after publishing", "while the staging goes"]
)
def test_a_kill_between_publishing_and_the_end_changes_nothing(staged, tmp_path, where):
    shutil.copytree(staged / "data.staging", tmp_path / "data.staging")
    process = multiprocessing.get_context("fork").Process(target=_killed_at, args=(where, tmp_path / "data"))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    published = (tmp_path / "data").exists()
    assert published == (where in ("after publishing", "while the staging goes"))
    assert (tmp_path / "data" / "collection.json").exists() == published  # both, or neither
    report = gather(tmp_path / "data")
    assert contents(tmp_path / "data") == contents(staged / "whole")
    assert report["frames"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_two_collections_do_not_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()

    def hold():
        with only_one(tmp_path / "data.staging", "collecting"):
            ready.set()
            done.wait(60)

    process = context.Process(target=hold)
    process.start()
    try:
        assert ready.wait(60)
        with pytest.raises(ConfigError, match=f"process {process.pid} on .* has been collecting there since"):
            gather(tmp_path / "data")
    finally:
        done.set()
        process.join(60)
