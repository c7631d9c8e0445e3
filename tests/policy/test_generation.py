"""One expert for all layouts: latents and actions travel as they should, together or one after the other."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.ops.flow import flip_time, sample_tau
from lara.policy.generation import Joint, TwoStage
from lara.policy.process import Diffusion, FlowMatching
from lara.policy.streams import SETTLE, RunningScale
from lara.policy.tokens import Interleaved, LatentChunk, LatentThenAction, StateAction, TokenLayout
from tests.tiny import ACTION, HORIZON, open_gates, tiny_batch, tiny_policy_over

DIM = 7


def _latents(policy, batch, seed=0):
    g = torch.Generator().manual_seed(seed)
    layout = policy.expert.layout
    z = {name: torch.randn(len(batch), layout.length(name), DIM, generator=g) for name in policy.latents}
    return z, {name: torch.ones(v.shape[:2], dtype=torch.bool) for name, v in z.items()}


LAYOUTS = {
    "latent_action": LatentThenAction(latents=2, horizon=HORIZON),
    "interleaved": Interleaved(horizon=HORIZON, views=2),
}


def _ready(name, **changes):
    policy = tiny_policy_over(LAYOUTS[name], **changes).eval()
    open_gates(policy)
    return policy


def _stream_flow(policy, batch, z=None, real=None, seed=0):
    given, all_real = _latents(policy, batch)
    torch.manual_seed(seed)
    return policy.stream_flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA, z or given, real or all_real)


@pytest.mark.parametrize("generation", [Joint, TwoStage])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_stream_has_an_answer_and_states_are_those_of_the_actions(name, generation):
    policy, batch = _ready(name, generation=generation(), draws=2), tiny_batch()
    flow = _stream_flow(policy, batch)
    assert set(flow.predictions) == set(flow.targets) == {*policy.latents, "action"}
    for stream, prediction in flow.predictions.items():
        assert prediction.shape == flow.targets[stream].shape
        assert len(prediction) == 2 * len(batch)
    assert set(flow.states) == {*(f"block_{k}" for k in range(1, 5)), "norm_out"}
    assert all(h.shape == (2 * len(batch), HORIZON, 32) for h in flow.states.values())
    decoded = policy.expert.robot.decode(flow.states["norm_out"], batch.observation.embodiment_B.repeat(2))
    assert torch.equal(decoded, flow.predictions["action"])


def test_states_are_those_after_each_block_at_the_places_of_the_actions():
    policy, batch = _ready("interleaved"), tiny_batch()
    captured = {}
    for k, block in enumerate(policy.expert.blocks, start=1):
        block.register_forward_hook(lambda m, a, out, k=k: captured.__setitem__(f"block_{k}", out))
    flow = _stream_flow(policy, batch)
    places = [i for i, (n, _) in enumerate(policy.expert.layout.tokens()) if n == "action"]
    assert all(torch.equal(flow.states[name], value[:, places]) for name, value in captured.items())


@pytest.mark.parametrize("generation", [Joint, TwoStage])
def test_latents_that_are_not_real_reach_nothing(generation):
    policy, batch = _ready("interleaved", generation=generation()), tiny_batch()
    z, real = _latents(policy, batch)
    real["latent_1"][:, 2] = False
    before = _stream_flow(policy, batch, z, real)
    after = _stream_flow(
        policy, batch, {**z, "latent_1": torch.where(real["latent_1"][..., None], z["latent_1"], 1e6)}, real
    )
    for name, value in before.predictions.items():
        assert torch.equal(value, after.predictions[name]), name


def test_a_sample_without_actions_feeds_the_latents_all_the_same():
    policy, batch = _ready("latent_action"), tiny_batch()
    silent = dataclasses.replace(batch, action_mask_BHA=torch.zeros_like(batch.action_mask_BHA))
    noisy = dataclasses.replace(silent, actions_BHA=batch.actions_BHA + 50)
    a, b = _stream_flow(policy, silent), _stream_flow(policy, noisy)
    assert torch.equal(a.predictions["latent"], b.predictions["latent"])
    assert torch.isfinite(a.predictions["action"]).all()


def test_the_target_does_not_move_the_projection_and_the_input_does():
    policy, batch = _ready("interleaved", project=True), tiny_batch()
    flow = _stream_flow(policy, batch)
    assert all(not target.requires_grad for target in flow.targets.values())
    weight = policy.expert.stream("latent_1").project.weight
    assert weight.shape == (ACTION, DIM)
    torch.testing.assert_close(weight @ weight.mT, torch.eye(ACTION), atol=1e-5, rtol=0)
    flow.predictions["latent_1"].square().sum().backward()
    assert weight.grad.any()


# ------------------------------------------------------------------------------------------------ acting


def _act(policy, batch, use="use", seed=0, steps=3):
    policy.intervene(use)
    return policy.act(batch.observation, steps=steps, generator=torch.Generator().manual_seed(seed)).actions_BHA


@pytest.mark.parametrize("process", [FlowMatching, Diffusion])
@pytest.mark.parametrize("generation", [Joint, TwoStage])
def test_acting_is_a_function_of_the_seed_and_leaves_padding_at_zero(generation, process):
    policy, batch = _ready("interleaved", generation=generation(), process=process()), tiny_batch()
    chunks = [_act(policy, batch, seed=s) for s in (0, 0, 1)]
    assert torch.equal(chunks[0], chunks[1])
    assert not torch.equal(chunks[0], chunks[2])
    assert not chunks[0][:, :, 4:].any()
    assert chunks[0][:, :, :4].any()


@pytest.mark.parametrize("generation", [Joint, TwoStage])
def test_interventions_change_what_is_done(generation):
    policy, batch = _ready("interleaved", generation=generation()), tiny_batch()
    chunks = {use: _act(policy, batch, use) for use in ("use", "freeze", "block", "shuffle")}
    assert torch.equal(chunks["use"], _act(policy, batch, "use"))
    for a in chunks:
        for b in chunks:
            assert (a == b) == torch.equal(chunks[a], chunks[b]), (a, b)


def _break_latents(policy, by=5.0):
    """Other velocities of the latents, and so other latents from the second step on."""
    for name in policy.latents:
        policy.expert.stream(name).head.down.bias.data += by


@pytest.mark.parametrize("generation", [Joint, TwoStage])
@pytest.mark.parametrize("name", LAYOUTS)
def test_blocked_actions_feel_no_latent_and_frozen_latents_stay_noise(name, generation):
    """Under both, what the latents' head says cannot matter; without them it does."""
    policy, batch = _ready(name, generation=generation()), tiny_batch()
    uses = ("use", "freeze", "block")
    before = {use: _act(policy, batch, use) for use in uses}
    _break_latents(policy)
    after = {use: _act(policy, batch, use) for use in uses}
    assert [torch.equal(before[use], after[use]) for use in uses] == [False, True, True]


