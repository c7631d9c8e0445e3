"""GR00T's action head (N1.5, N1.6, N1.7) on VL tokens: [state | future | action] through the DiT to a velocity.

What differs between the versions is data:

    | | N1.5 | N1.6 | N1.7 |
    | future tokens | 32 | 0 | 0 |                 | VL self-attention | 4 layers | none | 4 layers |
    | cross-attention | all VL tokens | text and image blocks in turn | the same |
    | state history of T | one token each | one token each | side by side in one token |
    | a dropped state becomes | (never dropped) | mask_token | 0 |

Parameter names are the vendor's (`action_head.` in its checkpoints). Facts: NVIDIA Isaac-GR00T (Apache-2.0).

B batch, H padded action horizon, A action dims, S state dims of one time step, E width, C width of the VL tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.policy.hosts.groot.dit import DiT, VLSelfAttention
from lara.policy.hosts.groot.layers import ActionEncoder, CategoryMLP
from lara.policy.hosts.groot.vlm import VLTokens


class GrootHead(nn.Module):
    """context_width: C. heads * head_dim = E. hidden: inside the per-embodiment MLPs, and the DiT's output width.

    horizon, action_dim, state_dim: the padded sizes of the checkpoint. slots: embodiments. positions: rows of the
    position table, added to action tokens only. vl_heads: of the VL self-attention (vl_layers = 0: none).
    state_tokens: "each" (one token per state of the history) or "joined" (all in one).
    state_dropout: probability that a training sample's state token is dropped. See dit.DiT for `alternate` and
    `checkpointing`, and `velocity` for `strict_padding`.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        context_width: int,
        heads: int,
        head_dim: int,
        blocks: int,
        hidden: int,
        horizon: int,
        action_dim: int,
        state_dim: int,
        slots: int = 32,
        positions: int = 1024,
        future_tokens: int = 0,
        vl_layers: int = 0,
        vl_heads: int = 32,
        alternate: int | None = None,
        state_history: int = 1,
        state_tokens: str = "each",
        state_dropout: float = 0.0,
        mask_token: bool = False,
        dropout: float = 0.2,
        strict_padding: bool = False,
        checkpointing: str = "none",
    ) -> None:
        super().__init__()
        if state_tokens not in ("each", "joined"):
            raise ConfigError(f"state_tokens is each (one per time step) or joined (one for all), got {state_tokens!r}")
        if not 0.0 <= state_dropout < 1.0:
            raise ConfigError(f"state_dropout is a probability in [0, 1), got {state_dropout}")
        if horizon > positions:
            raise ConfigError(f"{horizon} action steps need as many positions, got {positions}")
        self.horizon, self.action_dim, self.state_dim, self.slots = horizon, action_dim, state_dim, slots
        self.state_history, self.state_dropout, self.strict_padding = state_history, state_dropout, strict_padding
        self.state_count = state_history if state_tokens == "each" else 1
        self.model = DiT(
            heads=heads,
            head_dim=head_dim,
            blocks=blocks,
            context_width=context_width,
            outputs=hidden,
            alternate=alternate,
            dropout=dropout,
            checkpointing=checkpointing,
        )
        width = self.model.width
        self.state_encoder = CategoryMLP(slots, state_history // self.state_count * state_dim, hidden, width)
        self.action_encoder = ActionEncoder(slots, action_dim, width)
        self.action_decoder = CategoryMLP(slots, hidden, hidden, action_dim)
        self.vlln = nn.LayerNorm(context_width)
        self.vl_self_attention = (
            VLSelfAttention(width=context_width, heads=vl_heads, layers=vl_layers, dropout=dropout)
            if vl_layers
            else None
        )
        self.future_tokens = _table(future_tokens, width) if future_tokens else None
        self.position_embedding = _table(positions, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if mask_token else None

    @property
    def width(self) -> int:
        return self.model.width

    @property
    def blocks(self) -> int:
        return len(self.model.transformer_blocks)

    def context(self, tokens: VLTokens) -> VLTokens:
        """Norm and self-attention over the VL tokens; once per observation, whatever the number of draws."""
        x = self.vlln(tokens.x)
        if self.vl_self_attention is not None:
            x = self.vl_self_attention(x, tokens.mask if self.strict_padding else None)
        return tokens._replace(x=x)

    def encode_state(
        self, state_BS: Float[Tensor, "B TS"], embodiment_B: Int[Tensor, " B"]
    ) -> Float[Tensor, "B tokens E"]:
        """state_BS: `state_history` states of S dims side by side, oldest first."""
        state: Tensor = self.state_encoder(state_BS.unflatten(1, (self.state_count, -1)), embodiment_B)
        if self.training and self.state_dropout:
            drop = torch.rand(len(state), device=state.device)[:, None, None] < self.state_dropout
            state = torch.where(drop, torch.zeros_like(state) if self.mask_token is None else self.mask_token, state)
        return state

    def velocity(
        self,
        x_BHA: Float[Tensor, "B H A"],
        bucket_B: Int[Tensor, " B"],
        state_BTE: Float[Tensor, "B S E"],
        context: VLTokens,
        embodiment_B: Int[Tensor, " B"],
        step_mask_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        """Velocity at every padded action step, and the named states of the ACTION tokens, each (B, H, E).

        step_mask_BH: False steps are padding. They, and VL padding, are hidden from attention when `strict_padding`;
        otherwise every token sees them, as in the vendor's training.
        """
        action = self.action_encoder(x_BHA, bucket_B, embodiment_B)
        action = action + self.position_embedding.weight[: action.shape[1]]
        pieces = [state_BTE, action]
        if self.future_tokens is not None:
            pieces.insert(1, self.future_tokens.weight.expand(len(action), -1, -1))
        x = torch.cat([p.to(action.dtype) for p in pieces], dim=1)
        before = x.shape[1] - action.shape[1]
        own_mask = None
        if self.strict_padding:
            own_mask = torch.cat([step_mask_BH.new_ones(len(x), before), step_mask_BH], dim=1)
        out, states = self.model(x, bucket_B, context, own_mask_BT=own_mask, mask_context=self.strict_padding)
        velocity = self.action_decoder(out[:, before:], embodiment_B)
        return velocity, {name: state[:, before:] for name, state in states.items()}


def _table(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, std=0.02)
    return table
