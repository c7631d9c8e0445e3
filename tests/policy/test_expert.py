import pytest
import torch

from lara.errors import ConfigError
from lara.nn.mlp import EmbodimentMLP
from lara.policy.backbone import Tokens
from lara.policy.expert import tapped_state
from lara.policy.tokens import LatentThenAction
from tests.tiny import ACTION, HORIZON, STATE, open_gates, tiny_policy, tiny_policy_over


def _inputs(n=3, horizon=HORIZON, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        "noisy": {"action": torch.randn(n, horizon, ACTION, generator=g)},
        "state_BS": torch.randn(n, STATE, generator=g),
        "tau": {"action": torch.rand(n, generator=g)},
        "context": Tokens(torch.randn(n, 5, 32, generator=g), torch.tensor([[True] * 4 + [False]] * n)),
        "embodiment_B": torch.arange(n) % 3,
        "real": {"action": torch.ones(n, horizon, dtype=torch.bool)},
    }


@pytest.mark.parametrize(("depth", "name"), [(-2, "block_14"), (-1, "block_15"), (0, "norm_out"), (4, "block_4")])
def test_a_depth_names_its_state(depth, name):
    assert tapped_state(depth, 16) == name


@pytest.mark.parametrize("depth", [17, -16])
def test_a_depth_outside_the_expert_is_an_error(depth):
    with pytest.raises(ConfigError, match=r"names no block .* 1\.\.16"):
        tapped_state(depth, 16)


def test_states_are_those_after_each_block():
    expert = tiny_policy().expert
    open_gates(expert)
    inputs = _inputs()
    captured = {}
    for k, block in enumerate(expert.blocks, start=1):
        block.register_forward_hook(lambda m, a, out, k=k: captured.__setitem__(f"block_{k}", out[:, 1:]))
    velocity, states = expert(**inputs)
    for name, value in captured.items():
        assert torch.equal(states[name], value)
    assert torch.equal(expert.robot.decode(states["norm_out"], inputs["embodiment_B"]), velocity["action"])


def test_padded_steps_and_masked_context_cannot_be_seen():
    expert = tiny_policy().expert
    open_gates(expert)
    inputs = _inputs()
    inputs["real"]["action"][:, 2:] = False
    before, _ = expert(**inputs)
    inputs["noisy"]["action"][:, 2:] += 100
    inputs["context"].x[:, 4] += 100
    after, _ = expert(**inputs)
    assert torch.equal(before["action"][:, :2], after["action"][:, :2])
    inputs["context"].x[:, 0] += 1
    assert not torch.equal(expert(**inputs)[0]["action"][:, :2], after["action"][:, :2])


def test_a_padded_horizon_gives_what_a_short_one_gives():
    expert, short = tiny_policy().expert, tiny_policy(horizon=3).expert
    weights = expert.state_dict()
    weights["robot.positions"] = weights["robot.positions"][:, :3]
    short.load_state_dict(weights)
    open_gates(expert)
    open_gates(short)
    inputs = _inputs()
    inputs["real"]["action"][:, 3:] = False
    long, _ = expert(**inputs)
    cut = {name: {"action": inputs[name]["action"][:, :3]} for name in ("noisy", "real")}
    torch.testing.assert_close(short(**inputs | cut)[0]["action"], long["action"][:, :3], atol=1e-5, rtol=1e-5)


def test_a_seed_means_the_robots_mlps_then_the_trunk_then_the_head():
    """Results so far were made in this order of draws; latents, which came later, are drawn last."""
    layout = LatentThenAction(latents=2, horizon=HORIZON)
    plain, planner = tiny_policy().expert, tiny_policy_over(layout).expert
    for name, value in plain.state_dict().items():
        assert torch.equal(planner.state_dict()[name], value), name


def test_blocks_alternate_cross_and_self_attention():
    assert [b.cross for b in tiny_policy(blocks=5).expert.blocks] == [True, False, True, False, True]


def test_each_robot_has_its_own_weights():
    torch.manual_seed(0)
    mlp = EmbodimentMLP(3, 4, 8, 2)
    x = torch.randn(3, 1, 4)
    out = mlp(x, torch.tensor([0, 1, 1]))
    out.sum().backward()
    assert mlp.up.weight.grad[0].any()
    assert mlp.up.weight.grad[1].any()
    assert not mlp.up.weight.grad[2].any()
    torch.testing.assert_close(mlp(x[1:2], torch.tensor([1])), out[1:2])
    assert not torch.equal(mlp(x[1:2], torch.tensor([0])), out[1:2])
