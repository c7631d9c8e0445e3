"""GR00T as a policy: what any FlowPolicy promises, and what is GR00T's own."""

import dataclasses

import pytest
import torch
from torch.utils.checkpoint import checkpoint as _checkpoint

from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.errors import CheckpointError, ConfigError
from lara.losses.alignment import RawCosine
from lara.losses.flow import velocity_mse
from lara.policy.expert import tapped_state
from lara.policy.hosts.groot import dit
from lara.policy.hosts.groot.expert import GrootHead
from lara.systems.couplings.alignment import Alignment
from lara.systems.lara import Lara
from lara.train.parts import part_of_parameters
from tests.tiny import ACTION, HORIZON, STATE, shorten, tiny_batch, tiny_lam

VERSIONS = ("n15", "n16", "n17")


def tiny_groot(version, *, seed=0, head=None, **changes):
    sizes = [f"horizon={HORIZON}", f"action_dim={ACTION}", f"state_dim={STATE}"]
    config = resolved(compose("train", [f"policy=groot_{version}_tiny", "data.root=x", *sizes]))["policy"]
    config["head"] |= {"slots": 3, **(head or {})}
    config["embodiments"] = {"new_embodiment": 2}
    torch.manual_seed(seed)
    return build({**config, **changes})


def flow(policy, batch, *, seed=0):
    torch.manual_seed(seed)
    return policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)


def loss_of(policy, batch, out):
    return velocity_mse(out.velocity, out.target, batch.action_mask_BHA.repeat(policy.draws, 1, 1))


@pytest.fixture(params=VERSIONS)
def policy(request):
    return tiny_groot(request.param)


def test_flow_names_the_states_of_action_tokens_for_every_depth(policy):
    policy.eval()
    policy.draws = 2
    batch = tiny_batch(3)
    out = flow(policy, batch)
    assert set(out.states) == {"norm_out", *(f"block_{k}" for k in range(1, policy.blocks + 1))}
    assert all(s.shape == (6, HORIZON, policy.width) for s in out.states.values())
    assert out.velocity.shape == out.target.shape == (6, HORIZON, ACTION)
    assert tapped_state(-2, policy.blocks) in out.states
    # x = tau a + (1 - tau) eps and v = a - eps point from noise to data: a = x + (1 - tau) v
    assert ((out.tau_B > -0.0011) & (out.tau_B < 1.0)).all()


def test_states_are_those_of_the_steps_that_are_returned(policy):
    """A change of action step h at the input shows first at state h: before any self-attention, nowhere else."""
    policy.eval()
    observation = tiny_batch(2).observation
    head = policy.action_head
    context = head.context(policy.backbone(observation))
    state = policy._state(observation)
    x = torch.randn(2, head.horizon, head.action_dim)
    changed = x.clone()
    changed[:, 2] += 1.0
    tau, steps = torch.full((2,), 0.5), torch.ones(2, head.horizon, dtype=torch.bool)
    one = policy.velocity(x, tau, state, context, observation.embodiment_B, steps)[1]["block_1"]
    two = policy.velocity(changed, tau, state, context, observation.embodiment_B, steps)[1]["block_1"]
    moved = (one != two).any(dim=2)
    assert moved[:, 2].all()
    assert moved.sum() == 2


def test_parts_cover_every_parameter_once_and_lora_finds_linear_layers(policy):
    system = Lara(policy=policy)
    assert set(part_of_parameters(system).values()) == {"policy.backbone", "policy.expert"}
    import re

    for side, regex in policy.lora_regex.items():
        found = [m for name, m in policy.named_modules() if re.fullmatch(regex, name)]
        assert found, side
        assert all(isinstance(m, torch.nn.Linear) for m in found), side


def test_acting_is_repeatable_and_silent_in_dims_that_the_robot_lacks(policy):
    policy.eval()
    observation = tiny_batch(3).observation
    chunks = [
        policy.act(observation, steps=4, generator=torch.Generator().manual_seed(s)).actions_BHA for s in (1, 1, 2)
    ]
    assert torch.equal(chunks[0], chunks[1])
    assert not torch.equal(chunks[0], chunks[2])
    assert chunks[0].shape == (3, HORIZON, ACTION)
    assert not chunks[0][:, :, 4:].any()


