"""A policy whose expert generates latent actions beside the robot's: backbone + adapter + unified expert + coupling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbone import Tokens
from lara.policy.contract import FlowOutput
from lara.policy.coupling import USES, Coupling, Given, Joint, Use
from lara.policy.policy import Policy
from lara.policy.process import FlowMatching, Process
from lara.policy.unified import UnifiedExpert
from lara.types import ActionChunk, Observation


class CoFlow(NamedTuple):
    """What `draws` noise draws of B samples gave; draw r of sample b is row r * B + b.

    answers, targets: stream -> (B * draws, tokens, width), the streams being the layout's latents and "action". states,
    tau_B: as in `FlowOutput`, of the action tokens ({} where the layout has none).
    """

    answers: dict[str, Tensor]
    targets: dict[str, Tensor]
    states: dict[str, Tensor]
    tau_B: Tensor

    def of_actions(self) -> FlowOutput:
        """The part that an alignment reads."""
        return FlowOutput(self.answers["action"], self.targets["action"], self.states, self.tau_B)


class UnifiedPolicy(Policy):
    """backbone, adapter, draws: as in `Policy`. expert: factory of a `UnifiedExpert`.

    coupling: `Joint` (default) or `TwoStage`. process: `FlowMatching` (default) or `Diffusion`. With the layout
    `StateAction` and the defaults this is `Policy`, number for number.
    """

    buildable: ClassVar[str] = "model"

    expert: UnifiedExpert  # type: ignore[assignment]

    def __init__(
        self,
        *,
        backbone: Any,
        adapter: Callable[..., SelfAttentionAdapter],
        expert: Callable[..., UnifiedExpert],
        coupling: Coupling | None = None,
        process: Process | None = None,
        draws: int = 1,
    ) -> None:
        super().__init__(backbone=backbone, adapter=adapter, expert=expert, draws=draws)  # type: ignore[arg-type]
        self.coupling: Coupling = Joint() if coupling is None else coupling
        self.process: Process = FlowMatching() if process is None else process
        self.use: Use = "use"

    @property
    def latents(self) -> tuple[str, ...]:
        """The names of the latent streams."""
        return self.expert.layout.latents

    @property
    def acts(self) -> bool:
        return "action" in self.expert.layout.names

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "adapter": self.adapter, **self.expert.parts()}

    def intervene(self, use: str) -> None:
        """What the actions get of the latents from now on when acting, see `Coupling`. ConfigError where it cannot be:
        no latents, or nothing to shuffle because the latents have no time axis."""
        known = [u for u in USES if u == use]
        if not known:
            raise ConfigError(f"latents are one of {', '.join(USES)}, got {use!r}")
        layout = self.expert.layout
        if use != "use" and not (self.latents and self.acts):
            raise ConfigError(f"latents={use} needs latents beside actions; this policy generates {layout.names}")
        if use == "shuffle" and not layout.interleaved:
            raise ConfigError(
                "latents=shuffle permutes time steps; this layout's latent is one step without a time axis"
            )
        self.use = known[0]

    def flow(
        self, observation: Observation, actions_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
    ) -> FlowOutput:
        """As `Policy.flow`; only for a layout without latents (ConfigError otherwise: what are they?)."""
        if self.latents:
            raise ConfigError(
                f"this policy generates {', '.join(self.latents)} too and cannot be trained on actions alone; "
                "use a system that gives it latents (lara.systems.rotvla_policy, alam_policy)"
            )
        return self.co_flow(observation, actions_BHA, mask_BHA, {}, {}).of_actions()

    def co_flow(
        self,
        observation: Observation,
        actions_BHA: Float[Tensor, "B H A"],
        mask_BHA: Bool[Tensor, "B H A"],
        latents: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
    ) -> CoFlow:
        """One training pass over actions and latents, `draws` times per sample.

        latents: stream -> (B, tokens, D) as the LAM gives them; real: stream -> (B, tokens). The rest as `Policy.flow`;
        a layout without actions does not look at actions.
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
        context = Tokens(*(self._drawn(x) for x in self.tokens(observation)))
        data, on, masks = ({k: self._drawn(x) for k, x in group.items()} for group in (data, on, masks))
        noise = {name: torch.randn_like(value) * masks[name] for name, value in data.items()}
        state, embodiment = self._drawn(observation.state_BS), self._drawn(observation.embodiment_B)
        given = Given(context, state, embodiment, on)
        return CoFlow(*self.coupling.train(self.expert, self.process, data, noise, given))

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
        # drawn on the CPU so that a seed means the same noise on every device; actions first, as `Policy` draws them
        shape = (n, self.expert.horizon, self.expert.action_dim)
        noise = {"action": torch.randn(shape, generator=generator).to(device) * dims}
        for name in self.latents:
            shape = (n, layout.length(name), self.expert.stream(name).dim)
            noise[name] = torch.randn(shape, generator=generator).to(device)
        shuffled = None
        if self.use == "shuffle":
            shuffled = torch.randperm(self.expert.horizon, generator=generator).to(device)
        real = {name: torch.ones(x.shape[:2], dtype=torch.bool, device=device) for name, x in noise.items()}
        given = Given(self.tokens(observation), observation.state_BS, observation.embodiment_B, real, dims)
        done = self.coupling.solve(
            self.expert, self.process, noise, given, steps=steps, use=self.use, shuffled=shuffled
        )
        return ActionChunk(actions_BHA=done["action"])

    def _drawn(self, x: Tensor) -> Tensor:
        return x if self.draws == 1 else x.repeat(self.draws, *([1] * (x.ndim - 1)))