@pytest.mark.parametrize("generation", [Joint, TwoStage])
def test_shuffling_leaves_the_latents_themselves_alone(generation):
    """The actions see another order; the latents that are generated are the same as without."""
    policy, batch = _ready("interleaved", generation=generation()), tiny_batch()
    seen = {}
    solve = policy.generation.solve
    policy.generation.solve = lambda *given, **how: seen.setdefault(how["use"], solve(*given, **how))
    _act(policy, batch, "use")
    _act(policy, batch, "shuffle")
    for name in policy.latents:
        assert torch.equal(seen["use"][name], seen["shuffle"][name])
    assert not torch.equal(seen["use"]["action"], seen["shuffle"]["action"])


def test_interventions_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="generates no latents"):
        tiny_policy_over(StateAction(horizon=HORIZON), latent_dim=None).intervene("block")
    with pytest.raises(ConfigError, match="without a time axis"):
        _ready("latent_action").intervene("shuffle")
    with pytest.raises(ConfigError, match="one of use, freeze"):
        _ready("latent_action").intervene("melt")
    with pytest.raises(ConfigError, match="latents only"):
        tiny_policy_over(LatentChunk(latents=2)).act(tiny_batch().observation, steps=1)
    policy, batch = _ready("latent_action"), tiny_batch()
    with pytest.raises(ConfigError, match="cannot be trained on actions alone"):
        policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)