def test_gradients_reach_what_learns_and_nothing_frozen(policy):
    batch = tiny_batch(3)
    policy.action_head.train()
    policy.action_head.state_dropout = 0.0
    loss_of(policy, batch, flow(policy, batch)).backward()
    # zero at first: rows of the tables that were not used, slots that no sample had, a mask token without dropout
    idle = {n for n, p in policy.action_head.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle <= {"mask_token"}, idle
    assert all(p.grad is None for p in policy.backbone.parameters())
    assert not policy.action_head.position_embedding.weight.grad[policy.action_head.horizon :].any()


def test_a_tap_reaches_the_blocks_below_it_and_none_above(policy):
    batch = tiny_batch(3)
    flow(policy, batch).states["block_2"].sum().backward()
    blocks = policy.action_head.model.transformer_blocks
    reached = [any(p.grad is not None and p.grad.any() for p in block.parameters()) for block in blocks]
    assert reached == [True, True, False, False]


@pytest.mark.parametrize("version", VERSIONS)
def test_padding_cannot_influence_when_strict_and_does_as_in_the_vendors_training(version):
    """Perturb and compare: steps and dims that the mask calls padding, whatever numbers stand there."""
    batch = shorten(tiny_batch(3), 2)
    garbage = batch.actions_BHA + 7.0 * (~batch.action_mask_BHA[:, :, :1]).expand_as(batch.actions_BHA)
    for strict in (True, False):
        policy = tiny_groot(version, head={"strict_padding": strict}).eval()
        one, two = (
            flow(policy, dataclasses.replace(batch, actions_BHA=actions)) for actions in (batch.actions_BHA, garbage)
        )
        moved = (one.velocity - two.velocity).abs()[:, :2].max()
        assert (moved == 0) if strict else (moved > 0)
        # no flow loss there in either case
        assert torch.equal(
            loss_of(policy, batch, one),
            loss_of(policy, batch, one._replace(velocity=one.velocity * batch.action_mask_BHA)),
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_strict_padding_makes_a_sample_independent_of_its_neighbours_prompt(version):
    batch = tiny_batch(2)
    long = dataclasses.replace(batch.observation, instruction=("open", "a much longer thing to do for the robot"))
    alone = long.head(1)
    noise = torch.randn(2, *(getattr(tiny_groot(version).action_head, n) for n in ("horizon", "action_dim")))
    for strict in (True, False):
        policy = tiny_groot(version, head={"strict_padding": strict}).eval()
        with torch.no_grad():
            both, one = policy.integrate(long, noise, steps=2)[:1], policy.integrate(alone, noise[:1], steps=2)
        same = torch.allclose(both, one, atol=1e-5)
        # N1.6 looks at no VL padding in any case: it has no VL self-attention, and its cross blocks are masked
        assert same if strict or version == "n16" else not same


def test_alternating_blocks_see_text_and_images_in_turn():
    dit = tiny_groot("n17").action_head.model
    policy = tiny_groot("n17").eval()
    tokens = policy.backbone(tiny_batch(2).observation)
    masks = [dit._context_mask(k, tokens, False) for k in (0, 2, 4, 6)]
    assert all(torch.equal(m, tokens.mask & ~tokens.image) for m in masks[::2])
    assert all(torch.equal(m, tokens.mask & tokens.image) for m in masks[1::2])
    assert tokens.image.any(dim=1).all()
    assert (tokens.mask & ~tokens.image).any(dim=1).all()


def test_a_shorter_chunk_is_padded_to_the_heads_horizon_and_aligned_at_its_last_valid_step():
    policy = tiny_groot("n17").eval()
    assert policy.action_head.horizon == 40
    assert policy.horizon == HORIZON
    batch = shorten(tiny_batch(3), 3)
    system = Lara(policy=policy, lam=tiny_lam(), coupling=Alignment(objective=RawCosine))
    torch.manual_seed(0)
    out = policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    state = out.states["block_2"].detach().requires_grad_()
    out.states["block_2"] = state
    z = torch.randn(3, 2, 8)
    h, tau = system.coupling.tapped(out.states, out.tau_B, batch.action_mask_BHA.any(dim=2), 3)
    system.coupling.agree(h, z, torch.ones(3, dtype=torch.bool), tau).terms["align"].backward()
    assert state.grad[:, 2].any()
    assert not state.grad[:, [0, 1, 3]].any()


@pytest.mark.parametrize(("version", "low", "high"), [("n15", -0.0011, 1.0), ("n16", 0.0, 0.999), ("n17", 0.0, 0.999)])
def test_the_law_of_time_is_the_versions_own(version, low, high):
    """(s - u)/s or s (1 - u) of u ~ Beta(1.5, 1), whose mean is 0.6 and whose distribution function is u^1.5."""
    torch.manual_seed(0)
    tau = tiny_groot(version).sample_tau(40_000, torch.device("cpu"))
    u = 0.999 * (1 - tau) if version == "n15" else 1 - tau / 0.999
    assert abs(u.mean().item() - 0.6) < 5e-3
    for q in (0.25, 0.5, 0.75):
        assert abs((u <= q).float().mean().item() - q**1.5) < 1e-2
    assert low <= tau.min() < 0.01
    assert 0.98 < tau.max() <= high


@pytest.mark.parametrize(("mask_token", "version"), [(True, "n16"), (False, "n17")])
def test_a_dropped_state_is_the_mask_token_or_zero_and_only_in_training(mask_token, version):
    head = tiny_groot(version, head={"state_dropout": 0.5}).action_head
    assert (head.mask_token is not None) == mask_token
    state, slots = torch.randn(200, head.state_dim), torch.zeros(200, dtype=torch.long)
    head.eval()
    kept = head.encode_state(state, slots)
    head.train()
    torch.manual_seed(0)
    trained = head.encode_state(state, slots)
    dropped = (trained != kept).any(dim=2)[:, 0]
    assert 0.35 < dropped.float().mean() < 0.65
    expected = head.mask_token[0, 0] if mask_token else torch.zeros(head.width)
    assert torch.equal(trained[dropped][:, 0], expected.expand(int(dropped.sum()), -1))


@pytest.mark.parametrize(("tokens", "count"), [("each", 3), ("joined", 1)])
def test_a_state_history_is_one_token_each_or_one_for_all(tokens, count):
    head = {"state_history": 3, "state_tokens": tokens, "state_dim": STATE, "state_dropout": 0.0}
    policy = tiny_groot("n16", head=head).eval()
    batch = tiny_batch(2)
    history = torch.randn(2, 3 * STATE)
    batch = dataclasses.replace(batch, observation=dataclasses.replace(batch.observation, state_BS=history))
    encoded = policy.action_head.encode_state(policy._state(batch.observation), batch.observation.embodiment_B)
    assert encoded.shape[1] == count
    changed = history.clone()
    changed[:, :STATE] += 1.0  # the oldest
    moved = (policy.action_head.encode_state(changed, batch.observation.embodiment_B) != encoded).any(dim=2)
    assert moved[:, 0].all()
    assert moved.sum() == 2
    assert flow(policy, batch).velocity.shape == (2, HORIZON, ACTION)


def test_padding_a_state_appends_zeros_to_each_of_the_history():
    policy = tiny_groot("n16", head={"state_history": 2, "state_dim": STATE + 2})
    observation = dataclasses.replace(tiny_batch(2).observation, state_BS=torch.ones(2, 2 * STATE))
    row = [1.0] * STATE + [0.0, 0.0]
    assert policy._state(observation).tolist() == [row * 2] * 2


def test_an_embodiment_uses_its_own_slot(policy):
    policy.eval()
    batch = tiny_batch(3)
    before = flow(policy, batch).velocity
    with torch.no_grad():
        policy.action_head.action_decoder.layer2.b[1] += 1.0
    moved = (flow(policy, batch).velocity != before).flatten(1).any(dim=1)
    assert torch.equal(moved, batch.observation.embodiment_B == 1)


def test_checkpointing_gives_the_same_gradients_dropout_included(policy, monkeypatch):
    batch = tiny_batch(3)
    policy.train()
    calls = []
    monkeypatch.setattr(dit, "checkpoint", lambda *a, **k: calls.append(k) or _checkpoint(*a, **k))
    gradients = []
    for mode in ("none", "non_reentrant"):
        policy.action_head.model.checkpointing = mode
        policy.zero_grad()
        out = flow(policy, batch)
        (loss_of(policy, batch, out) + out.states["block_2"].square().mean()).backward()
        gradients.append({n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None})
    assert len(calls) == policy.blocks
    assert all(k == {"use_reentrant": False} for k in calls)
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(g, gradients[1][n]) for n, g in gradients[0].items())


def test_reentrant_checkpointing_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="without gradient"):
        tiny_groot("n15", head={"checkpointing": "reentrant"})


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_go_to_the_vendors_names_and_back_bit_for_bit(version, tmp_path):
    from safetensors.torch import save_file

    one = tiny_groot(version, seed=0).eval()
    vendor = one.vendor_state_dict()
    assert all(name.split(".")[0] in ("backbone", "action_head") for name in vendor)
    assert "action_head.model.transformer_blocks.3.attn1.to_out.0.weight" in vendor
    assert "action_head.state_encoder.layer1.W" in vendor
    assert ("action_head.future_tokens.weight" in vendor) == (version == "n15")
    # checkpoints saved by other versions of transformers hold the tied language head, too
    head = {"backbone.model.lm_head.weight": vendor["backbone.model.model.language_model.embed_tokens.weight"].clone()}
    save_file({k: v.contiguous() for k, v in {**vendor, **head}.items()}, tmp_path / "model.safetensors")
    two = tiny_groot(version, seed=1, weights=str(tmp_path)).eval()
    back = two.vendor_state_dict()
    assert back.keys() == vendor.keys()
    assert all(torch.equal(v, vendor[k]) for k, v in back.items())
    batch = tiny_batch(2)
    assert torch.equal(flow(one, batch).velocity, flow(two, batch).velocity)
    del vendor["action_head.vlln.weight"]
    with pytest.raises(CheckpointError, match="vlln"):
        two.load_vendor(vendor)


