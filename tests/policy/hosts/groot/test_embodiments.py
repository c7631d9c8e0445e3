"""A GR00T names its robot, and trains that robot's row of its tables or nothing."""

import json

import pytest

from lara.config.compose import compose, resolved
from lara.errors import CheckpointError, ConfigError
from lara.launch import with_embodiments
from tests.policy.hosts.groot.test_model import VERSIONS, tiny_groot

PAPER = {
    version: resolved(
        compose("train", [f"policy=groot_{version}_paper", "data.root=x", "policy.embodiment=new_embodiment", path])
    )["policy"]
    for version, path in zip(
        VERSIONS, ["policy.backbone.path=x"] * 2 + ["policy.backbone.processor.path=x"], strict=True
    )
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tables_name_rows_that_the_public_heads_have(version):
    table, slots = PAPER[version]["embodiments"], PAPER[version]["head"]["slots"]
    assert all(0 <= row < slots for row in table.values())
    known = {"n15": ("gr1", 24), "n16": ("oxe_droid", 16), "n17": ("libero_sim", 2)}[version]
    assert table[known[0]] == known[1]
    assert table["new_embodiment"] == {"n15": 31, "n16": 10, "n17": 10}[version]


def test_a_robot_that_is_not_in_the_table_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"policy\.embodiment=new_embodimnt is not in .*new_embodiment"):
        tiny_groot("n16", embodiment="new_embodimnt")
    given = ["experiment=hosts/groot_n16", "policy.embodiment=gr2", "policy.backbone.path=x", "data.root=x"]
    with pytest.raises(ConfigError, match=r"there is no policy\.embodiments\.gr2.*Did you mean 'gr1'"):
        compose("train", given)


def test_a_row_that_the_head_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="rows 0 to 2"):
        tiny_groot("n15", embodiments={"new_embodiment": 31})


@pytest.mark.parametrize("row", [2, 1])
def test_a_checkpoint_that_gives_the_robot_another_row_is_refused(row, tmp_path):
    from safetensors.torch import save_file

    weights = {k: v.contiguous() for k, v in tiny_groot("n16").vendor_state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "embodiment_id.json").write_text(json.dumps({"new_embodiment": row, "another": 7}))
    if row == 2:
        tiny_groot("n16", weights=str(tmp_path))
        return
    with pytest.raises(CheckpointError, match=r"set policy\.embodiments\.new_embodiment=1"):
        tiny_groot("n16", weights=str(tmp_path))


@pytest.mark.parametrize(("slot", "fits"), [(20, True), (0, False)])
def test_a_run_trains_the_row_of_the_robot_that_it_names(slot, fits):
    policy = {"embodiment": "gr1", "embodiments": {"gr1": 20, "oxe_google": 0}}
    config = {"data": {"embodiment": "mine", "slot": slot}, "inherit": None, "slots": 32, "system": {"policy": policy}}
    if fits:
        assert with_embodiments(config)["data"]["slot"] == 20
        return
    with pytest.raises(ConfigError, match=r"policy\.embodiment=gr1 is row 20 of the checkpoint.* train row 0"):
        with_embodiments(config)
