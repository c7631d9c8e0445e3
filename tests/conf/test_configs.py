"""Every file of conf/ composes; every experiment, built tiny, takes steps that move exactly what its stage names."""

import dataclasses
import itertools
import re

import pytest
import torch

from lara.config.build import build
from lara.config.compose import choices, compose, config_folder, groups, left_open, resolved
from lara.config.experiments import RENAMED, offered
from lara.config.pipeline import stage_commands, stage_configs
from lara.errors import ConfigError
from lara.probes.clips import latents, predict
from lara.train.needs import require_actions
from lara.train.parts import part_paths
from lara.train.stage import apply_stage
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
        missing = left_open(compose(root, [f"{group}={choice}", *given]))
        given = given + [f"{key}=x" for key in missing]
        assert resolved(compose(root, [f"{group}={choice}", *given]))


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_says_its_command_on_line_one(name):
    first = (config_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# lara train experiment=")
    experiment = first.split("experiment=")[1].split()[0]
    assert experiment == name


# experiments that are a list of others, run one after another; each of those is tested by itself
PIPELINES = [n for n in choices("experiment") if stage_commands([f"experiment={n}", "data.root=x"])]
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


def _experiment(name, paligemma, sana):
    """The experiment, tiny; what it leaves open is named by its own configuration."""
    values = {"data.root": "x", "init": "x", "labels": "x", "lam_run": "x", "policy.backbone.path": paligemma}
    values |= {"lam.former.path": paligemma, "lam.decoder.stream.path": sana, "policy.backbone.processor.path": "x"}
    values |= {"policy.embodiment": "new_embodiment"}
    asked = f"experiment={name}".split()
    given = [f"{key}={values[key]}" for key in left_open(compose("train", asked)) if key in values]
    return shrink(resolved(compose("train", [*asked, *given])))


def shrink(config):
    """The same structure at a size that a test can step: every width 32, images 32 px."""
    config = {**config, "image_size": 32}
    config["data"] |= {"image_size": 32, "lam_image_size": 32}
    system = config["system"]
    if system.get("policy") and ".hosts." in system["policy"]["_target_"]:
        config["system"] = system = {**system, "policy": _tiny_host(config)}
    elif system.get("policy") and "expert" not in system["policy"]:
        _shrink_student(system["policy"]["backbone"])
    elif system.get("policy") and "dim" in system["policy"]["backbone"]:
        _shrink_student(system["policy"]["backbone"])
        system["policy"]["adapter"]["heads"] = 2
        system["policy"]["expert"] |= {"width": 32, "heads": 4, "slots": 3}
    elif system.get("policy"):
        system["policy"]["expert"] |= {"width": 32, "heads": 4, "slots": 3}
        if system["policy"]["expert"]["blocks"] > 16:
            system["policy"]["expert"]["blocks"] = 4
        if "image_size" in system["policy"]["backbone"]:
            system["policy"]["backbone"] |= {"image_size": 32, "width": 32}
            system["policy"]["adapter"]["heads"] = 4
        else:
            system["policy"]["backbone"]["dtype"] = "float32"
            system["policy"]["adapter"]["heads"] = 2
    if system.get("lam") and "encoder" not in system["lam"]:
        _shrink_latbot(system["lam"])
    elif system.get("lam"):
        encoder = system["lam"]["encoder"]
        encoder |= (
            {"image_size": 32, "width": 32, "patch": 16}
            if "patch" in encoder
            else {"name": "vit_tiny_patch16_224.augreg_in21k", "weights": "random", "image_size": 32}
        )
        system["lam"]["former"] |= {"width": 32, "heads": 4, "layers": 1}
        if "reads" in system["lam"]["former"]:
            system["lam"]["former"]["reads"] = 4
        if "decoder" in system["lam"]:
            pixels = {"image_size": 32, "patch": 16} if "image_size" in system["lam"]["decoder"] else {}
            system["lam"]["decoder"] |= {**pixels, "width": 32, "heads": 4, "layers": 1}
        if system["lam"].get("perceptual"):
            system["lam"]["perceptual"] = {
                **system["lam"]["perceptual"],
                "network": "alex",
                "backbone_weights": "random",
            }
    return config


def _tiny_host(config):
    """A policy made elsewhere, by the small configuration that stands beside its full one."""
    sizes = [f"{key}={config[key]}" for key in ("horizon", "action_dim", "state_dim")]
    small = resolved(
        compose(
            "train", [f"policy={config['recipe']['host']}_tiny", "data.root=x", "lam=patches", "image_size=32", *sizes]
        )
    )
    policy = small["system"]["policy"]
    if "head" in policy:  # N1.7's small head is as wide as its own example's robot
        policy["head"] |= {"action_dim": config["action_dim"], "state_dim": config["state_dim"]}
    return policy


def _shrink_student(student):
    student |= {"dim": 8, "scene": 2, "motion": 2}
    student |= {"image_size": 32, "width": 32} if "image_size" in student else {"dtype": "float32"}


def _shrink_latbot(lam):
    small = {"image_size": 32, "patch": 16, "width": 32, "heads": 4, "layers": 1}
    lam["space"] |= {"dim": 8, "scene": 2, "motion": 2}
    lam["former"] |= {"dtype": "float32"} if "path" in lam["former"] else small
    lam["decoder"] |= {"width": 32, "heads": 2}
    lam["decoder"]["stream"] |= {"dtype": "float32"} if "path" in lam["decoder"]["stream"] else small


def batch_for(config, n=3):
    """A random batch with the shapes that this config's data would give."""
    from lara.inspect.footprint import example_batch

    torch.manual_seed(0)
    batch = example_batch(config["data"], n)

    def real(x):
        if not isinstance(x, torch.Tensor):
            return x
        if x.dtype == torch.bool:
            return torch.ones(x.shape, dtype=torch.bool)
        if x.dtype == torch.uint8:
            return torch.randint(0, 256, x.shape, dtype=torch.uint8)
        return torch.randn(x.shape) if x.is_floating_point() else torch.zeros(x.shape, dtype=x.dtype)

    observation = dataclasses.replace(
        batch.observation,
        **{f.name: real(getattr(batch.observation, f.name)) for f in dataclasses.fields(batch.observation)},
    )
    rest = {f.name: real(getattr(batch, f.name)) for f in dataclasses.fields(batch) if f.name != "observation"}
    return dataclasses.replace(batch, observation=observation, **rest)


# LPIPS on 32 px images is smaller than AlexNet's pooling allows
def _without_lpips(config):
    if config["system"].get("lam") and config["system"]["lam"].get("perceptual"):
        config["system"]["lam"]["perceptual"] = None
        if "lam" in config["stage"]["weights"]:
            config["stage"]["weights"]["lam"]["lpips"] = None
    return config


@pytest.mark.parametrize("name", TRAININGS)
def test_every_experiment_builds_and_moves_exactly_what_its_stage_names(name, paligemma, sana):
    config = _without_lpips(_experiment(name, paligemma, sana))
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
    assert {*config["data"]["cameras"], *config["data"]["lam_cameras"]} == {"video"}
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


def test_lpips_of_the_paper_is_really_in_the_paper_recipes(paligemma, sana):
    config = _experiment("lara/pretrain", paligemma, sana)
    assert "lam.lpips" in build(config["system"]).terms()
    assert build({**config["stage"], "load": {}}, "run").weights_at(0)["lam.lpips"] == 0.01


@pytest.mark.parametrize("latent", choices("latent"))
def test_every_latent_space_is_built_and_takes_a_step(latent):
    config = resolved(compose("train", ["experiment=demo/lam", "data.root=x", f"latent={latent}"]))
    space = build(config["latent"])
    fixed = {"scene_motion": getattr(space, "queries", 0)}
    queries = space.dim if latent.startswith("rotation") else fixed.get(latent, 4)
    raw = torch.randn(5, queries, space.dim, requires_grad=True)
    out = space.bottleneck(space.project(raw), torch.ones(5, dtype=torch.bool))
    assert set(out.terms) == set(space.terms())
    (out.z.sum() + sum(out.terms.values())).backward()
    assert raw.grad.any()


def _commands_of_the_spaces():
    """latent -> overrides: of the document's line about it, or its name alone (a space brings its losses' weights)."""
    text = (config_folder().parent / "docs" / "results" / "lam_family.md").read_text()
    lines = re.findall(r"^lara train (experiment=demo/lam latent=(\w+).*)$", text, re.M)
    alone = {latent: ["experiment=demo/lam", f"latent={latent}", "data.root=x"] for latent in choices("latent")}
    return alone | {latent: line.split() for line, latent in lines}


@pytest.mark.skipif(not (config_folder().parent / "docs").is_dir(), reason="the documents are not here")
def test_every_command_of_the_document_is_about_a_space_that_there_is():
    assert set(_commands_of_the_spaces()) == set(choices("latent"))


@pytest.mark.parametrize("latent", choices("latent"))
def test_that_command_builds_a_lam_that_learns_and_can_be_probed(latent):
    config = shrink(resolved(compose("train", _commands_of_the_spaces()[latent])))
    torch.manual_seed(0)
    system = build(config["system"])
    stage = build(config["stage"], "run").for_system(system)
    applied, weights = apply_stage(system, stage), stage.weights_at(0)
    losses = system.losses(batch_for(config), frozenset(weights))
    sum(weights[k] * losses.terms[k] for k in weights).backward()
    assert all(p.grad is not None for n, p in applied.learning.items() if n.startswith("lam.former"))
    frames = torch.randint(0, 256, (4, 2, 3, 32, 32), dtype=torch.uint8)
    (z,) = latents(system.lam.eval(), frames, [(0, 1)])
    assert z.shape == (4, system.lam.queries, system.lam.space.dim)
    assert predict(system.lam, frames[:, 0], z).shape == (4, 3, 32, 32)


# one of each family of LAM recipes, of those that set no key of their own latent; what else a latent needs is its
# shape, never a weight
FAMILIES = ["demo/lam", "demo/lara", "alam/lam", "rotvla/lam"]
SHAPES = {
    "rotation": ["latent.dim=4", "lam.queries=4"],
    "rotation_continuous": ["latent.dim=4", "lam.queries=4"],
    "scene_motion": ["latent.dim=32", "latent.scene=2", "latent.motion=2", "lam.queries=4"],
}
# the laws of ALAM need a group, those of RotVLA rotations
NEEDS_GROUP = {"alam/lam": {"additive", "rotation", "rotation_continuous"}}
NEEDS_GROUP["rotvla/lam"] = {"rotation", "rotation_continuous"}


@pytest.mark.parametrize("latent", choices("latent"))
@pytest.mark.parametrize("family", FAMILIES)
def test_the_latent_space_alone_can_be_switched(family, latent):
    overrides = [f"experiment={family}", "data.root=x", f"latent={latent}", *SHAPES.get(latent, [])]
    config = _without_lpips(shrink(resolved(compose("train", overrides))))
    if latent not in NEEDS_GROUP.get(family, {latent}):
        with pytest.raises(ConfigError, match=r"the laws need a space|RotVLA's latents are rotations"):
            build(config["system"])
        return
    torch.manual_seed(0)
    system = build(config["system"])
    stage = build({**config["stage"], "load": {}}, "run").for_system(system)
    applied, weights = apply_stage(system, stage), stage.weights_at(0)
    space = system.lam.space
    assert {f"lam.{term}" for term in space.terms()} <= set(weights)
    losses = system.losses(batch_for(config), frozenset(weights))
    total = sum(weights[k] * losses.terms[k] for k in weights)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is not None for n, p in applied.learning.items() if n.startswith("lam.former"))


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
