"""What all native hosts share: noising, sampling, padding, the border where their time runs the other way.

    host:  t = 1 noise, t = 0 data,  u = eps - a          here:  tau = 1 - t,  v = a - eps = -u

A host says what its image-text model sees (`embed_prefix`) and what its expert answers (`denoise`).

B batch, H action horizon, A action dims, S state dims, V cameras, E width of the expert.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.ops.flow import euler, flip_time, flip_velocity, path, sample_tau
from lara.policy.contract import FlowOutput
from lara.policy.hosts.shared.checkpointing import known
from lara.policy.hosts.shared.images import Place, letterbox
from lara.policy.hosts.shared.prefix import Prefix
from lara.policy.hosts.shared.tokenizer import Tokenizer
from lara.types import ActionChunk, Observation


class NativeHost(nn.Module, ABC):
    """horizon, action_dim, state_dim: H, A and S; observations and actions must have exactly these.

    views:            cameras the checkpoint knows; an observation may have fewer (an absent camera is not computed,
                      which equals masking it out) but not more, in the order of the checkpoint's cameras.
    prompt_length:    token slots of the prompt. Unused ones are masked and change nothing.
    draws:            noise draws per sample in one `flow`; they share one pass of the image-text model.
    noise_in_padding: whether action dims that a robot does not have carry noise. Public checkpoints learned with it;
                      a policy trained here from the start does without, like lara's own.
    checkpointing:    "none" or "non_reentrant": recompute blocks in the backward pass.

    Of the class: lora_regex, see tuning; exports: package -> its name for this policy, see lara.export.policy.
    """

    blocks: int
    width: int
    lora_regex: dict[str, str]
    exports: dict[str, str]

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        horizon: int,
        action_dim: int,
        state_dim: int,
        views: int,
        prompt_length: int,
        draws: int,
        noise_in_padding: bool,
        checkpointing: str,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ConfigError(f"policy.draws must be at least 1, got {draws}")
        self.tokenizer = tokenizer
        self.horizon, self.action_dim, self.state_dim = horizon, action_dim, state_dim
        self.views, self.prompt_length, self.draws = views, prompt_length, draws
        self.noise_in_padding = noise_in_padding
        self.checkpointing = known(checkpointing)

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """ "backbone" and several "expert.*", which together cover every parameter once."""

    @abstractmethod
    def prompts(self, observation: Observation) -> list[str]:
        """What the language model reads, one text per sample."""

    @abstractmethod
    def embed_prefix(self, observation: Observation) -> Prefix:
        """What the image-text model makes of images, text and, in some hosts, the state."""

    @abstractmethod
    def denoise(
        self,
        prefix: Prefix,
        x_BHA: Float[Tensor, "B H A"],
        state_BS: Float[Tensor, "B S"],
        time_B: Float[Tensor, " B"],
        steps_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        """The expert in the HOST's direction of time: u = eps - a at time t (1 = noise), and the named states.

        steps_BH: False steps are padding, which no other token can see.
        """

    def flow(
        self, observation: Observation, actions_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
    ) -> FlowOutput:
        """One training pass; see policy.host.FlowOutput. The law of tau is pi0's: 1 - tau ~ 0.999 Beta(1.5, 1) + 0.001.

        Raises ConfigError for other numbers of steps, action dims or state dims than the host's.
        """
        self._require(observation, actions_BHA)
        prefix = self.embed_prefix(observation).repeat(self.draws)
        actions, mask, state = (
            x.repeat(self.draws, 1, 1) for x in (actions_BHA, mask_BHA, observation.state_BS[:, None])
        )
        steps = mask.any(dim=2)
        noise = torch.randn_like(actions) * (steps[..., None] if self.noise_in_padding else mask)
        tau = sample_tau(len(actions), device=actions.device)
        sample = path(actions * mask, noise, tau)
        velocity, states = self.denoise(prefix, sample.x, state[:, 0], flip_time(tau), steps)
        return FlowOutput(flip_velocity(velocity), sample.velocity, states, tau)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        """Integrates from noise in `steps` Euler steps; the image-text model runs once. Padded dims come out as 0."""
        self._require(observation, None)
        shape = (len(observation), self.horizon, self.action_dim)
        device, dims = observation.state_BS.device, observation.action_dims_BA[:, None]
        # drawn on the CPU so that a seed means the same noise on every device
        noise = torch.randn(shape, generator=generator).to(device)
        return ActionChunk(actions_BHA=self.integrate(observation, noise, steps=steps) * dims)

    def integrate(
        self, observation: Observation, noise_BHA: Float[Tensor, "B H A"], *, steps: int
    ) -> Float[Tensor, "B H A"]:
        """The sampler from given noise, with what comes out in padded dims left in."""
        prefix = self.embed_prefix(observation)
        valid = torch.ones(noise_BHA.shape[:2], dtype=torch.bool, device=noise_BHA.device)
        keep = (
            torch.ones_like(noise_BHA[:, :1]).bool() if self.noise_in_padding else observation.action_dims_BA[:, None]
        )

        def velocity(x_BHA: Tensor, tau_B: Tensor) -> Tensor:
            out, _ = self.denoise(prefix, x_BHA, observation.state_BS, flip_time(tau_B), valid)
            return flip_velocity(out) * keep

        return euler(velocity, noise_BHA * keep, steps=steps)

    def pixels(self, observation: Observation, size: int, *, place: Place = "centre") -> list[Tensor]:
        """V tensors (B, 3, size, size) in [-1, 1], one per camera. Raises ConfigError for too many cameras, or none."""
        views = observation.images_BVCHW.shape[1]
        if not 1 <= views <= self.views:
            raise ConfigError(f"{type(self).__name__} reads 1 to {self.views} cameras, got {views}; set data.cameras")
        return [letterbox(observation.images_BVCHW[:, v], size, place=place) for v in range(views)]

    # text: there is nothing for a compiler to trace (and torch gives its decorator no types)
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def tokenize(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Token ids and mask (B, prompt_length) of the prompts, on the observation's device."""
        ids, mask = self.tokenizer(self.prompts(observation), self.prompt_length)
        device = observation.state_BS.device
        return ids.to(device), mask.to(device)

    def _require(self, observation: Observation, actions: Tensor | None) -> None:
        came = {"state_dim": observation.state_BS.shape[1], "action_dim": observation.action_dims_BA.shape[1]}
        if actions is not None:
            came |= {"horizon": actions.shape[1]}
        for name, value in came.items():
            if value != getattr(self, name):
                raise ConfigError(
                    f"this {type(self).__name__} has {name}={getattr(self, name)}, the batch has {value}; set "
                    f"{name}={getattr(self, name)} at the top of the configuration, so that data and policy agree"
                )


def name_parts(host: nn.Module, both: nn.Module, *, backbone: nn.Module, blocks: nn.Module) -> dict[str, nn.Module]:
    """Parts of a host whose module `both` holds image-text model and expert and whose other children are projections.

    "backbone", "expert.blocks" and "expert.<child>", so that "policy.expert" in a stage means all but the backbone.
    """
    rest = {f"expert.{name}": module for name, module in host.named_children() if module is not both}
    return {"backbone": backbone, "expert.blocks": blocks, **rest}
