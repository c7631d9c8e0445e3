import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from tests.tiny import ACTION, open_gates, tiny_batch, tiny_policy


def test_act_is_a_function_of_the_seed_and_leaves_padding_at_zero():
    policy = tiny_policy().eval()
    open_gates(policy)
    observation = tiny_batch().observation
    chunks = [
        policy.act(observation, steps=3, generator=torch.Generator().manual_seed(s)).actions_BHA for s in (0, 0, 1)
    ]
    assert torch.equal(chunks[0], chunks[1])
    assert not torch.equal(chunks[0], chunks[2])
    assert not chunks[0][:, :, 4:].any()


def test_training_and_acting_show_the_expert_the_same_padding(monkeypatch):
    """Padded action dims carry no noise on either path; otherwise acting would leave the training distribution."""
    policy = tiny_policy()
    seen = []
    forward = policy.expert.forward
    monkeypatch.setattr(policy.expert, "forward", lambda x, *a: seen.append(x["action"]) or forward(x, *a))
    batch = tiny_batch()
    policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    policy.act(batch.observation, steps=2)
    assert len(seen) == 3
    for x in seen:
        assert not x[:, :, 4:].any()
        assert x[:, :, :4].any()


def test_several_draws_share_one_pass_of_the_backbone(monkeypatch):
    policy = tiny_policy(draws=3)
    calls = []
    forward = policy.backbone.forward
    monkeypatch.setattr(policy.backbone, "forward", lambda o: calls.append(1) or forward(o))
    batch = tiny_batch()
    out = policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    assert len(calls) == 1
    assert out.velocity.shape[0] == 3 * len(batch)
    assert len(out.tau_B.unique()) == 3 * len(batch)


def test_rows_of_the_draws_belong_to_their_samples(monkeypatch):
    """Row r * B + b is sample b: its state, its tokens, its robot; the noise differs between draws."""
    policy, batch = tiny_policy(draws=2), tiny_batch()
    seen = []
    forward = policy.expert.forward
    monkeypatch.setattr(policy.expert, "forward", lambda *a: seen.append(a) or forward(*a))
    policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    noisy, _, _, tokens, state, embodiment, _ = seen[0]
    x = noisy["action"]
    n = len(batch)
    for draw in range(2):
        rows = slice(draw * n, (draw + 1) * n)
        assert torch.equal(state[rows], batch.observation.state_BS)
        assert torch.equal(embodiment[rows], batch.observation.embodiment_B)
        torch.testing.assert_close(tokens.x[rows], policy.tokens(batch.observation).x)
    assert not torch.equal(x[:n], x[n:])


def test_the_policy_reads_picture_words_and_state():
    policy = tiny_policy().eval()
    open_gates(policy)
    base = tiny_batch().observation

    def act(observation):
        return policy.act(observation, steps=2, generator=torch.Generator().manual_seed(0)).actions_BHA

    reference = act(base)
    changes = {
        "images_BVCHW": 255 - base.images_BVCHW,
        "instruction": ("close the door",) * len(base),
        "state_BS": base.state_BS + 1,
        "embodiment_B": (base.embodiment_B + 1) % 3,
    }
    for name, value in changes.items():
        assert not torch.equal(act(dataclasses.replace(base, **{name: value})), reference), name


def test_a_blind_policy_takes_no_picture():
    policy = tiny_policy(views=0)
    observation = tiny_batch(views=0).observation
    assert policy.act(observation, steps=1).actions_BHA.shape == (6, 4, ACTION)


def test_a_picture_of_the_wrong_size_says_what_to_set():
    observation = tiny_batch().observation
    small = dataclasses.replace(observation, images_BVCHW=observation.images_BVCHW[..., :16, :16])
    with pytest.raises(ConfigError, match=r"data\.image_size"):
        tiny_policy().act(small, steps=1)


def test_words_are_hashed_the_same_in_every_process():
    backbone = tiny_policy().backbone
    assert backbone.word_ids("Open the Drawer!")[:3] == backbone.word_ids("open the drawer")[:3]
    assert backbone.word_ids("open")[0] == 933
    assert backbone.word_ids("")[0] > 0
