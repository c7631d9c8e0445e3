"""Policy = vision-language backbone + adapter + flow expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.ops.flow import euler, path, sample_tau
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbone import Tokens
from lara.policy.contract import FlowOutput
from lara.policy.expert import FlowExpert
from lara.types import ActionChunk, Observation


class Policy(nn.Module):
    """backbone: a `Backbone`. adapter, expert: factories that receive the width of what they look at.

    draws: noise draws per observation and step. The VL tokens are computed once and shared, so a second draw costs
        only the (small) expert and halves the variance of the flow loss over tau.
    tau_alpha, tau_beta, tau_scale: the law of the flow time, see ops.flow.sample_tau.
    """

    buildable: ClassVar[str] = "model"

    # not SigLIP's pooling head, whose output an image-text model never reads
    lora_regex: ClassVar[dict[str, str]] = {
        "vlm": r"backbone\.(?!.*\.head\.).*\.([qkvo]_proj|out_proj|gate_proj|up_proj|down_proj|fc[12])",
        "expert": r"(adapter|expert)\.blocks\.\d+\.(attention\.(query|key_value|out)|mlp\.(up|down))",
    }

    def __init__(
        self,
        *,
        backbone: Any,
        adapter: Callable[..., SelfAttentionAdapter],
        expert: Callable[..., FlowExpert],
        draws: int = 1,
        tau_alpha: float = 1.5,
        tau_beta: float = 1.0,
        tau_scale: float = 0.999,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ConfigError(f"policy.draws must be at least 1, got {draws}")
        self.backbone = backbone
        self.adapter = adapter(context_width=backbone.width)
        self.expert = expert(context_width=self.adapter.width)
        self.draws = draws
        self.tau_law = {"alpha": tau_alpha, "beta": tau_beta, "scale": tau_scale}

    @property
    def width(self) -> int:
        return self.expert.width

    @property
    def blocks(self) -> int:
        return len(self.expert.blocks)

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "adapter": self.adapter, "expert": self.expert}

    def tokens(self, observation: Observation) -> Tokens:
        return self.adapter(self.backbone(observation))

    def flow(
        self,
        observation: Observation,
        actions_BHA: Float[Tensor, "B H A"],
        mask_BHA: Bool[Tensor, "B H A"],
    ) -> FlowOutput:
        """One training pass: noise the actions at random tau and predict the velocity, `draws` times per sample.

        Outputs have B * draws rows; draw r of sample b is row r * B + b. Padded dims and steps carry no noise, in
        training as in `act`.
        """
        return self.flow_from(self.tokens(observation), observation, actions_BHA, mask_BHA)

    def flow_from(
        self,
        tokens: Tokens,
        observation: Observation,
        actions_BHA: Float[Tensor, "B H A"],
        mask_BHA: Bool[Tensor, "B H A"],
    ) -> FlowOutput:
        """`flow` with the tokens already there, for systems that read them too."""
        if self.draws > 1:
            tokens = Tokens(*(x.repeat(self.draws, *([1] * (x.ndim - 1))) for x in tokens))
        actions, mask, state = (
            x.repeat(self.draws, *([1] * (x.ndim - 1))) for x in (actions_BHA, mask_BHA, observation.state_BS)
        )
        embodiment = observation.embodiment_B.repeat(self.draws)
        noise = torch.randn_like(actions) * mask
        tau = sample_tau(len(actions), device=actions.device, **self.tau_law)
        sample = path(actions, noise, tau)
        velocity, states = self.expert(sample.x, state, tau, tokens, embodiment, mask.any(dim=2))
        return FlowOutput(velocity, sample.velocity, states, tau)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        """Integrates the velocity field from noise in `steps` Euler steps (003, Eq. 2)."""
        tokens = self.tokens(observation)
        shape = (len(observation), self.expert.horizon, self.expert.action_dim)
        device = observation.state_BS.device
        # drawn on the CPU so that a seed means the same noise on every device
        noise = torch.randn(shape, generator=generator).to(device) * observation.action_dims_BA[:, None]
        steps_valid = torch.ones(shape[:2], dtype=torch.bool, device=device)

        def velocity(x_BHA: Tensor, tau_B: Tensor) -> Tensor:
            out, _ = self.expert(x_BHA, observation.state_BS, tau_B, tokens, observation.embodiment_B, steps_valid)
            return out * observation.action_dims_BA[:, None]

        return ActionChunk(actions_BHA=euler(velocity, noise, steps=steps))
