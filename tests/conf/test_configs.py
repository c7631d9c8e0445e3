"""Every file of conf/ composes; every experiment, built tiny, takes steps that move exactly what its stage names."""

import itertools

import pytest
import torch
import yaml

from lara.config.build import build
from lara.config.compose import choices, compose, config_folder, groups, left_open, resolved
from lara.config.experiments import RENAMED, offered
from lara.config.pipeline import stage_commands, stage_configs
from lara.train.needs import require_actions
from lara.train.parts import part_paths
from lara.train.stage import apply_stage
from tests.conf.tiny_configs import EverythingIsX, batch_for, experiment, filled, shrink, without_lpips
from tests.tiny import open_frozen_gates, open_gates

ROOTS = sorted(p.stem for p in config_folder().glob("*.yaml"))
# values that a config leaves open, by the root that has them
OPEN = {
    "train": ["data.root=x", "policy.backbone.path=x"],
    "eval": ["client.checkpoint=x", "output=x"],
    "collect": [],
    "demo": [],
    "probe": ["checkpoint=x", "output=x"],
    "lams": ["root=x"],
    "policies": ["root=x"],
    "label": ["checkpoint=x", "dataset=x"],
}
# values that one choice leaves open
OPEN_CHOICE = {
    ("data", "eef_pose"): ["data.cameras=[x]", "data.embodiment=x"],
    ("lam", "latbot"): ["lam.former.path=x", "lam.decoder.stream.path=x"],
    ("policy", "latbot"): ["latent=scene_motion"],
    ("policy", "latbot_tiny"): ["latent=scene_motion"],
}
PAIRS = [(g, c) for g in groups() if g != "experiment" for c in choices(g)]


def test_every_root_is_known():
    assert set(ROOTS) == set(OPEN)


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes(root):
    assert resolved(compose(root, OPEN[root]))


