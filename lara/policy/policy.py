"""Policy = vision-language backbone + adapter + flow expert, which may generate latent actions beside the robot's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbone import Tokens
from lara.policy.contract import FlowOutput
from lara.policy.expert import FlowExpert
from lara.policy.generation import USES, Conditioning, Generation, Joint, StreamFlow, Use
from lara.policy.process import FlowMatching, Process
from lara.types import ActionChunk, Observation


class Policy(nn.Module):
    """backbone: a `Backbone`. adapter, expert: factories that receive the width of what they look at.

    generation: how latents and actions travel, `Joint` (default) or `TwoStage`. process: `FlowMatching` (default) or
    `Diffusion`. draws: noise draws per observation and step. The VL tokens are computed once and shared, so a second
    draw costs only the (small) expert and halves the variance of the flow loss over tau.
    """

    buildable: ClassVar[str] = "model"

    # not SigLIP's pooling head, whose output an image-text model never reads
    lora_regex: ClassVar[dict[str, str]] = {
        "vlm": r"backbone\.(?!.*\.head\.).*\.([qkvo]_proj|out_proj|gate_proj|up_proj|down_proj|fc[12])",
        "expert": r"(adapter|expert\.trunk)\.blocks\.\d+\.(attention\.(query|key_value|out)|mlp\.(up|down))",
    }

    def __init__(
        self,
        *,
        backbone: Any,
        adapter: Callable[..., SelfAttentionAdapter],
        expert: Callable[..., FlowExpert],
        generation: Generation | None = None,
        process: Process | None = None,
        draws: int = 1,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ConfigError(f"policy.draws must be at least 1, got {draws}")
        self.backbone = backbone
        self.adapter = adapter(context_width=backbone.width)
        self.expert = expert(context_width=self.adapter.width)
        self.generation: Generation = Joint() if generation is None else generation
        self.process: Process = FlowMatching() if process is None else process
        self.draws = draws
        self.use: Use = "use"

    @property
    def width(self) -> int:
        return self.expert.width

    @property
    def blocks(self) -> int:
        return len(self.expert.blocks)

    @property
    def latents(self) -> tuple[str, ...]:
        """The names of the latent streams."""
        return self.expert.layout.latents

    @property
    def acts(self) -> bool:
        return "action" in self.expert.layout.names

    def parts(self) -> dict[str, nn.Module]:
        """backbone, adapter, expert (the trunk), and what the layout has of latent and action (MLPs and positions)."""
        return {"backbone": self.backbone, "adapter": self.adapter, **self.expert.parts()}

    def tokens(self, observation: Observation) -> Tokens:
        tokens: Tokens = self.adapter(self.backbone(observation))
        return tokens

    def intervene(self, use: str) -> None:
        """What the actions get of the latents from now on when acting, see `Generation`.

        Raises:
            ConfigError: without latents beside actions, or to shuffle latents that have no time axis.
        """
        known = [u for u in USES if u == use]
        if not known:
            raise ConfigError(f"latents are one of {', '.join(USES)}, got {use!r}")
        layout = self.expert.layout
        if use != "use" and not (self.latents and self.acts):
            raise ConfigError(f"this policy generates no latents to {use}; leave client.latents at 'use'")
        if use == "shuffle" and not layout.interleaved:
            raise ConfigError(
                "latents=shuffle permutes time steps; this layout's latent is one step without a time axis"
            )
        self.use = known[0]

    def flow(
        self,
        observation: Observation,
        actions_BHA: Float[Tensor, "B H A"],
        mask_BHA: Bool[Tensor, "B H A"],
        tokens: Tokens | None = None,
    ) -> FlowOutput:
        """One training pass: noise the actions at random tau and predict the velocity, `draws` times per sample.

        Padded dims and steps carry no noise, in training as in `act`.

        Args:
            tokens: what the expert looks at, for a caller that has computed it already.

        Raises:
            ConfigError: for a layout with latents, which nobody has given.
        """
        if self.latents:
            raise ConfigError(
                f"this policy generates {', '.join(self.latents)} too and cannot be trained on actions alone; use a "
                "coupling that gives it latents (system=step_latents, chunk_latent)"
            )
        return self.stream_flow(observation, actions_BHA, mask_BHA, {}, {}, tokens).of_actions()

    def stream_flow(
        self,
        observation: Observation,
        actions_BHA: Float[Tensor, "B H A"],
        mask_BHA: Bool[Tensor, "B H A"],
        latents: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
        tokens: Tokens | None = None,
    ) -> StreamFlow:
        """`flow` over actions and latents; a layout without actions does not look at actions.

        Args:
            latents: stream -> (B, tokens, D) as the LAM gives them. real: stream -> (B, tokens).
        """
        if set(latents) != set(self.latents):
            raise ConfigError(f"this policy generates the latents {list(self.latents)}, got {sorted(latents)}")
        data: dict[str, Tensor] = {}
        on: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        if self.acts:
            data["action"], on["action"], masks["action"] = actions_BHA, mask_BHA.any(dim=2), mask_BHA
        for name in self.latents:
            data[name], on[name] = self.expert.stream(name).data(latents[name], real[name]), real[name]
            masks[name] = real[name][..., None]
        context = Tokens(*(self._drawn(x) for x in (self.tokens(observation) if tokens is None else tokens)))
        data, on, masks = ({k: self._drawn(x) for k, x in group.items()} for group in (data, on, masks))
        noise = {name: torch.randn_like(value) * masks[name] for name, value in data.items()}
        state, embodiment = self._drawn(observation.state_BS), self._drawn(observation.embodiment_B)
        conditioning = Conditioning(context, state, embodiment, on)
        return self.generation.train(self.expert, self.process, data, noise, conditioning)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        """Latents and actions from noise in `steps` steps; only the actions are returned. ConfigError without any."""
        if not self.acts:
            raise ConfigError(
                "this policy generates latents only (latent pretraining); fine-tune it with actions first"
            )
        if steps < 1:
            raise ConfigError(f"acting needs at least one step, got {steps}")
        n, device, layout = len(observation), observation.state_BS.device, self.expert.layout
        dims = observation.action_dims_BA[:, None]
        # drawn on the CPU so that a seed means the same noise on every device; actions first
        shape = (n, self.expert.horizon, self.expert.action_dim)
        noise = {"action": torch.randn(shape, generator=generator).to(device) * dims}
        for name in self.latents:
            shape = (n, layout.length(name), self.expert.stream(name).dim)
            noise[name] = torch.randn(shape, generator=generator).to(device)
        shuffled = None
        if self.use == "shuffle":
            shuffled = torch.randperm(self.expert.horizon, generator=generator).to(device)
        real = {name: torch.ones(x.shape[:2], dtype=torch.bool, device=device) for name, x in noise.items()}
        conditioning = Conditioning(
            self.tokens(observation), observation.state_BS, observation.embodiment_B, real, dims
        )
        done = self.generation.solve(
            self.expert, self.process, noise, conditioning, steps=steps, use=self.use, shuffled=shuffled
        )
        return ActionChunk(actions_BHA=done["action"])

    def _drawn(self, x: Tensor) -> Tensor:
        return x if self.draws == 1 else x.repeat(self.draws, *([1] * (x.ndim - 1)))
