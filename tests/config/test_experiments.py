"""How an experiment is named: families, their choices, and what an old name is answered with."""

import re

import pytest

from lara.config.compose import choices, compose, config_folder, resolved
from lara.config.experiments import RENAMED, in_full, offered
from lara.errors import ConfigError

FOLDER = config_folder() / "experiment"


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_answered_with_the_new_one_which_exists(old):
    new = RENAMED[old]
    with pytest.raises(ConfigError, match=f"experiment={re.escape(old)} is now experiment={re.escape(new)}$"):
        in_full([f"experiment={old}"], FOLDER)
    if old == "demo_base":  # no recipe: what others share
        return
    name, *chosen = new.split()
    assert name in choices("experiment")
    own = offered(name, FOLDER)
    for group, _, choice in (one.partition("=") for one in chosen):
        # (tests/conf builds and steps the answers with overrides of another kind)
        assert group not in own or choice in choices(f"experiment/{own[group]}")


def test_no_old_name_is_in_use_again():
    assert not set(RENAMED) & set(choices("experiment"))


def test_experiments_are_listed_by_their_path_and_the_pieces_of_a_family_are_not_among_them():
    found = choices("experiment")
    assert {"hosts/pi05", "lara/tiny"} <= set(found)
    assert {name.count("/") for name in found} == {1}
    assert len(list(FOLDER.rglob("*.yaml"))) > len(found)


@pytest.mark.parametrize(
    ("experiment", "own"),
    [
        ("hosts/pi05", {"size": "hosts/size", "twin": "hosts/twin"}),
        ("lara/posttrain", {"ablation": "lara/ablation"}),
        ("demo/posttrain", {"space": "demo/space", "ablation": "lara/ablation"}),
        ("lara/dit_only", {}),
        ("rotvla/tiny_aligned", {}),
        ("demo/lam", {}),
    ],
)
def test_an_experiment_offers_its_own_choices_and_its_parents_but_for_those_that_it_fixes(experiment, own):
    assert offered(experiment, FOLDER) == own


def test_a_choice_changes_what_is_composed_whatever_its_place_on_the_command_line():
    one = compose("train", ["experiment=hosts/pi0", "size=tiny", "twin=base"])
    two = compose("train", ["twin=base", "size=tiny", "experiment=hosts/pi0"])
    assert one == two
    assert one.name == "hosts/pi0_tiny_base"
    assert one.system.lam is None
    assert compose("train", ["experiment=hosts/pi0"]).name == "hosts/pi0_paper_lara"


def test_every_combination_of_choices_has_an_output_of_its_own():
    both = compose("train", ["experiment=demo/posttrain", "space=additive_laws", "ablation=frozen_lam"])
    assert both.output == "outputs/demo/posttrain_additive_laws_frozen_lam"
    assert both.align.stop_gradient == "lam"
    assert both.objective["_target_"] == "lara.systems.objectives.additive.AdditiveLaws"
    assert compose("train", ["experiment=demo/posttrain"]).output == "outputs/demo/posttrain"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=hosts/pi5"], r"conf/experiment/hosts/ has no 'pi5'. Did you mean '?pi05"),
        (["experiment=hosts/pi05", "size=tny"], r"conf/experiment/hosts/size/ has no 'tny'. Did you mean '?tiny"),
        (["experiment=lara/tiny", "size=tiny"], r"experiment=lara/tiny has no choice of size; these have: hosts/groot"),
        (["experiment=lara/dit_only", "ablation=frozen_lam"], r"these have: demo/lara, demo/posttrain, lara/posttrain"),
        (["experiment=demo/lara", "ablation=frozen"], r"lara/ablation/ has no 'frozen'. Did you mean '?frozen_"),
        (["size=tiny"], r"size= chooses within an experiment: hosts/groot_n15, "),
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
    assert config.data.lam.image_size == config.lam.decoder.image_size == 224
