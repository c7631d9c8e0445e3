"""The token head reads from left to right, and what the expert sees of it never depends on a label."""

import dataclasses
from functools import partial

import pytest
import torch

from lara.errors import ConfigError
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbone import Tokens
from lara.policy.backbones.compact import CompactBackbone
from lara.policy.expert import FlowExpert
from lara.policy.moto import MotoPolicy, TokenHead
from lara.policy.tokens import StateAction
from lara.systems.couplings.tokens import CodeTokens
from lara.systems.lara import Lara
from tests.tiny import ACTION, HORIZON, SIZE, STATE, open_gates, tiny_batch, tiny_policy

T, K = 4, 8


def _system(draws=1):
    torch.manual_seed(0)
    policy = MotoPolicy(
        head=partial(TokenHead, tokens=T, codes=K, heads=4, layers=2),
        backbone=CompactBackbone(views=1, image_size=SIZE, patch=16, width=32),
        adapter=partial(SelfAttentionAdapter, heads=4),
        expert=partial(
            FlowExpert,
            width=32,
            heads=4,
            blocks=4,
            layout=StateAction(horizon=HORIZON),
            action_dim=ACTION,
            state_dim=STATE,
            slots=3,
        ),
        draws=draws,
    )
    open_gates(policy)
    return Lara(coupling=CodeTokens(), policy=policy)


def _batch(n=6, seed=0):
    codes = torch.randint(0, K, (n, T), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(tiny_batch(n), codes_BT=codes)


def _context(n=3, j=5):
    mask = torch.ones(n, j, dtype=torch.bool)
    mask[:, -1] = False
    return Tokens(torch.randn(n, j, 32), mask)


def test_a_code_changes_only_what_comes_after_it():
    head, context = _system().policy.head, _context()
    codes = torch.randint(0, K, (3, T))
    before, states = head(context, codes)
    for t in range(T):
        other = codes.clone()
        other[:, t] = (other[:, t] + 1) % K
        after, moved = head(context, other)
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        assert torch.equal(moved[:, : t + 1], states[:, : t + 1])
        if t + 1 < T:
            assert not torch.allclose(after[:, t + 1], before[:, t + 1])


def test_padding_of_the_context_is_not_seen():
    head, context = _system().policy.head, _context()
    codes = torch.randint(0, K, (3, T))
    other = context.x.clone()
    other[:, -1] = 100.0
    torch.testing.assert_close(head(context, codes)[0], head(Tokens(other, context.mask), codes)[0])


def test_generation_is_greedy():
    head, context = _system().policy.head, _context()
    codes = head.generate(context)
    assert torch.equal(head(context, codes)[0].argmax(-1), codes)


def test_the_expert_never_sees_a_label():
    system, batch = _system(), _batch()
    values = []
    for seed in (0, 1):
        torch.manual_seed(7)
        changed = dataclasses.replace(batch, codes_BT=_batch(seed=seed).codes_BT)
        values.append(system.losses(changed, frozenset({"tokens", "action"})).terms)
    assert torch.equal(values[0]["action"], values[1]["action"])
    assert not torch.equal(values[0]["tokens"], values[1]["tokens"])
    torch.manual_seed(7)
    flow = system.policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    torch.manual_seed(7)
    alone = system.losses(dataclasses.replace(batch, codes_BT=None), frozenset({"action"})).terms
    assert torch.equal(alone["action"], values[0]["action"])
    assert flow.velocity.shape == batch.actions_BHA.shape


def test_the_expert_listens_to_the_head():
    system, batch = _system(), _batch()
    system.losses(batch, frozenset({"action"})).terms["action"].backward()
    assert any(p.grad is not None and p.grad.any() for p in system.policy.head.parameters())
    with torch.no_grad():
        act = partial(system.act, batch.observation, steps=2)
        before = act(generator=torch.Generator().manual_seed(0)).actions_BHA
        system.policy.head.norm.bias.add_(1.0)
        assert not torch.allclose(act(generator=torch.Generator().manual_seed(0)).actions_BHA, before)


def test_codes_that_are_none_count_nowhere():
    system, batch = _system(), _batch()
    codes = batch.codes_BT.clone()
    codes[2:] = -1
    masked = system.losses(dataclasses.replace(batch, codes_BT=codes), frozenset({"tokens"}))
    alone = system.losses(batch.head(2), frozenset({"tokens"}))
    torch.testing.assert_close(masked.terms["tokens"], alone.terms["tokens"])
    torch.testing.assert_close(masked.metrics["tokens.accuracy"], alone.metrics["tokens.accuracy"])
    nothing = system.losses(dataclasses.replace(batch, codes_BT=torch.full_like(codes, -1)), frozenset({"tokens"}))
    nothing.terms["tokens"].backward()
    assert nothing.terms["tokens"] == 0
    assert not any(p.grad is not None and p.grad.any() for p in system.parameters())


def test_tokens_alone_leave_the_expert_alone():
    system = _system()
    system.losses(_batch(), frozenset({"tokens"})).terms["tokens"].backward()
    assert not any(p.grad is not None and p.grad.any() for p in system.policy.expert.parameters())
    assert any(p.grad is not None and p.grad.any() for p in system.policy.backbone.parameters())


def test_what_does_not_fit_is_said():
    system, batch = _system(), _batch()
    with pytest.raises(ConfigError, match=r"data\.lam\.codes"):
        system.losses(dataclasses.replace(batch, codes_BT=None), frozenset({"tokens"}))
    with pytest.raises(ConfigError, match=r"policy\.head\.tokens"):
        system.losses(dataclasses.replace(batch, codes_BT=batch.codes_BT[:, :3]), frozenset({"tokens"}))
    with pytest.raises(ConfigError, match="token head"):
        Lara(coupling=CodeTokens(), policy=tiny_policy())
