"""How an experiment is named: families, their choices, and what an old name is answered with."""

import pytest

from lara.config import choices, compose, config_folder, resolved
from lara.errors import ConfigError
from lara.experiments import RENAMED, families

FOLDER = config_folder() / "experiment"


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_answered_with_the_new_one_which_exists(old):
    new = RENAMED[old]
    with pytest.raises(ConfigError, match=f"experiment={old} is now experiment={new}"):
        compose("train", [f"experiment={old}"])
    name, *chosen = new.split()
    assert name in choices("experiment")
    for group, _, choice in (one.partition("=") for one in chosen):
        assert choice in choices(f"experiment/hosts/{group}")


def test_no_old_name_is_in_use_again():
    assert not set(RENAMED) & set(choices("experiment"))


def test_a_family_s_experiments_are_listed_by_their_path_and_its_choices_are_not_among_them():
    found = choices("experiment")
    assert "hosts/pi05" in found
    assert not [name for name in found if name.startswith(("hosts/size", "hosts/twin", "pi05"))]
    assert families(FOLDER)["hosts"] == ["size", "twin"]


def test_a_choice_changes_what_is_composed_whatever_its_place_on_the_command_line():
    one = compose("train", ["experiment=hosts/pi0", "size=tiny", "twin=base"])
    two = compose("train", ["twin=base", "size=tiny", "experiment=hosts/pi0"])
    assert one == two
    assert one.name == "hosts/pi0_tiny_base"
    assert one.system.lam is None
    assert compose("train", ["experiment=hosts/pi0"]).name == "hosts/pi0_paper_lara"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=hosts/pi5"], r"conf/experiment/hosts/ has no 'pi5'. Did you mean '?pi05"),
        (["experiment=hosts/pi05", "size=tny"], r"conf/experiment/hosts/size/ has no 'tny'. Did you mean '?tiny"),
        (["experiment=lara_tiny", "size=tiny"], r"experiment=lara_tiny has no choice of size; those of hosts/"),
        (["size=tiny"], r"size= chooses within an experiment of hosts/"),
    ],
)
def test_a_wrong_choice_is_answered_with_what_there_is(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose("train", overrides)


GROOT = ("groot_n15", "groot_n16", "groot_n17")


@pytest.mark.parametrize("host", GROOT)
def test_a_groot_of_full_size_does_not_start_without_the_robot_s_name(host):
    backbone = "policy.backbone.processor.path=x" if host == "groot_n17" else "policy.backbone.path=x"
    given = [f"experiment=hosts/{host}", "twin=base", "data.root=x", backbone]
    with pytest.raises(ConfigError, match=r"these values must be given: policy\.embodiment=\.\.\.$"):
        resolved(compose("train", given))
    named = resolved(compose("train", [*given, "policy.embodiment=new_embodiment"]))
    assert named["data"]["slot"] == {"groot_n15": 31, "groot_n16": 10, "groot_n17": 10}[host]
    assert named["data"]["slot"] < named["slots"] == named["policy"]["head"]["slots"]


@pytest.mark.parametrize("host", ["pi0", "pi05", "smolvla", *GROOT])
def test_full_size_asks_for_a_gpu_in_bf16_and_shows_each_host_its_own_image_size(host):
    given = [f"experiment=hosts/{host}"]
    config = compose("train", given)
    assert (config.runtime.device, config.runtime.precision) == ("cuda", "bf16")
    seen = {"smolvla": 512, "groot_n16": 256, "groot_n17": 256}
    assert config.data.image_size == seen.get(host, 224)
    assert config.data.lam_image_size == config.lam.decoder.image_size == 224
