"""RotVLA's stages II and III and ALAM's transfer: whose latents, which terms, what learns, what a mask removes."""

import dataclasses
from functools import partial

import pytest
import torch

from lara.errors import ConfigError
from lara.lam.encoders.patches import PatchEncoder
from lara.lam.former import MFormer
from lara.lam.transitions import TransitionEncoder
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.latents.vq import VQSpace
from lara.losses.alignment import RawCosine
from lara.losses.flow import velocity_l1, velocity_mse
from lara.nn.softvq import SoftVQ
from lara.policy.generation import TwoStage
from lara.policy.process import Diffusion
from lara.policy.tokens import Interleaved, LatentChunk, LatentThenAction, StateAction
from lara.systems.couplings.alignment import Alignment
from lara.systems.couplings.chunk_latent import ChunkLatent
from lara.systems.couplings.step_latents import StepLatents
from lara.systems.lara import Lara
from lara.train.optim import OptimConfig, build_optimizer, set_lr
from lara.train.stage import Stage, apply_stage
from tests.tiny import HORIZON, SIZE, open_gates, tiny_batch, tiny_policy_over

N, QUERIES, DIM = 4, 2, 8


def _lam(space, queries):
    torch.manual_seed(5)
    return TransitionEncoder(
        encoder=PatchEncoder(image_size=SIZE, patch=16, width=32),
        former=partial(MFormer, width=32, heads=4, layers=1),
        space=space,
        queries=queries,
    )


def _rotation(softvq=True):
    return _lam(RotationSpace(dim=N, softvq=SoftVQ(dim=N, codes=8) if softvq else None), N)


def _rotvla(layout, lam=True, **more):
    policy = tiny_policy_over(layout, latent_dim=N if layout.latents else None, draws=2)
    return Lara(policy=policy, lam=_rotation() if lam else None, coupling=ChunkLatent(**more))


def _alam(views=1, error=velocity_l1, **policy):
    policy = tiny_policy_over(
        Interleaved(horizon=HORIZON, views=views), latent_dim=QUERIES * DIM, project=True, draws=2, **policy
    )
    return Lara(policy=policy, lam=_lam(AdditiveSpace(dim=DIM), QUERIES), coupling=StepLatents(error=error))


def _clip(n=4, views=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (n, HORIZON + 1, views, 3, SIZE, SIZE), dtype=torch.uint8, generator=g)
    mask = torch.ones(n, HORIZON + 1, dtype=torch.bool)
    return dataclasses.replace(tiny_batch(n), frames_BFVCHW=frames, frame_mask_BF=mask)


align = partial(Alignment, objective=RawCosine)
CHUNK = LatentChunk(latents=N)
BOTH = LatentThenAction(latents=N, horizon=HORIZON)
# name -> (system, batch, what learns)
STAGES = {
    "rotvla_pretrain": (lambda: _rotvla(CHUNK), tiny_batch, ["policy"]),
    "rotvla_finetune": (lambda: _rotvla(BOTH), tiny_batch, ["policy"]),
    "rotvla_without_planner": (lambda: _rotvla(StateAction(horizon=HORIZON), lam=False), tiny_batch, ["policy"]),
    "rotvla_aligned": (lambda: _rotvla(BOTH, align=align()), tiny_batch, ["policy", "align"]),
    "rotvla_expert_only": (lambda: _rotvla(BOTH), tiny_batch, ["policy.expert", "policy.latent", "policy.action"]),
    "alam_transfer": (_alam, _clip, ["policy"]),
    "alam_two_views": (lambda: _alam(views=2), lambda: _clip(views=2), ["policy"]),
    "alam_two_stage": (lambda: _alam(generation=TwoStage()), _clip, ["policy"]),
    "alam_diffusion": (lambda: _alam(process=Diffusion(), error=velocity_mse), _clip, ["policy"]),
}


def test_terms_are_one_per_stream():
    assert _rotvla(CHUNK).terms() == ("latent",)
    assert _rotvla(BOTH).terms() == ("latent", "action")
    assert _rotvla(BOTH, align=align()).terms() == ("latent", "action", "align")
    assert _alam(views=2).terms() == ("latent_1", "latent_2", "action")