def test_data_larger_than_the_head_is_refused_with_both_sizes():
    batch = tiny_batch(2)
    with pytest.raises(ConfigError, match="4 of 6"):
        flow(tiny_groot("n15", head={"action_dim": 5}), batch)
    with pytest.raises(ConfigError, match="state_dim"):
        flow(tiny_groot("n15", head={"state_dim": 4}), batch)
    with pytest.raises(ConfigError, match="does not fit"):
        tiny_groot("n15", horizon=41)
    blind = dataclasses.replace(batch.observation, images_BVCHW=batch.observation.images_BVCHW[:, :0])
    with pytest.raises(ConfigError, match="camera"):
        tiny_groot("n15").flow(blind, batch.actions_BHA, batch.action_mask_BHA)


def test_choices_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="ratio"):
        tiny_groot("n15", tau_law="cosine")
    with pytest.raises(ConfigError, match="each"):
        tiny_groot("n15", head={"state_tokens": "some"})
    with pytest.raises(ConfigError, match="alternate"):
        tiny_groot("n15", head={"alternate": 1})


def test_the_joint_step_of_the_paper_runs_on_it(policy):
    system = Lara(policy=policy, lam=tiny_lam(), coupling=Alignment(objective=RawCosine))
    losses = system.losses(tiny_batch(4), frozenset({"action", "align"}))
    (losses.terms["action"] + 0.01 * losses.terms["align"]).backward()
    assert system.coupling.projector[0].weight.grad.any()


