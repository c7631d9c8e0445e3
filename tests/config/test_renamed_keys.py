"""Old keys of the data: each is answered with the key that says it now, on the command line and in a file."""

import shutil

import pytest
from omegaconf import OmegaConf

import lara.config.compose as composing
from lara.config.compose import compose, config_folder
from lara.config.renamed_keys import ACTIONS, DATA, renamed
from lara.errors import ConfigError


def test_every_old_key_is_answered_with_the_new_one_which_exists():
    config = compose("train", ["experiment=demo/lara", "data=lerobot"])
    for old, new in DATA.items():
        assert renamed(f"data.{old}") == f"data.{old} is now data.{new}"
        place, _, key = f"data.{new}".rpartition(".")
        assert key in OmegaConf.select(config, place)
        assert old not in config.data


def test_the_command_line_is_answered_so():
    with pytest.raises(ConfigError, match=r"^data\.lam_cameras is now data\.lam\.cameras$"):
        compose("train", ["experiment=demo/lara", "data.lam_cameras=[top]"])


@pytest.mark.parametrize("old", ACTIONS)
def test_what_was_several_settings_is_answered_with_the_one_that_it_is_part_of(old):
    assert renamed(f"data.{old}").startswith(f"data.{old} is now part of data.actions, ")
    # what the answer gives as an example composes, and is no longer the numbers as they are
    actions = compose("train", ["experiment=demo/lara", *ACTIONS[old].split()]).data.actions
    assert not actions["_target_"].endswith("InOrder")


def test_the_answer_keeps_what_was_typed_around_the_key():
    assert renamed("data.frames.stride") == "data.frames.stride is now data.lam.frames.stride"
    assert renamed("data.sources.left.frame_gap") == "data.sources.left.frame_gap is now data.sources.left.lam.gap"
    assert renamed("stages.lam.data.lam_cameras") == "stages.lam.data.lam_cameras is now stages.lam.data.lam.cameras"
    assert renamed("data.lam.cameras") is None
    assert renamed("frame_gap") is None


def test_an_old_key_in_a_file_is_answered_too(tmp_path, monkeypatch):
    shutil.copytree(config_folder(), tmp_path / "conf")
    recipe = tmp_path / "conf" / "experiment" / "demo" / "mine.yaml"
    recipe.write_text(
        "# mine\ndefaults: [/experiment/demo/lara@_global_, _self_]\nname: mine\ndata: {lam_image_size: 224}\n"
    )
    monkeypatch.setattr(composing, "config_folder", lambda: tmp_path / "conf")
    with pytest.raises(ConfigError, match=r"^data\.lam_image_size is now data\.lam\.image_size$"):
        compose("train", ["experiment=demo/mine"])


@pytest.mark.parametrize("added", ["+data.frame_gap=3", "+data.sources.robot.frame_gap=3"])
def test_an_old_key_is_not_added_either(added):
    chosen = "mixture/pair" if "sources" in added else "lerobot"
    with pytest.raises(ConfigError, match=r"frame_gap is now data\.\S*lam\.gap$"):
        compose("train", ["experiment=demo/lara", f"data={chosen}", added])
