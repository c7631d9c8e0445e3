"""LoRA and the freezing presets: what moves, what stays bit for bit, and that a run can stop anywhere."""

import dataclasses
from functools import partial

import pytest
import torch

from lara.config.compose import compose, resolved
from lara.errors import ConfigError
from lara.losses.alignment import RawCosine
from lara.policy.backbones.huggingface import HuggingFaceBackbone
from lara.policy.policy import Policy
from lara.policy.tuning import PRESETS, Tuning, adapted_modules, is_adapter, merge, plain_name, side_of_parameters
from lara.systems.couplings.alignment import Alignment
from lara.systems.lara import Lara
from lara.train.load_parts import load_parts
from lara.train.loop import train
from lara.train.optim import OptimConfig
from lara.train.parts import part_of_parameters
from lara.train.runtime import RuntimeConfig
from lara.train.stage import Stage, apply_stage
from tests.tiny import open_gates, tiny_batch, tiny_policy, tiny_system
from tests.train.toy import ToyCard, same_run

WEIGHTS = {"action": 1.0, "align": 0.1, "lam": {"reconstruction": 0.1, "commitment": 0.025}}
STAGE = Stage(name="joint", learn=("policy", "lam", "align"), weights=WEIGHTS, steps=6)


def tuned_system(tuning, policy=None):
    plain = tiny_system()
    policy = policy or tiny_policy()
    open_gates(policy)
    torch.manual_seed(4)
    return Lara(policy=policy, lam=plain.lam, coupling=Alignment(objective=RawCosine), tuning=tuning)


def vlm_policy(path, frozen=False):
    torch.manual_seed(0)
    expert = tiny_policy().expert
    from lara.policy.adapter import SelfAttentionAdapter
    from lara.policy.expert import FlowExpert

    return Policy(
        backbone=HuggingFaceBackbone(path=path, frozen=frozen),
        adapter=partial(SelfAttentionAdapter, heads=2),
        expert=partial(
            FlowExpert,
            width=32,
            heads=4,
            blocks=2,
            layout=expert.layout,
            action_dim=expert.action_dim,
            state_dim=expert.state_dim,
            slots=3,
        ),
    )


def step(system, steps=2, lr=0.05):
    """Plain SGD on all terms; the names that moved."""
    applied = apply_stage(system, STAGE)
    before = {n: t.clone() for n, t in system.state_dict().items()}
    optimizer = torch.optim.SGD(applied.learning.values(), lr=lr)
    for _ in range(steps):
        weights = STAGE.weights_at(0)
        losses = system.losses(tiny_batch(), frozenset(weights))
        optimizer.zero_grad()
        sum(weights[k] * losses.terms[k] for k in weights).backward()
        optimizer.step()
    return {n for n, t in system.state_dict().items() if not torch.equal(t, before[n])}


@pytest.mark.parametrize("preset", ["lora", "expert_lora"])
def test_only_adapters_projector_and_lam_move(preset):
    system = tuned_system(Tuning(preset=preset, rank=4))
    moved = step(system)
    assert {n for n in moved if n.startswith("policy.")} == {n for n, _ in system.named_parameters() if is_adapter(n)}
    assert any(n.startswith("lam.") for n in moved)
    assert any(n.startswith("coupling.projector") for n in moved)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_table_of_presets_is_what_happens(preset, paligemma):
    """Row by row of the docstring's table, on a policy that has both sides."""
    torch.manual_seed(0)
    policy = vlm_policy(paligemma)
    sides = side_of_parameters(policy)
    assert set(sides.values()) == {"vlm", "expert"}
    Tuning(preset=preset, rank=2).apply(policy)
    for side, fate in PRESETS[preset].items():
        own = {n: p for n, p in policy.named_parameters() if not is_adapter(n) and sides[plain_name(n)] == side}
        adapters = [
            n for n, _ in policy.named_parameters() if is_adapter(n) and n.startswith("backbone") == (side == "vlm")
        ]
        assert bool(adapters) == (fate == "adapters")
        assert all(p.requires_grad == (fate == "learns") for p in own.values())
    assert all(p.requires_grad for n, p in policy.named_parameters() if is_adapter(n))


def test_adapters_reach_every_layer_of_a_learning_image_text_model(paligemma):
    policy = vlm_policy(paligemma)
    open_gates(policy)
    Tuning(preset="vlm_lora", rank=2).apply(policy)
    batch = tiny_batch()
    policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA).velocity.square().sum().backward()
    starts = {n: p.grad for n, p in policy.named_parameters() if is_adapter(n) and ".lora_B." in n}
    assert {n.split(".")[2] for n in starts} == {"vision_tower", "language_model"}
    assert [n for n, g in starts.items() if g is None or not g.any()] == []


def test_adapters_in_a_backbone_without_gradients_are_refused(paligemma):
    with pytest.raises(ConfigError, match=r"frozen=false"):
        Tuning(preset="lora").apply(vlm_policy(paligemma, frozen=True))


def test_fresh_adapters_change_nothing_and_the_parts_still_cover_everything_once():
    policy = tiny_policy()
    open_gates(policy)
    observation = tiny_batch().observation
    act = lambda p: p.act(observation, steps=2, generator=torch.Generator().manual_seed(0)).actions_BHA  # noqa: E731
    before = act(policy)
    Tuning(preset="lora", rank=4).apply(policy)
    assert torch.equal(act(policy), before)
    part_of_parameters(tuned_system(Tuning(preset="lora", rank=4)))