@pytest.mark.long
@pytest.mark.parametrize("version", VERSIONS)
def test_compiled_and_plain_heads_give_the_same_loss(version):
    policy = tiny_groot(version).eval()
    batch = tiny_batch(3)
    plain = loss_of(policy, batch, flow(policy, batch))
    policy.action_head.model.compile(backend="aot_eager")
    compiled = flow(policy, batch)
    torch.testing.assert_close(loss_of(policy, batch, compiled), plain, rtol=1e-5, atol=1e-6)
    compiled.states["block_2"].sum().backward()
    assert policy.action_head.model.transformer_blocks[0].attn1.to_q.weight.grad.any()


def test_the_vendors_sizes_are_those_of_the_public_models():
    """E = 1536, 32 embodiment slots; described without their storage. Sizes: conf/policy's."""
    with torch.device("meta"):
        for version, blocks in (("n15", 16), ("n16", 32), ("n17", 32)):
            opened = "policy.backbone.processor.path=x" if version == "n17" else "policy.backbone.path=x"
            config = resolved(
                compose("train", [f"policy=groot_{version}_paper", "data.root=x", opened, "policy.embodiment=x"])
            )["policy"]
            config["head"].pop("_partial_")
            head = build({**config["head"], "context_width": 2048})
            assert isinstance(head, GrootHead)
            assert (head.width, head.blocks, head.slots) == (1536, blocks, 32)
