"""The flow-matching action expert: a DiT over [state | action_1 .. action_H] that looks at vision-language tokens.

This is the layout `policy.layout.StateAction` of the one DiT that all layouts share (`policy.trunk`, which also says
what the named states are). Alignment taps a name, never an index from the end of a list.

B batch, H action horizon, A action dims (A_max), S state dims (S_max), E width, L blocks, J VL tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.mlp import EmbodimentMLP
from lara.nn.vit import learned_positions
from lara.policy.backbone import Tokens
from lara.policy.trunk import Trunk

STATE_TOKENS = 1


def tapped_state(depth: int, blocks: int) -> str:
    """The name of the state a depth means: -2 is after block L-2 of L, 0 after the last (post-norm), k after k.

    Raises ConfigError for a depth that names no block.
    """
    if depth == 0:
        return "norm_out"
    block = blocks + depth if depth < 0 else depth
    if not 1 <= block <= blocks:
        raise ConfigError(
            f"depth {depth} names no block of an expert with {blocks} blocks; allowed are {1 - blocks}..-1 (from the "
            f"end), 0 (after the last, post-norm) and 1..{blocks}"
        )
    return f"block_{block}"


class FlowExpert(Trunk):
    """slots: robots with their own state and action MLPs. horizon: H. The velocity head starts at zero."""

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        blocks: int,
        context_width: int,
        horizon: int,
        action_dim: int = 32,
        state_dim: int = 64,
        slots: int = 64,
        mlp_ratio: float = 4.0,
    ) -> None:
        nn.Module.__init__(self)  # the trunk grows below, in the middle: a seed means this order of draws
        self.horizon, self.action_dim, self.state_dim = horizon, action_dim, state_dim
        self.slots = slots
        self.encode_state = EmbodimentMLP(slots, state_dim, width, width)
        self.encode_action = EmbodimentMLP(slots, action_dim, width, width)
        self.positions = learned_positions(STATE_TOKENS + horizon, width)
        self.grow(width=width, heads=heads, blocks=blocks, context_width=context_width, mlp_ratio=mlp_ratio)
        self.decode_action = EmbodimentMLP(slots, width, width, action_dim)
        nn.init.zeros_(self.decode_action.down.weight)

    def forward(
        self,
        x_BHA: Float[Tensor, "B H A"],
        state_BS: Float[Tensor, "B S"],
        tau_B: Float[Tensor, "B"],
        context: Tokens,
        embodiment_B: Int[Tensor, "B"],
        step_mask_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        """Velocity at every action step, and the named states of the ACTION tokens, each (B, H, E).

        step_mask_BH: False steps are padding: their values cannot reach any other token.
        """
        state = self.encode_state(state_BS[:, None], embodiment_B)
        actions = self.encode_action(x_BHA, embodiment_B)
        x = torch.cat([state, actions], dim=1) + self.positions
        own_mask = torch.cat([torch.ones_like(step_mask_BH[:, :STATE_TOKENS]), step_mask_BH], dim=1)
        states = {name: h[:, STATE_TOKENS:] for name, h in self.run(x, tau_B, context, own_mask).items()}
        return self.decode_action(states["norm_out"], embodiment_B), states
