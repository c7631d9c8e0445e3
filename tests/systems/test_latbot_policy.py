"""LatBot's stages 2 and 3: who learns from whom, what the student may see, and which dims each action loss touches."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.ops.flow import path
from lara.policy.backbones.compact_student import CompactStudent
from lara.policy.contract import FlowOutput
from lara.policy.student import BackboneOnly
from lara.systems.couplings.distillation import TERMS as DISTILL
from lara.systems.couplings.distillation import Distillation
from lara.systems.couplings.pose_and_gripper import TERMS as FINETUNE
from lara.systems.couplings.pose_and_gripper import PoseAndGripper
from lara.systems.lara import Lara
from lara.train.load_parts import load_parts
from lara.train.stage import Stage, apply_stage
from tests.tiny import ACTION, SIZE, open_gates, tiny_batch, tiny_latbot, tiny_policy


def _student(dim=8):
    torch.manual_seed(3)
    return CompactStudent(dim=dim, scene=2, motion=3, views=1, image_size=SIZE, patch=16, width=32, heads=4, layers=1)


def _distill(**changes):
    return Lara(lam=tiny_latbot(), policy=BackboneOnly(backbone=_student(**changes)), coupling=Distillation())


def _policy():
    policy = tiny_policy()
    policy.backbone = _student()
    return policy


def _terms(system, batch, names):
    torch.manual_seed(0)
    with torch.no_grad():
        return system.losses(batch, frozenset(names)).terms


def test_distillation_moves_the_student_and_never_the_teacher():
    system, batch = _distill(), tiny_batch()
    stage = Stage(name="x", learn=("policy",), weights={"distill": {"latent": 1, "kl": 1, "text": 0.5}}, steps=1)
    applied = apply_stage(system, stage)
    applied.train()
    assert not system.lam.training
    assert {applied.part_of[n] for n in applied.learning} == {"policy.backbone"}
    losses = system.losses(batch, frozenset(DISTILL))
    assert set(losses.terms) == set(DISTILL)
    sum(losses.terms.values()).backward()
    assert all(p.grad is None for p in system.lam.parameters())
    idle = {n for n, p in system.policy.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"backbone.up.weight", "backbone.up.bias"}
    # whatever the stage says
    with pytest.raises(ConfigError, match="frozen by its part"):
        apply_stage(_distill(), dataclasses.replace(stage, learn=("lam",)))


def test_the_future_reaches_the_target_and_not_the_prediction():
    system, batch = _distill().eval(), tiny_batch()
    frames = batch.frames_BFVCHW.clone()
    frames[:, 1] = 255 - frames[:, 1]
    future = dataclasses.replace(batch, frames_BFVCHW=frames)
    before, after = _terms(system, batch, DISTILL), _terms(system, future, DISTILL)
    assert torch.equal(before["distill.text"], after["distill.text"])
    assert before["distill.latent"] != after["distill.latent"]
    # samples without a future are left out of the latent's terms
    gone = dataclasses.replace(future, frame_mask_BF=torch.zeros_like(batch.frame_mask_BF))
    assert _terms(system, gone, DISTILL)["distill.latent"] == 0


def test_a_student_can_learn_a_teacher_by_heart():
    system, batch = _distill(), tiny_batch(4)
    optimizer = torch.optim.AdamW(system.policy.parameters(), lr=3e-3)
    first = _terms(system, batch, DISTILL)
    for _ in range(60):
        optimizer.zero_grad()
        sum(system.losses(batch, frozenset(DISTILL)).terms.values()).backward()
        optimizer.step()
    last, metrics = _terms(system, batch, DISTILL), system.losses(batch, frozenset(DISTILL)).metrics
    for name in DISTILL:
        assert last[name] < 0.5 * first[name], name
    assert last["distill.latent"] < metrics["distill.latent_of_mean"]


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="give both the same latent"):
        _distill(dim=4).losses(tiny_batch(), frozenset(DISTILL))
    with pytest.raises(ConfigError, match="teacher and a student"):
        Lara(lam=tiny_latbot(), policy=tiny_policy(), coupling=Distillation())
    with pytest.raises(ConfigError, match="cannot act"):
        _distill().act(tiny_batch().observation, steps=1)
    for wrong in ({"gripper_dims": []}, {"gripper_dims": [1, 1]}, {"opened": 0.0}, {"sharpness": 0.0}):
        with pytest.raises(ConfigError, match="gripper dims"):
            Lara(policy=_policy(), coupling=PoseAndGripper(**wrong))
    with pytest.raises(ConfigError, match="beyond the 6 action dims"):
        Lara(policy=_policy(), coupling=PoseAndGripper()).losses(tiny_batch(), frozenset(FINETUNE))


def test_the_expert_starts_from_the_distilled_backbone(tmp_path):
    from lara.store.checkpoint import write_checkpoint
    from lara.train.parts import part_paths

    taught = _distill()
    with torch.no_grad():
        for p in taught.parameters():
            p += 0.01
    records = {name: {} for name in ("optimizer", "data", "versions", "config")}
    records |= {"train": {"step": 1}, "parts": part_paths(taught)}
    tensors = {"system": taught.state_dict(), "optimizer": {}, "rng": {}}
    write_checkpoint(tmp_path, step=1, tensors=tensors, records=records, keep_last=1)
    system = Lara(policy=_policy(), coupling=PoseAndGripper(gripper_dims=[3]))
    stage = Stage(
        name="x",
        learn=("policy",),
        weights={"action": 1.0, "end_effector": 1.0, "gripper": 1.0},
        steps=1,
        load={"policy": {"backbone": tmp_path, "expert": None}},
    )
    assert load_parts(system, stage.load) == {"policy.backbone": len(taught.policy.state_dict())}
    for key, value in taught.policy.backbone.state_dict().items():
        assert torch.equal(system.policy.backbone.state_dict()[key], value), key


class _Known(torch.nn.Module):
    """A policy whose velocity error is given: v_hat = v + error."""

    draws = 1

    def __init__(self, error, tau):
        super().__init__()
        self.error, self.tau = torch.nn.Parameter(error), tau

    def flow(self, observation, actions_BHA, mask_BHA):
        noise = torch.randn(actions_BHA.shape, generator=torch.Generator().manual_seed(0)) * mask_BHA
        tau = torch.full((len(actions_BHA),), self.tau)
        target = path(actions_BHA, noise, tau).velocity
        return FlowOutput(target + self.error, target, {}, tau)


@pytest.mark.parametrize("tau", [0.0, 0.4, 0.9])
def test_the_clean_action_is_where_the_velocity_points_to(tau):
    """From any place on the path an error e of the velocity is an error (1 - tau) e of the action."""
    batch = tiny_batch()
    error = torch.randn(batch.actions_BHA.shape, generator=torch.Generator().manual_seed(1))
    system = Lara(policy=_Known(error, tau), coupling=PoseAndGripper(gripper_dims=[3]))
    terms = system.losses(batch, frozenset(FINETUNE)).terms
    end = batch.action_mask_BHA.clone()
    end[..., 3] = False
    torch.testing.assert_close(terms["end_effector"], (1 - tau) ** 2 * error[end].square().mean())
    torch.testing.assert_close(terms["action"], error[batch.action_mask_BHA].square().mean())


def test_pose_and_gripper_terms_touch_their_own_real_dims():
    batch = tiny_batch()
    for name, dims in (("action", [0, 1, 2, 3]), ("end_effector", [0, 1, 2]), ("gripper", [3])):
        system = Lara(
            policy=_Known(torch.full_like(batch.actions_BHA, 0.1), 0.5), coupling=PoseAndGripper(gripper_dims=[3, 5])
        )
        system.losses(batch, frozenset({name})).terms[name].backward()
        moved = system.policy.error.grad.abs().amax(dim=(0, 1)).nonzero().flatten().tolist()
        assert moved == dims, name


def test_the_gripper_is_drawn_to_its_side_and_is_counted_right_there():
    batch = tiny_batch()
    actions = batch.actions_BHA.clone()
    actions[..., 3] = torch.arange(6)[:, None] % 2 * 1.0
    batch = dataclasses.replace(batch, actions_BHA=actions)

    def at(guess, **changes):
        error = torch.zeros_like(actions)
        error[..., 3] = guess - actions[..., 3]
        system = Lara(policy=_Known(error, 0.0), coupling=PoseAndGripper(gripper_dims=[3], **changes))
        losses = system.losses(batch, frozenset({"gripper"}))
        return losses.terms["gripper"].item(), losses.metrics["gripper_right"].item()

    right, wrong, unsure = at(actions[..., 3]), at(1 - actions[..., 3]), at(torch.full_like(actions[..., 3], 0.5))
    assert right[0] < unsure[0] < wrong[0]
    assert (right[1], wrong[1]) == (1.0, 0.0)
    assert unsure[0] == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-6)
    assert right[0] == pytest.approx(torch.nn.functional.softplus(torch.tensor(-4.0)).item(), abs=1e-6)
    # a gripper that is normalised to [-1, 1] and closes upwards, told so
    assert at(actions[..., 3], closed=1.0, opened=0.0) == pytest.approx(right)


def test_the_three_terms_teach_the_policy_and_it_acts():
    system, batch = Lara(policy=_policy(), coupling=PoseAndGripper(gripper_dims=[3])), tiny_batch()
    open_gates(system)
    sum(system.losses(batch, frozenset(FINETUNE)).terms.values()).backward()
    idle = {n for n, p in system.named_parameters() if p.grad is None or not p.grad.any()}
    assert {n for n in idle if "writer" not in n} == set()
    chunk = system.eval().act(batch.observation, steps=2)
    assert chunk.actions_BHA.shape[2] == ACTION
    assert not chunk.actions_BHA[..., 4:].any()


def test_the_recipes_name_the_grippers_of_the_unified_layout():
    from lara.config.compose import compose, resolved
    from lara.data.actions.unified_actions import ACTION_NAMES

    grippers = [k for k, name in enumerate(ACTION_NAMES) if name.endswith("gripper")]
    for name in ("latbot/tiny_finetune", "latbot/finetune"):
        open_places = [] if "tiny" in name else ["policy.backbone.path=x"]
        config = resolved(compose("train", [f"experiment={name}", "data.root=x", *open_places]))
        assert config["system"]["coupling"]["gripper_dims"] == grippers
        assert (config["system"]["coupling"]["closed"], config["system"]["coupling"]["opened"]) == (0.0, 1.0)
        assert config["data"]["actions"]["action"]["gripper"] == "right_gripper"
