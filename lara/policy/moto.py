"""A policy that says in latent motion tokens what will happen before it acts (Moto-GPT; paper 003, section 5.5 and D).

    VL tokens -> [ causal token head ] -> code_1 ... code_T          (the codes that a LAM reads from the future)
    VL tokens + the head's states -> flow expert -> actions

The expert reads the states over the head's OWN tokens, chosen greedily, in training as in acting. Fed with the labels
instead, those states would carry the frame that the labels were read from, which is not there when the policy acts.

B batch, T tokens, K codes, E width, J VL tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.causal import CausalBlock
from lara.nn.vit import learned_positions
from lara.policy.backbone import Tokens
from lara.policy.policy import Policy
from lara.types import Observation


class TokenHead(nn.Module):
    """Predicts code t from the VL tokens and the codes before it. width: of the VL tokens. tokens: T. codes: K."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, width: int, tokens: int, codes: int, heads: int, layers: int = 2) -> None:
        super().__init__()
        if tokens < 1 or codes < 2 or layers < 1:
            raise ConfigError(f"a token head needs tokens, layers >= 1, codes >= 2; got {tokens}, {layers}, {codes}")
        self.tokens, self.codes = tokens, codes
        self.embed = nn.Embedding(codes + 1, width)  # the last row begins the sequence
        self.positions = learned_positions(tokens, width)
        self.blocks = nn.ModuleList(CausalBlock(width, heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, codes)

    def forward(
        self, context: Tokens, codes_BT: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T K"], Float[Tensor, "B T E"]]:
        """Logits of every code given those before it, and the states they are read from.

        A code of -1 (none) is read as the beginning. Raises ConfigError for another number of tokens than T.
        """
        if codes_BT.shape[1] != self.tokens:
            raise ConfigError(
                f"the head predicts {self.tokens} tokens, got {codes_BT.shape[1]}; set policy.head.tokens to "
                "data.lam.codes.steps * data.lam.codes.queries"
            )
        before = torch.cat([torch.full_like(codes_BT[:, :1], self.codes), codes_BT[:, :-1]], dim=1)
        x = self.embed(torch.where(before < 0, self.codes, before)) + self.positions
        for block in self.blocks:
            x = block(x, context.x, context.mask)
        x = self.norm(x)
        return self.logits(x), x

    @torch.no_grad()
    def generate(self, context: Tokens) -> Int[Tensor, "B T"]:
        """The most likely code at each place, given the ones chosen before it."""
        codes = torch.full((len(context.x), self.tokens), -1, dtype=torch.long, device=context.x.device)
        for t in range(self.tokens):
            codes[:, t] = self(context, codes)[0][:, t].argmax(dim=-1)
        return codes


class MotoPolicy(Policy):
    """head: factory of a `TokenHead`, called with the width of the VL tokens. The rest is `Policy`'s."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, head: Callable[..., TokenHead], **policy: Any) -> None:
        super().__init__(**policy)
        self.head = head(width=self.adapter.width)

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "head": self.head}

    def vl_tokens(self, observation: Observation) -> Tokens:
        return super().tokens(observation)

    def tokens(self, observation: Observation) -> Tokens:
        """What the expert looks at: VL tokens, then the head's states over its own tokens."""
        return self.with_plan(self.vl_tokens(observation))

    def with_plan(self, vl: Tokens) -> Tokens:
        """(B, J + T) tokens. Gradients reach the head and the VL tokens through the states, not through the choice."""
        states_BTE = self.head(vl, self.head.generate(vl))[1]
        real = torch.ones(states_BTE.shape[:2], dtype=torch.bool, device=vl.mask.device)
        return Tokens(torch.cat([vl.x, states_BTE.to(vl.x.dtype)], dim=1), torch.cat([vl.mask, real], dim=1))