def test_parameters_named_whole_learn_beside_the_adapters():
    system = tuned_system(Tuning(preset="lora", rank=2, whole=[r"expert\.robot\.(en|de)code_.*"]))
    moved = {n for n in step(system) if n.startswith("policy.") and not is_adapter(n)}
    assert moved
    assert all(".encode_" in n or ".decode_" in n for n in moved)


def test_a_side_that_stands_still_is_in_eval_mode_and_one_with_adapters_is_not():
    system = tuned_system(Tuning(preset="expert_lora", rank=2))
    apply_stage(system, STAGE)
    assert not system.policy.backbone.training
    assert system.policy.expert.training


def test_merging_keeps_the_actions_and_gives_back_the_names():
    system = tuned_system(Tuning(preset="lora", rank=4))
    step(system)
    system.eval()
    observation = tiny_batch().observation

    def act():
        return system.policy.act(observation, steps=3, generator=torch.Generator().manual_seed(1)).actions_BHA

    adapted, base = act(), tiny_policy()
    layers = {
        n: (m.base_layer.weight + m.get_delta_weight("default"))
        for n, m in system.policy.named_modules()
        if hasattr(m, "base_layer")
    }
    assert merge(system.policy) == len(adapted_modules(base, "lora")) == len(layers)
    torch.testing.assert_close(act(), adapted, rtol=1e-5, atol=1e-5)
    assert list(system.policy.state_dict()) == list(base.state_dict())
    for name, weight in layers.items():
        torch.testing.assert_close(system.policy.get_submodule(name).weight, weight, rtol=0, atol=1e-7)
    assert merge(system.policy) == 0


@dataclasses.dataclass
class Batches:
    """The batch of a step is a function of the step; `until`: the loader dies there."""

    until: int | None = None

    def prepare(self):
        pass

    def summary(self):
        return "tiny batches"

    def loader(self, *, start_step, batch_size, rank, world, workers):
        step = start_step
        while True:
            if step == self.until:
                raise InterruptedError
            yield tiny_batch(batch_size, seed=step)
            step += 1

    def validation_batches(self, *, batch_size, limit):
        return iter(())

    def notes(self):
        return []

    def cards(self):
        return ToyCard()

    def __len__(self):
        return 100


def trained(output, *, seed=0, until=None, dropout=0.1):
    torch.manual_seed(seed)
    policy = tiny_policy()
    torch.manual_seed(seed)
    return train(
        system=tuned_system(Tuning(preset="lora", rank=2, dropout=dropout), policy),
        data=Batches(until),
        stage=STAGE,
        optim=OptimConfig(lr=1e-2, ema_decay=0.9),
        runtime=RuntimeConfig(device="cpu", batch_size=4, log_every=2, save_every=2, validation_limit=0),
        output=output,
        config={},
        seed=3,
    )


def test_a_run_with_adapters_that_was_interrupted_equals_one_that_was_not(tmp_path):
    """lerobot's adapters started again from nothing after a resume; here every adapter, moment and mean goes on."""
    straight = trained(tmp_path / "a")
    with pytest.raises(InterruptedError):
        trained(tmp_path / "b", until=5)
    resumed = trained(tmp_path / "b", seed=9)  # another start: what was not restored would show
    assert same_run(straight, resumed) == []


def test_a_run_with_adapters_starts_from_one_without_and_from_one_with(tmp_path):
    plain = tiny_system()
    open_gates(plain)
    settings = {
        "data": Batches(),
        "stage": dataclasses.replace(STAGE, steps=1),
        "optim": OptimConfig(),
        "runtime": RuntimeConfig(device="cpu", batch_size=4, validation_limit=0),
        "config": {},
        "seed": 3,
    }
    train(system=plain, output=tmp_path / "plain", **settings)
    system = tuned_system(Tuning(preset="lora", rank=2), tiny_policy(seed=7))
    fresh = {n: p.clone() for n, p in system.named_parameters() if is_adapter(n)}
    load_parts(system, {"policy": tmp_path / "plain"})
    weights = plain.policy.state_dict()
    for name, value in system.policy.state_dict().items():
        if not is_adapter(name):
            assert torch.equal(value, weights[plain_name(name)]), name
    assert all(torch.equal(p, fresh[n]) for n, p in system.named_parameters() if is_adapter(n))

    train(system=system, output=tmp_path / "lora", **settings)
    again = tuned_system(Tuning(preset="lora", rank=2), tiny_policy(seed=8))
    load_parts(again, {"policy": tmp_path / "lora"})
    assert all(torch.equal(a, b) for a, b in zip(again.policy.parameters(), system.policy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "lorra"}, "Did you mean"),
        ({"preset": "lora", "rank": 0}, "rank is at least 1"),
        ({"preset": "vlm_lora"}, "no linear layer"),
        ({"preset": "lora", "whole": ["nothing"]}, "no parameter"),
    ],
)
def test_what_cannot_be_tuned_is_said(settings, said):
    with pytest.raises(ConfigError, match=said):
        Tuning(**settings).apply(tiny_policy())


def test_adapters_on_what_is_no_linear_layer_are_refused():
    policy = tiny_policy()
    policy.lora_regex = {"vlm": "nothing", "expert": r"expert\.robot\.encode_action\.up"}
    with pytest.raises(ConfigError, match="EmbodimentLinear"):
        Tuning(preset="expert_lora").apply(policy)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_a_choice_on_the_command_line(preset):
    config = resolved(compose("train", ["experiment=demo/lara", "data.root=x", f"peft={preset}"]))
    assert config["system"]["tuning"]["preset"] == preset
    assert "peft" not in config
