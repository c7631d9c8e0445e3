"""Moto-GPT's stages 2 and 3 on code labels."""

import dataclasses
from functools import partial

import torch

from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbones.compact import CompactBackbone
from lara.policy.expert import FlowExpert
from lara.policy.moto import MotoPolicy, TokenHead
from lara.policy.tokens import StateAction
from lara.systems.couplings.tokens import CodeTokens
from lara.systems.lara import Lara
from tests.golden.compositions import Composition
from tests.tiny import ACTION, HORIZON, SIZE, STATE, tiny_batch

TOKENS, CODES = 4, 8


class TokensOnly(CodeTokens):
    """Stage 2, in which the expert is not asked."""

    def terms(self):
        return ("tokens",)


def policy():
    torch.manual_seed(0)
    sizes = {"layout": StateAction(horizon=HORIZON), "width": 32, "heads": 4, "blocks": 4}
    return MotoPolicy(
        head=partial(TokenHead, tokens=TOKENS, codes=CODES, heads=4, layers=2),
        backbone=CompactBackbone(views=1, image_size=SIZE, patch=16, width=32),
        adapter=partial(SelfAttentionAdapter, heads=4),
        expert=partial(FlowExpert, action_dim=ACTION, state_dim=STATE, slots=3, **sizes),
        draws=2,
    )


def coded():
    """One code is missing, as past the end of an episode."""
    codes = torch.randint(0, CODES, (6, TOKENS), generator=torch.Generator().manual_seed(0))
    codes[2, 3] = -1
    return dataclasses.replace(tiny_batch(6), codes_BT=codes)


COMPOSITIONS = {
    "moto_tokens": Composition(lambda: Lara(policy=policy(), coupling=TokensOnly()), coded),
    "moto_actions": Composition(lambda: Lara(coupling=CodeTokens(), policy=policy()), coded),
}