def test_two_stages_finish_the_latents_before_the_first_action_moves():
    """The latents are the same whatever the actions' noise, and the action pass sees them clean, at tau = 1."""
    policy, batch = _ready("interleaved", generation=TwoStage()), tiny_batch()
    asked = []
    policy.expert.register_forward_pre_hook(
        lambda m, a: asked.append((set(a[0]), {k: v[0].item() for k, v in a[1].items()}))
    )
    _act(policy, batch, steps=2)
    latents = set(policy.latents)
    assert [names for names, _ in asked] == [latents, latents, latents | {"action"}, latents | {"action"}]
    assert [t["action"] for _, t in asked[2:]] == [0.0, 0.5]
    assert all(t[name] == 1.0 for _, t in asked[2:] for name in latents)


def test_two_stages_need_latents_that_do_not_see_actions():
    layout = LatentThenAction(latents=2, horizon=HORIZON)
    arrows = (*layout.arrows, ("latent", "action", "all"))
    both = TokenLayout(segments=layout.segments, arrows=arrows, context=layout.context)
    policy = tiny_policy_over(both, generation=TwoStage())
    with pytest.raises(ConfigError, match="latents first"):
        _stream_flow(policy, tiny_batch())


# ------------------------------------------------------------------------------------------------ processes


@pytest.mark.parametrize("process", [FlowMatching(), Diffusion()])
def test_a_process_runs_from_noise_to_data_and_its_exact_answers_lead_there(process):
    g = torch.Generator().manual_seed(0)
    data, noise = torch.randn(4, 3, 2, generator=g), torch.randn(4, 3, 2, generator=g)
    ends = [process.noisy(data, noise, torch.full((4,), tau)).x for tau in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], noise, atol=1e-6, rtol=0)
    torch.testing.assert_close(ends[1], data, atol=1e-6, rtol=0)
    x = noise
    for k in range(4):
        x = process.step(x, process.noisy(data, noise, torch.full((4,), k / 4)).velocity, k / 4, (k + 1) / 4)
    torch.testing.assert_close(x, data, atol=1e-5, rtol=0)


@pytest.mark.parametrize("process", [FlowMatching(), Diffusion()])
def test_the_answer_is_the_direction_of_travel(process):
    g = torch.Generator().manual_seed(0)
    data, noise = (torch.randn(4, 3, 2, generator=g, dtype=torch.float64) for _ in range(2))
    tau = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=torch.float64)
    slope = (process.noisy(data, noise, tau + 1e-6).x - process.noisy(data, noise, tau - 1e-6).x) / 2e-6
    prediction = process.noisy(data, noise, tau).velocity
    cosine = torch.nn.functional.cosine_similarity(slope.flatten(1), prediction.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(4, dtype=torch.float64))


def test_alams_law_of_time_is_ours_the_other_way_round():
    """t = 0.999 u + 0.001, u ~ Beta(1.5, 1), t = 1 noise (004, section 3.3): sample for sample, not only in law."""
    torch.manual_seed(0)
    ours = FlowMatching().tau(5000, "cpu")
    torch.manual_seed(0)
    u = torch.rand(5000) ** (1 / 1.5)
    theirs = 0.999 * u + 0.001
    torch.testing.assert_close(flip_time(ours), theirs, atol=1e-6, rtol=0)
    assert theirs.min() >= 0.001
    assert abs(theirs.mean() - (0.999 * 0.6 + 0.001)) < 0.01
    torch.manual_seed(0)
    assert torch.equal(ours, sample_tau(5000, device="cpu"))


# ------------------------------------------------------------------------------------------------ scale


def test_the_scale_settles_on_the_size_of_what_is_real_and_keeps_sums():
    scale = RunningScale().train()
    g = torch.Generator().manual_seed(0)
    real = torch.ones(8, 4, dtype=torch.bool)
    real[:, 3] = False
    for _ in range(SETTLE):
        z = 0.05 * torch.randn(8, 4, 6, generator=g)
        scale(torch.where(real[..., None], z, 0), real)
    assert abs(scale.square.sqrt() - 0.05) < 0.002
    frozen = scale.square.clone()
    scale(torch.ones(8, 4, 6), real)
    assert torch.equal(scale.square, frozen)
    a, b = torch.randn(2, 8, 4, 6, generator=g)
    torch.testing.assert_close(scale(a, real) + scale(b, real), scale(a + b, real))


def test_a_batch_without_real_latents_teaches_the_scale_nothing():
    scale = RunningScale().train()
    scale(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool))
    assert scale.square == 1
    assert scale.batches == 0
