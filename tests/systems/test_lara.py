"""The method itself: who moves whom, which token is tapped, what a mask removes."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.losses.alignment import CentredCosine, InfoNCE, RawCosine
from lara.systems.couplings.alignment import Alignment
from lara.systems.lam import LamSystem
from lara.systems.lara import Lara
from tests.tiny import HORIZON, open_gates, shorten, tiny_batch, tiny_lam, tiny_policy, tiny_system

LAM_SIDE = ("lam.encoder", "lam.former")
POLICY_SIDE = ("policy.backbone", "policy.adapter", "policy.expert", "policy.action")


def _losses(system, batch=None, terms=None, seed=0):
    torch.manual_seed(seed)
    return system.losses(batch or tiny_batch(), frozenset(terms or system.terms()))


def _moved(system, terms, batch=None):
    """Names of the parts that get a gradient from these terms."""
    open_gates(system)
    system.zero_grad()
    sum(_losses(system, batch, terms).terms.values()).backward()
    parts = system.parts().items()
    return {n for n, part in parts if any(p.grad is not None and p.grad.any() for p in part.parameters())}


def test_terms_and_parts_of_each_composition():
    assert Lara(policy=tiny_policy()).terms() == ("action",)
    assert LamSystem(lam=tiny_lam()).terms() == ("lam.reconstruction", "lam.commitment")
    assert tiny_system().terms() == ("action", "align", "lam.reconstruction", "lam.commitment")
    assert "variance" in tiny_system(floor=1.0).terms()
    with pytest.raises(ConfigError, match="a LAM alone is system=lam"):
        Lara(policy=None)
    with pytest.raises(ConfigError, match="lam is null"):
        LamSystem(lam=None)
    with pytest.raises(ConfigError, match="needs both"):
        Lara(policy=tiny_policy(), coupling=Alignment(objective=RawCosine))


@pytest.mark.parametrize("target", ["online", "ema"])
def test_parts_cover_every_parameter_once(target):
    system = tiny_system(target=target)
    named = [p for part in system.parts().values() for p in part.parameters()]
    assert len(named) == len({id(p) for p in named}) == len(list(system.parameters()))


def test_alignment_moves_both_sides_and_each_stop_gradient_exactly_one():
    projector = {"align.projector"}
    assert _moved(tiny_system(), ["align"]) == {*LAM_SIDE, *POLICY_SIDE, *projector}
    assert _moved(tiny_system(stop_gradient="lam"), ["align"]) == {*POLICY_SIDE, *projector}
    assert _moved(tiny_system(stop_gradient="policy"), ["align"]) == {*LAM_SIDE, *projector}
    assert _moved(tiny_system(target="ema"), ["align"]) == {*POLICY_SIDE, *projector}


def test_the_other_terms_stay_on_their_side():
    assert _moved(tiny_system(), ["action"]) == set(POLICY_SIDE)
    assert _moved(tiny_system(), ["lam.reconstruction"]) == {*LAM_SIDE, "lam.decoder"}


@pytest.mark.parametrize("objective", [CentredCosine, InfoNCE])
def test_every_objective_moves_both_sides(objective):
    assert _moved(tiny_system(objective=objective), ["align"]) == {*LAM_SIDE, *POLICY_SIDE, "align.projector"}


def test_only_blocks_up_to_the_tap_and_only_the_last_valid_token_feel_alignment():
    system = tiny_system(depth=2)
    open_gates(system)
    captured = {}

    def keep(name):
        def hook(module, args, out):
            out.retain_grad()
            captured[name] = out

        return hook

    for k, block in enumerate(system.policy.expert.blocks, start=1):
        block.register_forward_hook(keep(k))
    batch = shorten(tiny_batch(), 3)
    _losses(system, batch, ["align"]).terms["align"].backward()
    assert captured[3].grad is None
    assert captured[4].grad is None
    per_token = captured[2].grad.abs().sum(dim=(0, 2))
    # [state, a_1, a_2, a_3, a_4]: the tap is a_3, the last real step, although the model's horizon is 4
    assert HORIZON == 4
    assert (per_token > 0).tolist() == [False, False, False, True, False]


def test_each_sample_is_tapped_at_its_own_last_step():
    batch = tiny_batch(2)
    mask = batch.action_mask_BHA.clone()
    mask[0, 1:] = False
    batch = dataclasses.replace(batch, action_mask_BHA=mask, actions_BHA=batch.actions_BHA * mask)
    system = tiny_system(depth=0)
    open_gates(system)
    captured = []
    forward = system.coupling.projector.forward
    system.coupling.projector.forward = lambda h: captured.append(h) or forward(h)
    torch.manual_seed(3)
    flow = system.policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    _losses(system, batch, ["align"], seed=3)
    torch.testing.assert_close(captured[0][0], flow.states["norm_out"][0, 0])
    torch.testing.assert_close(captured[0][1], flow.states["norm_out"][1, 3])


def test_a_future_past_the_end_is_masked_out_of_align_and_lam_terms():
    batch = tiny_batch()
    mask = batch.frame_mask_BF.clone()
    mask[0, 1] = False
    values = []
    for fill in (0, 255):
        frames = batch.frames_BFVCHW.clone()
        frames[0, 1] = fill
        values.append(_losses(tiny_system(), dataclasses.replace(batch, frames_BFVCHW=frames, frame_mask_BF=mask)))
    for name in values[0].terms:
        assert torch.equal(values[0].terms[name], values[1].terms[name]), name
    for name in values[0].metrics:
        torch.testing.assert_close(values[0].metrics[name], values[1].metrics[name], msg=name)


def test_video_without_actions_feeds_only_the_lam_terms():
    batch = tiny_batch()
    video = dataclasses.replace(batch, action_mask_BHA=torch.zeros_like(batch.action_mask_BHA))
    losses = _losses(tiny_system(), video).terms
    assert losses["action"] == 0
    assert losses["align"] == 0
    assert losses["lam.reconstruction"] > 0


def test_tau_range_selects_the_samples_that_are_aligned():
    assert _losses(tiny_system(tau_range=(2.0, 3.0)), terms=["align"]).terms["align"] == 0
    assert _losses(tiny_system(tau_range=(0.0, 1.0)), terms=["align"]).terms["align"] > 0


def test_a_fraction_of_the_batch_equals_the_head_of_it():
    part = _losses(tiny_system(fraction=0.5), terms=["lam.reconstruction", "lam.commitment"]).terms
    head = _losses(tiny_system(), tiny_batch().head(3), ["lam.reconstruction", "lam.commitment"]).terms
    for name in part:
        torch.testing.assert_close(part[name], head[name])


def test_terms_not_asked_for_are_not_computed(monkeypatch):
    system = tiny_system()
    monkeypatch.setattr(system.lam, "decode", lambda *a: pytest.fail("decoded for nothing"))
    assert set(_losses(system, terms=["action", "align"]).terms) == {"action", "align"}
    monkeypatch.setattr(system.lam, "encode_frames", lambda *a: pytest.fail("encoded for nothing"))
    assert set(_losses(system, terms=["action"]).terms) == {"action"}


def test_ema_target_follows_slowly_and_starts_equal():
    system = tiny_system(target="ema", ema_decay=0.75)
    online, target = system.lam.former.queries, system.coupling.target.former.queries
    start = target.clone()
    with torch.no_grad():
        online += 1.0
    system.after_step()
    torch.testing.assert_close(target, start + 0.25)
    system.after_load()
    assert torch.equal(target, online)


def test_health_shows_a_collapse_that_the_raw_cosine_hides():
    system = tiny_system()
    with torch.no_grad():
        common = torch.randn(8)
        system.lam.former.down[2].weight.mul_(0.01)
        system.lam.former.down[2].bias.copy_(common)
        system.coupling.projector[-1].weight.mul_(0.01)
        system.coupling.projector[-1].bias.copy_(common.repeat(2))
    metrics = _losses(system).metrics
    assert metrics["align.cosine"] > 0.95
    assert metrics["align.common_z"] > 0.95
    assert metrics["align.centred_cosine"] < 0.8


def test_several_draws_align_each_draw_with_its_own_sample():
    """With a tap that only carries the sample, two draws must give the loss of one."""
    losses = []
    for draws in (1, 2):
        system = tiny_system(draws=draws, depth=1)  # gates shut: block 1 is the identity on the action tokens
        with torch.no_grad():
            system.policy.expert.robot.encode_action.up.weight.zero_()  # the noise cannot be seen
        losses.append(_losses(system, terms=["align"]).terms["align"])
    torch.testing.assert_close(losses[0], losses[1])


def test_each_draw_of_each_sample_is_tapped_once_and_in_order():
    """Row r * b + i of what the projector sees is draw r of sample i, of the b samples that the LAM sees."""
    system = tiny_system(draws=3, fraction=0.5, depth=2)
    open_gates(system)
    captured = []
    forward = system.coupling.projector.forward
    system.coupling.projector.forward = lambda h: captured.append(h) or forward(h)
    batch = shorten(tiny_batch(6), 3)
    torch.manual_seed(5)
    flow = system.policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    _losses(system, batch, ["align"], seed=5)
    expected = [flow.states["block_2"][r * 6 + i, 2] for r in range(3) for i in range(3)]
    torch.testing.assert_close(captured[0], torch.stack(expected))


def test_a_latent_action_model_cannot_act():
    with pytest.raises(ConfigError, match="a latent action model cannot act"):
        LamSystem(lam=tiny_lam()).act(tiny_batch().observation, steps=1)
