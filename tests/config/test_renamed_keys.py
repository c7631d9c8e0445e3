"""Old keys of the data: each is answered with the key that says it now, on the command line and in a file."""

import re
import shutil

import pytest
from omegaconf import OmegaConf

import lara.config.compose as composing
from lara.config.compose import compose, config_folder
from lara.config.renamed_keys import ACTIONS, DATA, renamed
from lara.errors import ConfigError


@pytest.mark.parametrize("old", DATA)
def test_an_old_key_is_answered_with_the_new_one_which_exists(old):
    new = f"data.{DATA[old]}"
    with pytest.raises(ConfigError, match=rf"^data\.{old} is now {re.escape(new)}$"):
        compose("train", ["experiment=demo/lara", f"data.{old}=1"])
    config = compose("train", ["experiment=demo/lara", "data=lerobot"])
    place, _, key = new.rpartition(".")
    assert key in OmegaConf.select(config, place)
    assert old not in config.data


@pytest.mark.parametrize("old", ACTIONS)
def test_what_was_several_settings_is_answered_with_the_one_that_it_is_part_of(old):
    with pytest.raises(ConfigError, match=rf"^data\.{old} is now part of data\.actions"):
        compose("train", ["experiment=demo/lara", f"data.{old}=1"])
    # what the answer gives as an example composes, and is no longer the numbers as they are
    actions = compose("train", ["experiment=demo/lara", *ACTIONS[old].split()]).data.actions
    assert not actions["_target_"].endswith("InOrder")


def test_the_answer_keeps_what_was_typed_around_the_key():
    assert renamed("data.frames.stride") == "data.frames.stride is now data.lam.frames.stride"
    assert renamed("data.sources.left.frame_gap") == "data.sources.left.frame_gap is now data.sources.left.lam.gap"
    assert renamed("stages.lam.data.lam_cameras") == "stages.lam.data.lam_cameras is now stages.lam.data.lam.cameras"
    assert renamed("data.lam.cameras") is None
    assert renamed("frame_gap") is None
    with pytest.raises(ConfigError, match=r"is now data\.sources\.robot\.lam\.gap$"):
        compose("train", ["experiment=demo/lara", "data=mixture/pair", "data.sources.robot.frame_gap=3"])


def test_an_old_key_in_a_file_is_answered_too(tmp_path, monkeypatch):
    shutil.copytree(config_folder(), tmp_path / "conf")
    recipe = tmp_path / "conf" / "experiment" / "demo" / "mine.yaml"
    recipe.write_text(
        "# mine\ndefaults: [/experiment/demo/lara@_global_, _self_]\nname: mine\ndata: {lam_image_size: 224}\n"
    )
    monkeypatch.setattr(composing, "config_folder", lambda: tmp_path / "conf")
    with pytest.raises(ConfigError, match=r"^data\.lam_image_size is now data\.lam\.image_size\n"):
        compose("train", ["experiment=demo/mine"])