@pytest.mark.parametrize(("group", "choice"), PAIRS, ids=lambda x: x)
def test_every_choice_composes_in_some_root(group, choice):
    if group == "layout":  # stands inside a policy; see test_every_layout_is_built
        return
    homes = [r for r in ROOTS if f"- {group}: " in (config_folder() / f"{r}.yaml").read_text()]
    assert homes, f"no root uses the group {group}"
    for root in homes:
        given = OPEN_CHOICE.get((group, choice), [])
        assert resolved(filled(compose(root, [f"{group}={choice}", *given]), EverythingIsX()))


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_says_its_command_on_line_one(name):
    first = (config_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# lara train experiment=")
    experiment = first.split("experiment=")[1].split()[0]
    assert experiment == name


def _file_of(name):
    return yaml.safe_load((config_folder() / "experiment" / f"{name}.yaml").read_text())


# experiments that are a list of others, run one after another; each of those is tested by itself
# (read from their files, because composing all takes longer than collecting all other tests; SINGLE are composed below)
PIPELINES = [n for n in choices("experiment") if "stages" in _file_of(n)]
SINGLE = [n for n in choices("experiment") if n not in PIPELINES]


def variants(name):
    """Hosts with every combination of their choices, "hosts/pi05 size=tiny twin=lora", others with one at a time."""
    own = offered(name, config_folder() / "experiment").items()
    values = [[f"{choice}={value}" for value in choices(f"experiment/{place}")] for choice, place in own]
    if name.startswith("hosts/"):
        return [" ".join([name, *combination]) for combination in itertools.product(*values)]
    return [name, *(f"{name} {one}" for one in itertools.chain(*values))]


def answers(of):
    """What old names are answered with, where that has overrides of its own: ablations that need no file."""
    found = {new for new in RENAMED.values() if " " in new and not new.startswith("hosts/")}
    return sorted(new for new in found if new.split()[0] in of)


TRAININGS = list(dict.fromkeys([variant for name in SINGLE for variant in variants(name)] + answers(SINGLE)))


@pytest.mark.parametrize("name", TRAININGS)
def test_every_experiment_builds_and_moves_exactly_what_its_stage_names(name, paligemma, sana):
    config = without_lpips(experiment(name, paligemma, sana))
    assert not config.get("stages"), f"{name} is a list of trainings, which its file does not show"
    torch.manual_seed(0)
    system = build(config["system"])
    stage = build({**config["stage"], "load": {}}, "run").for_system(system)
    applied = apply_stage(system, stage)
    open_gates(system)
    if config["system"].get("tuning"):
        open_frozen_gates(system.policy)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    optimizer = torch.optim.SGD(applied.learning.values(), lr=0.1)
    batch = batch_for(config)
    for step in range(2):
        applied.train()
        weights = stage.weights_at(step)
        losses = system.losses(batch, frozenset(weights))
        total = sum(weights[k] * losses.terms[k] for k in weights)
        assert torch.isfinite(total)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    moved = {k for k, v in system.state_dict().items() if not torch.equal(v, before[k])}
    paths = part_paths(system)
    for part, module in system.parts().items():
        names = {f"{paths[part]}.{k}" for k in module.state_dict()}
        learns = part in applied.parts and any(p.requires_grad for p in module.parameters())
        if not learns and not list(module.buffers()):
            assert not names & moved, f"{part} is frozen and moved"
        if learns and _reached(part, weights):
            assert names & moved, f"{part} learns and did not move"


@pytest.mark.parametrize("name", PIPELINES + answers(PIPELINES))
def test_every_stage_of_a_pipeline_is_an_experiment_that_starts_where_an_earlier_one_ends(name):
    """What a stage loads lies in the folder of a stage before it, and names parts that both have."""
    commands = stage_commands([*f"experiment={name}".split(), "data.root=x", "output=out"])
    systems = {}
    for stage, config in stage_configs(commands).items():
        assert config["output"] == f"out/{stage}"
        if commands[stage].command == "label":
            assert config["checkpoint"].removeprefix("out/") in systems
            continue
        assert commands[stage].overrides[0].removeprefix("experiment=") in SINGLE
        systems[stage] = build(shrink(config)["system"])
        for prefix, place in build(config["stage"], "run").load.items():
            earlier = place.removeprefix("out/")
            assert earlier in systems, f"{stage} loads {prefix} from {place}"
            assert earlier != stage
            shapes = [
                {
                    f"{part}.{key}": tensor.shape
                    for part, module in systems[run].parts().items()
                    if part == prefix or part.startswith(f"{prefix}.")
                    for key, tensor in module.state_dict().items()
                }
                for run in (earlier, stage)
            ]
            assert shapes[1].items() <= shapes[0].items(), f"{stage} cannot fill {prefix} from {place}"
            assert shapes[1], f"{stage} loads nothing as {prefix}"


# what learns from plain video, and what must be switched off for it
ON_VIDEO = {name: {} for name in [*compose("lams", ["root=x"]).lams, "rotvla/tiny_pretrain"]}
ON_VIDEO["latbot/tiny_lam"] = {"stage.weights.lam.action": "null"}


@pytest.mark.parametrize("name", ON_VIDEO)
def test_lams_and_stage_two_weigh_no_action_and_look_through_the_one_camera_of_videos(name):
    more = [f"{key}={value}" for key, value in ON_VIDEO[name].items()]
    given = [*f"experiment={name}".split(), "data=videos", "data.root=x", *more]
    asked = left_open(compose("train", given))
    config = resolved(compose("train", [*given, *(["lam_run=x"] if "lam_run" in asked else [])]))
    assert {*config["data"]["cameras"], *config["data"]["lam"]["cameras"]} == {"video"}
    assert config["data"]["embodiment"] == "video"
    system = build(shrink(config)["system"])
    require_actions(build({**config["stage"], "load": {}}, "run"), system, dims=0, source="x")


@pytest.mark.parametrize("layout", choices("layout"))
def test_every_layout_is_built(layout):
    given = ["experiment=rotvla/tiny_finetune", "data.root=x", "lam_run=x", "init=x"]
    config = resolved(compose("train", [*given, f"layout@policy.expert.layout={layout}"]))
    built = build(config["policy"]["expert"]["layout"])
    assert built.attention().shape == (len(built.tokens()),) * 2


def _reached(part, weights):
    """Whether some weighed term depends on a part: without its own loss a decoder has nothing to learn from."""
    if part == "lam.space":
        return "lam.kl" in weights
    if part == "lam.decoder":
        return "lam.reconstruction" in weights
    if part.startswith("align."):
        return "align" in weights
    return True


@pytest.mark.parametrize("align", choices("align"))
def test_every_alignment_is_built_and_moves_the_policy(align):
    floor = ["+stage.weights.variance=0.01"] if align == "raw_cosine_floor" else []
    config = shrink(resolved(compose("train", ["experiment=demo/lara", "data.root=x", f"align={align}", *floor])))
    system = build(config["system"])
    applied = apply_stage(system, build({**config["stage"], "load": {}}, "run"))
    open_gates(system)
    system.losses(batch_for(config), frozenset({"align"})).terms["align"].backward()
    assert any(p.grad is not None and p.grad.any() for n, p in applied.learning.items() if n.startswith("policy."))


def test_a_lam_of_two_cameras_is_two_settings():
    given = ["experiment=demo/lara", "data.root=x", "data.lam.cameras=[corner2,topview]", "align.views=2"]
    config = shrink(resolved(compose("train", given)))
    system = build(config["system"])
    open_gates(system)
    batch = batch_for(config)
    assert batch.frames_BFVCHW.shape[2] == 2
    terms = system.losses(batch, frozenset(system.terms())).terms
    sum(terms.values()).backward()
    assert system.coupling.projector[-1].weight.grad.any()


def test_lpips_of_the_paper_is_really_in_the_paper_recipes(paligemma, sana):
    config = experiment("lara/pretrain", paligemma, sana)
    assert "lam.lpips" in build(config["system"]).terms()
    assert build({**config["stage"], "load": {}}, "run").weights_at(0)["lam.lpips"] == 0.01
