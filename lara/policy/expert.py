"""The action expert: one flow-matching DiT for every token layout, with a stream per kind of token.

    [ state | latents | actions ] in the layout's order -> trunk under the layout's mask -> a velocity per stream

LARA's layout is [ state | action_1 .. action_H ] (`policy.tokens.StateAction`). What is aligned is a state by its name,
never an index from the end of a list.

B batch, H action horizon, A action dims (A_max), S state dims (S_max), E width, L blocks; noisy streams are
(B, tokens, width of it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.policy.backbone import Tokens
from lara.policy.streams import LatentStream, RobotStream
from lara.policy.tokens import TokenLayout
from lara.policy.trunk import Trunk


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


class FlowExpert(nn.Module):
    """layout: which tokens there are and who sees whom; its segment "action", if any, has H tokens.

    slots: robots with their own state and action MLPs. latent_dim: D of one latent token (unused by a layout without
    latents). project_latents: noise them at the width of an action, as ALAM does. Every velocity head starts at zero.
    """

    buildable: ClassVar[str] = "model"

    attention: Tensor
    looks: Tensor
    order: Tensor

    def __init__(
        self,
        *,
        layout: TokenLayout,
        width: int,
        heads: int,
        blocks: int,
        context_width: int,
        latent_dim: int | None = None,
        project_latents: bool = False,
        action_dim: int = 32,
        state_dim: int = 64,
        slots: int = 64,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        acts = "action" in layout.names
        if "state" in layout.names and not acts:
            raise ConfigError(f"a state token belongs to a robot's actions; the layout {layout.names} has none")
        if layout.latents and latent_dim is None:
            raise ConfigError(f"the layout has the latents {layout.latents}; give latent_dim, the numbers of one token")
        self.layout, self.width = layout, width
        self.action_dim, self.state_dim, self.slots = action_dim, state_dim, slots
        self.horizon = layout.length("action") if acts else 0
        # the order in which weights are drawn is kept: a seed means the same policy as in every result so far
        self.robot: RobotStream | None = None
        if acts:
            self.robot = RobotStream(
                width=width, horizon=self.horizon, action_dim=action_dim, state_dim=state_dim, slots=slots
            )
        self.trunk = Trunk(width=width, heads=heads, blocks=blocks, context_width=context_width, mlp_ratio=mlp_ratio)
        if self.robot is not None:
            self.robot.add_head()
        self.latent = nn.ModuleDict(
            {
                name: LatentStream(
                    tokens=layout.length(name),
                    dim=latent_dim or 0,
                    width=width,
                    project_to=action_dim if project_latents else None,
                )
                for name in layout.latents
            }
        )
        self.register_buffer("attention", layout.attention(), persistent=False)
        self.register_buffer("looks", layout.context_mask(), persistent=False)
        self.register_buffer("order", layout.order(), persistent=False)
        self._everybody = _sees_everything(layout)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.trunk.blocks

    def parts(self) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {"expert": self.trunk}
        if len(self.latent):
            parts["latent"] = self.latent
        return parts if self.robot is None else {**parts, "action": self.robot}

    def forward(
        self,
        noisy: Mapping[str, Tensor],
        tau: Mapping[str, Float[Tensor, " B"]],
        real: Mapping[str, Tensor],
        context: Tokens,
        state_BS: Float[Tensor, "B S"],
        embodiment_B: Int[Tensor, " B"],
        layout: TokenLayout | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Stream -> velocity, (B, tokens, width of the stream); and the named states of the ACTION tokens, each
        (B, H, E), {} where the layout has none.

        noisy, real: stream -> (B, tokens, width), (B, tokens); what is not real is seen by nobody else. tau: stream ->
        flow time; the state has that of the actions, or of the latents where those are absent. layout: instead of the
        expert's own, some of its segments or some of its arrows.
        """
        own = layout is None or layout == self.layout
        layout = self.layout if layout is None else layout
        device = state_BS.device
        order = self.order if own else layout.order().to(device)
        sequence, keys = self._embed(layout, noisy, real, state_BS, embodiment_B)
        sequence, keys = sequence[:, order], keys[:, order]
        attention = self.attention if own else layout.attention().to(device)
        looks = self.looks if own else layout.context_mask().to(device)
        everybody, all_look = self._everybody if own else _sees_everything(layout)
        states = self.trunk.run(
            sequence,
            self._times(layout, tau, order),
            context,
            keys if everybody else _with_layout(attention, keys),
            None if all_look else looks,
        )
        where = {name: layout.places(name).to(device) for name in layout.names if name != "state"}
        last = states["norm_out"]
        velocity = {name: self._decode(name, last[:, places], embodiment_B) for name, places in where.items()}
        if "action" not in where:
            return velocity, {}
        return velocity, {name: h[:, where["action"]] for name, h in states.items()}

    def _embed(
        self,
        layout: TokenLayout,
        noisy: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
        state_BS: Tensor,
        embodiment_B: Tensor,
    ) -> tuple[Tensor, Tensor]:
        tokens, keys = [], []
        for name in layout.names:
            if name == "state":
                assert self.robot is not None
                tokens.append(self.robot.state(state_BS, embodiment_B))
                keys.append(torch.ones(len(state_BS), 1, dtype=torch.bool, device=state_BS.device))
                continue
            if name == "action":
                assert self.robot is not None
                tokens.append(self.robot.actions(noisy[name], embodiment_B))
            else:
                tokens.append(self.stream(name).embed(noisy[name]))
            keys.append(real[name])
        return torch.cat(tokens, dim=1), torch.cat(keys, dim=1)

    def _decode(self, name: str, h_BTE: Tensor, embodiment_B: Tensor) -> Tensor:
        if name == "action":
            assert self.robot is not None
            return self.robot.decode(h_BTE, embodiment_B)
        return self.stream(name).decode(h_BTE)

    def stream(self, name: str) -> LatentStream:
        stream = self.latent[name]
        assert isinstance(stream, LatentStream)
        return stream

    def _times(self, layout: TokenLayout, tau: Mapping[str, Tensor], order: Tensor) -> Tensor:
        """(B,) where all streams share one flow time, (B, T) where they do not."""
        times = [
            tau[name if name in tau else "action" if "action" in tau else layout.latents[0]] for name in layout.names
        ]
        if all(t is times[0] for t in times):
            return times[0]
        spread = [t[:, None].expand(-1, n) for t, (_, n) in zip(times, layout.segments, strict=True)]
        return torch.cat(spread, dim=1)[:, order]


def _sees_everything(layout: TokenLayout) -> tuple[bool, bool]:
    """Whether all tokens see all tokens, and whether all of them see the context."""
    pairs = {(viewer, seen) for viewer, seen, reach in layout.arrows if reach == "all"}
    return len(pairs) == len(layout.names) ** 2, set(layout.context) == set(layout.names)


def _with_layout(attention_TT: Tensor, keys_BT: Tensor) -> Tensor:
    """(B, T, T): what the layout allows and is real. A token that is left with nothing sees itself; nobody reads it."""
    mask = attention_TT & keys_BT[:, None]
    alone = torch.eye(len(attention_TT), dtype=torch.bool, device=mask.device)
    return mask | (alone & ~mask.any(dim=2, keepdim=True))