@pytest.mark.parametrize("name", STAGES)
def test_three_steps_move_every_learning_parameter_and_nothing_else(name):
    make, batch, learn = STAGES[name]
    system = make()
    stage = Stage(name=name, learn=tuple(learn), steps=3, weights=dict.fromkeys(system.terms(), 1.0))
    applied = apply_stage(system, stage)
    open_gates(system)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    optimizer = build_optimizer(applied, OptimConfig(lr=1e-2))
    for step in range(3):
        applied.train()
        torch.manual_seed(step)
        losses = system.losses(batch(), frozenset(stage.weights_at(step)))
        assert set(losses.terms) == set(system.terms())
        sum(losses.terms.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    moved = {k for k, v in system.state_dict().items() if not torch.equal(v, before[k])}
    assert set(applied.learning) <= moved, sorted(set(applied.learning) - moved)
    learning_parts = {k for k in before if any(k.startswith(f"{side}.") for side in ("policy", "coupling"))}
    assert moved <= (
        learning_parts
        if learn != STAGES["rotvla_expert_only"][2]
        else {k for k in learning_parts if k.startswith("policy.expert.")}
    )
    assert not any(k.startswith("lam.") for k in moved)


def test_parts_cover_the_system_and_keep_their_names_between_stages():
    pretrain, finetune = _rotvla(CHUNK).parts(), _rotvla(BOTH).parts()
    assert set(finetune) - set(pretrain) == {"policy.action"}
    for name in ("policy.expert", "policy.latent", "policy.adapter", "policy.backbone"):
        shapes = [{k: v.shape for k, v in parts[name].state_dict().items()} for parts in (pretrain, finetune)]
        assert shapes[0] == shapes[1], name


def test_the_target_is_what_the_decoder_of_stage_one_got():
    system, batch = _rotvla(BOTH), tiny_batch()
    lam, frames = system.lam, batch.frames_BFVCHW[:, :, 0]
    z, real = system.coupling.latents(system.policy, lam, batch)
    tokens = lam.encoder(frames.flatten(0, 1)).unflatten(0, (6, 2))
    wanted = lam.space.extract(lam.former(tokens[:, 0], tokens[:, 1]), torch.ones(6, dtype=torch.bool)).z
    torch.testing.assert_close(z["latent"], wanted)
    torch.testing.assert_close(wanted @ wanted.mT, torch.eye(N).expand_as(wanted), atol=1e-5, rtol=0)
    assert real["latent"].all()


def test_a_discrete_lam_gives_its_codes_and_learns_nothing_from_being_asked():
    space = VQSpace(dim=DIM, codes=16)
    lam = _lam(space, QUERIES).eval()
    before = {k: v.clone() for k, v in lam.state_dict().items()}
    z = lam.decoded(tiny_batch().frames_BFVCHW[:, :, 0])[:, 0]
    nearest = torch.cdist(z.flatten(0, 1), space.codebook).amin(dim=1)
    torch.testing.assert_close(nearest, torch.zeros_like(nearest), atol=1e-5, rtol=0)
    assert all(torch.equal(v, before[k]) for k, v in lam.state_dict().items())


def test_alams_latents_are_those_of_neighbouring_frames_before_any_quantiser():
    system, batch = _alam(views=2), _clip(views=2)
    z, real = system.coupling.latents(system.policy, system.lam, batch)
    for k, name in enumerate(("latent_1", "latent_2")):
        for t in range(HORIZON):
            pair = batch.frames_BFVCHW[:, t : t + 2, k]
            tokens = system.lam.encoder(pair.flatten(0, 1)).unflatten(0, (4, 2))
            alone = system.lam.former(tokens[:, 0], tokens[:, 1])
            torch.testing.assert_close(z[name][:, t], alone.flatten(1), atol=1e-5, rtol=1e-4)
        assert real[name].all()


def test_each_frame_of_a_clip_is_encoded_once(monkeypatch):
    system, batch = _alam(views=2), _clip(views=2)
    seen = []
    forward = system.lam.encoder.forward
    monkeypatch.setattr(system.lam.encoder, "forward", lambda f: seen.append(len(f)) or forward(f))
    system.losses(batch, frozenset(system.terms()))
    assert sum(seen) == 4 * (HORIZON + 1) * 2


def _terms(system, batch):
    torch.manual_seed(0)
    return system.eval().losses(batch, frozenset(system.terms())).terms


@pytest.mark.parametrize("name", ["alam_transfer", "alam_two_stage"])
def test_frames_past_the_end_cannot_be_felt(name):
    make, batch, _ = STAGES[name]
    system, given = make(), batch()
    open_gates(system)
    mask = given.frame_mask_BF.clone()
    mask[:, 3:] = False
    changed = given.frames_BFVCHW.clone()
    changed[:, 3:] = 255 - changed[:, 3:]
    masked = dataclasses.replace(given, frame_mask_BF=mask)
    a, b = _terms(system, masked), _terms(system, dataclasses.replace(masked, frames_BFVCHW=changed))
    assert all(torch.equal(a[k], b[k]) for k in a)
    c = _terms(system, dataclasses.replace(given, frames_BFVCHW=changed))
    assert not torch.equal(_terms(system, given)["action"], c["action"])


def test_a_video_without_actions_feeds_the_latent_term_alone():
    system, batch = _rotvla(BOTH), tiny_batch()
    open_gates(system)
    silent = dataclasses.replace(batch, action_mask_BHA=torch.zeros_like(batch.action_mask_BHA))
    terms = _terms(system, silent)
    assert terms["action"] == 0
    assert terms["latent"] > 0
    torch.testing.assert_close(terms["latent"], _terms(system, batch)["latent"])


def test_pretraining_does_not_look_at_actions_or_state():
    system, batch = _rotvla(CHUNK), tiny_batch()
    open_gates(system)
    other = dataclasses.replace(
        batch,
        actions_BHA=batch.actions_BHA + 9,
        observation=dataclasses.replace(batch.observation, state_BS=batch.observation.state_BS + 9),
    )
    assert torch.equal(_terms(system, batch)["latent"], _terms(system, other)["latent"])


def test_alignment_and_generation_share_one_latent():
    """LARA's term on a unified expert: its gradient reaches the trunk below the tap, and not the LAM."""
    system, batch = _rotvla(BOTH, align=align()), tiny_batch()
    open_gates(system)
    losses = system.losses(batch, frozenset({"align"}))
    assert set(losses.terms) == {"align"}
    assert "align.retrieval" in losses.metrics
    losses.terms["align"].backward()
    assert system.policy.expert.trunk.blocks[0].mlp.up.weight.grad.any()
    assert all(p.grad is None for p in system.lam.parameters())


def test_a_system_without_its_lam_acts_and_does_not_train():
    layout, batch = BOTH, tiny_batch()
    system = Lara(policy=tiny_policy_over(layout, latent_dim=N), coupling=ChunkLatent())
    assert system.act(batch.observation, steps=1).actions_BHA.shape == batch.actions_BHA.shape
    with pytest.raises(ConfigError, match="needs the LAM"):
        system.losses(batch, frozenset({"latent"}))


@pytest.mark.parametrize("views", [1, 2])
def test_alam_learns_the_same_from_labels_as_from_frames(views):
    """What the frozen LAM says of a clip may be written down beforehand: not one bit of the losses depends on it."""
    system, batch = _alam(views=views), _clip(views=views)
    mask = batch.frame_mask_BF.clone()
    mask[:2, 3:] = False
    batch = dataclasses.replace(batch, frame_mask_BF=mask)
    z, real = system.coupling.latents(system.policy, system.lam, batch)
    labelled = dataclasses.replace(
        batch,
        frames_BFVCHW=batch.frames_BFVCHW[:, :0],
        frame_mask_BF=mask[:, :0],
        latents_BTVD=torch.stack(list(z.values()), dim=2),
        latent_mask_BT=real["latent_1"],
    )
    open_gates(system)
    online = _terms(system, batch)
    system.lam = None
    offline = _terms(system, labelled)
    assert all(torch.equal(online[k], offline[k]) for k in online)
    moved = dataclasses.replace(labelled, latents_BTVD=labelled.latents_BTVD + 1)
    assert not torch.equal(_terms(system, moved)["latent_1"], online["latent_1"])
    short = dataclasses.replace(
        labelled, latents_BTVD=labelled.latents_BTVD[:, 1:], latent_mask_BT=labelled.latent_mask_BT[:, 1:]
    )
    with pytest.raises(ConfigError, match=f"{HORIZON} latents of {views} camera"):
        _terms(system, short)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="4 tokens of 4 dims, the policy 3 of 4"):
        Lara(policy=tiny_policy_over(LatentChunk(latents=3), latent_dim=N), lam=_rotation(), coupling=ChunkLatent())
    with pytest.raises(ConfigError, match="no latents; leave the LAM out"):
        _rotvla(StateAction(horizon=HORIZON))
    with pytest.raises(ConfigError, match="stage III with latents"):
        _rotvla(CHUNK, align=align())
    with pytest.raises(ConfigError, match="follows a LAM that learns"):
        _rotvla(BOTH, align=align(target="ema"))
    with pytest.raises(ConfigError, match="5 frames of 1 camera"):
        _alam().losses(tiny_batch(), frozenset({"action"}))
    labelled = dataclasses.replace(tiny_batch(), latents_BTVD=torch.zeros(len(tiny_batch().actions_BHA), HORIZON, 1, N))
    with pytest.raises(ConfigError, match="would not look at the data's latents"):
        _rotvla(BOTH).losses(labelled, frozenset({"action"}))


def test_the_backbone_stands_still_for_its_delay_and_then_learns_at_its_share():
    """X-VLA's schedule (001 section 4.1): rate 0 for `delay` steps, bit for bit, then a tenth."""
    system, batch = _rotvla(BOTH), tiny_batch()
    applied = apply_stage(system, Stage(name="x", learn=("policy",), steps=6, weights={"latent": 1, "action": 1}))
    open_gates(system)
    config = OptimConfig(
        lr=1e-2,
        lr_scale={"policy.backbone": 0.1},
        lr_delay={"policy.backbone": 3},
        warmup_steps=2,
        weight_decay=0.1,
        schedule="constant",
    )
    optimizer = build_optimizer(applied, config)
    before = {k: v.clone() for k, v in system.policy.backbone.state_dict().items()}
    rates = []
    for step in range(6):
        rates.append(set_lr(optimizer, config, step, 6)["policy.backbone"])
        sum(system.losses(batch, frozenset({"latent", "action"})).terms.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        same = all(torch.equal(v, before[k]) for k, v in system.policy.backbone.state_dict().items())
        assert same == (step < 3)
    assert rates == pytest.approx([0, 0, 0, 0.0005, 0.001, 0.001])
