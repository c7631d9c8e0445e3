"""GR00T (N1.5, N1.6, N1.7) as a policy of lara: its weights, its forward pass, its law of time; a `FlowPolicy`.

    images, text -> backbone -> VL tokens -+-> DiT over [state | future | action] at time bucket 1000 tau -> velocity

Time runs in lara's direction already: tau = 0 noise, 1 data, x = (1 - tau) eps + tau a, v = a - eps. Facts: NVIDIA
Isaac-GR00T (Apache-2.0); parameter names are its checkpoints', so that weights move by name.

Padding. The checkpoint's sizes are `head.horizon`, `head.action_dim`, `head.state_dim`; shorter data is padded with
zeros inside, and what comes out has the data's sizes. In the vendor's training padded steps and dims carry noise, take
part in self-attention, and get no loss; VL padding is looked at by N1.5's cross-attention and by the VL self-attention.
That is kept by default, since the weights were trained so: it makes an output depend (weakly) on padding. With
`head.strict_padding` nothing padded carries noise or is looked at, which is lara's rule for policies trained here.
The alignment picks the last VALID step in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.weightless import weights_wanted
from lara.ops.flow import euler, path, sample_tau
from lara.policy.contract import FlowOutput
from lara.policy.hosts.groot.embodiments import require_known, require_the_checkpoint_s
from lara.policy.hosts.groot.expert import GrootHead
from lara.policy.hosts.groot.names import UNREAD
from lara.policy.hosts.groot.vlm import VLTokens
from lara.types import ActionChunk, Observation

BUCKETS = 1000  # of flow time


class Groot(nn.Module):
    """backbone: a `GrootBackbone`. head: factory of a `GrootHead`, called with context_width=.

    horizon: steps of the chunk that `act` returns, at most head.horizon. draws: noise draws per observation and step.
    tau_law: "ratio" (N1.5) is (s - u) / s, "scaled" (N1.6, N1.7) is s (1 - u), u ~ Beta(1.5, 1), s = 0.999.
    embodiment: the vendor's tag of the robot that is trained, whose row data.slot must be. embodiments: tag -> row.
    weights: None (random), or a folder, file or hub name of a GR00T checkpoint; revision: of a hub name.
    """

    buildable: ClassVar[str] = "model"

    lora_regex: ClassVar[dict[str, str]] = {
        "vlm": r"backbone\..*\.(q_proj|k_proj|v_proj|o_proj|out_proj|gate_proj|up_proj|down_proj|qkv"
        r"|linear_fc1|linear_fc2|fc1|fc2)",
        "expert": r"action_head\.(model|vl_self_attention)\.transformer_blocks\.\d+\.(attn1\.(to_q|to_k|to_v|to_out\.0)"
        r"|ff\.net\.(0\.proj|2))",
    }

    def __init__(
        self,
        *,
        backbone: Any,
        head: Callable[..., GrootHead],
        horizon: int,
        embodiment: str,
        embodiments: Mapping[str, int],
        draws: int = 1,
        tau_law: str = "scaled",
        tau_alpha: float = 1.5,
        tau_beta: float = 1.0,
        tau_scale: float = 0.999,
        weights: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ConfigError(f"policy.draws must be at least 1, got {draws}")
        if tau_law not in ("ratio", "scaled"):
            raise ConfigError(f"policy.tau_law is ratio (N1.5) or scaled (N1.6, N1.7), got {tau_law!r}")
        self.backbone = backbone
        self.action_head = head(context_width=backbone.width)
        if not 1 <= horizon <= self.action_head.horizon:
            raise ConfigError(
                f"this GR00T head has {self.action_head.horizon} action steps, horizon={horizon} does not fit into it"
            )
        require_known(embodiments, embodiment, slots=self.action_head.slots)
        self.embodiment, self.embodiments = embodiment, dict(embodiments)
        self.horizon, self.draws, self.tau_law = horizon, draws, tau_law
        self.tau_alpha, self.tau_beta, self.tau_scale = tau_alpha, tau_beta, tau_scale
        if weights is not None and weights_wanted():
            self.load_vendor(weights, revision=revision)

    @property
    def exports(self) -> dict[str, str]:
        """Package -> its name for this version, told apart by what only one version's head has."""
        head = self.action_head
        if head.future_tokens is not None:
            return {"groot": "gr00t_n1_5"}
        return {"groot": "gr00t_n1_6" if head.vl_self_attention is None else "gr00t_n1_7"}

    @property
    def width(self) -> int:
        return self.action_head.width

    @property
    def blocks(self) -> int:
        return self.action_head.blocks

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "expert": self.action_head}

    def flow(
        self, observation: Observation, actions_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
    ) -> FlowOutput:
        """One training pass of `draws` noise draws; see policy.host.FlowOutput. Raises ConfigError for data that is
        wider or longer than the head."""
        steps, dims = actions_BHA.shape[1:]
        repeat = (self.draws, 1, 1)
        actions, mask = self._pad(actions_BHA).repeat(repeat), self._pad(mask_BHA).repeat(repeat)
        context = self.action_head.context(self.backbone(observation)).repeat(self.draws)
        state, embodiment = self._state(observation).repeat(self.draws, 1), observation.embodiment_B.repeat(self.draws)
        noise = torch.randn_like(actions)
        if self.action_head.strict_padding:
            noise = noise * mask
        tau = self.sample_tau(len(actions), actions.device)
        sample = path(actions, noise, tau)
        velocity, states = self.velocity(sample.x, tau, state, context, embodiment, mask.any(dim=2))
        return FlowOutput(
            velocity[:, :steps, :dims],
            sample.velocity[:, :steps, :dims],
            {name: s[:, :steps] for name, s in states.items()},
            tau,
        )

    def velocity(
        self,
        x_BHA: Float[Tensor, "B H A"],
        tau_B: Float[Tensor, " B"],
        state_BS: Float[Tensor, "B S"],
        context: VLTokens,
        embodiment_B: Int[Tensor, " B"],
        step_mask_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        """At flow time tau, all in the head's padded sizes. context: already through `action_head.context`."""
        bucket = (tau_B * BUCKETS).long()
        state = self.action_head.encode_state(state_BS, embodiment_B)
        return self.action_head.velocity(x_BHA, bucket, state, context, embodiment_B, step_mask_BH)

    def sample_tau(self, n: int, device: torch.device) -> Float[Tensor, " n"]:
        """Flow times; the law "ratio" can fall just below 0 (to -0.001), where its bucket is the vendor's too."""
        rest = sample_tau(n, device=device, alpha=self.tau_alpha, beta=self.tau_beta, scale=1.0)
        s = self.tau_scale
        return s * rest if self.tau_law == "scaled" else (s - (1.0 - rest)) / s

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        """Integrates from noise in `steps` Euler steps (vendor: 4); zero in dims that the robot does not have."""
        shape = (len(observation), self.action_head.horizon, self.action_head.action_dim)
        # drawn on the CPU so that a seed means the same noise on every device
        noise = torch.randn(shape, generator=generator).to(observation.state_BS.device)
        dims = observation.action_dims_BA
        chunk = self.integrate(observation, noise, steps=steps)[:, : self.horizon, : dims.shape[1]]
        return ActionChunk(actions_BHA=chunk * dims[:, None])

    def integrate(self, observation: Observation, noise_BHA: Tensor, *, steps: int) -> Float[Tensor, "B H A"]:
        """The sampler from given noise, in the head's padded sizes and with what comes out in padding left in."""
        context, state = self.action_head.context(self.backbone(observation)), self._state(observation)
        real = torch.arange(self.action_head.horizon, device=noise_BHA.device) < self.horizon
        step_mask = real.expand(len(noise_BHA), -1)
        keep = torch.ones_like(noise_BHA)
        if self.action_head.strict_padding:
            keep = self._pad(observation.action_dims_BA[:, None].expand(-1, self.horizon, -1)).to(noise_BHA.dtype)

        def velocity(x_BHA: Tensor, tau_B: Tensor) -> Tensor:
            return keep * self.velocity(x_BHA, tau_B, state, context, observation.embodiment_B, step_mask)[0]

        return euler(velocity, noise_BHA * keep, steps=steps)

    def vendor_state_dict(self) -> dict[str, Tensor]:
        """The weights under the vendor's names: `backbone.*` and `action_head.*`, which are this module's own."""
        return dict(self.state_dict())

    def load_vendor(self, source: str | Mapping[str, Tensor], *, revision: str | None = None) -> dict[str, int]:
        """Fills every weight from a checkpoint, by name; see weights.fill. Raises CheckpointError unless all are there.

        A folder's embodiment_id.json must agree with `embodiments`. The vendor's language head is not wanted. A
        checkpoint without `mask_token` needs head.mask_token=false.
        """
        from lara.policy.hosts.shared.hub import local_folder
        from lara.policy.hosts.shared.weights import fill, read_safetensors

        if isinstance(source, str):
            folder = local_folder(source, revision=revision)
            require_the_checkpoint_s(self.embodiments, folder)
            name, tensors = source, read_safetensors(folder)
        else:
            name, tensors = "the given tensors", dict(source)
        return fill(self, tensors, rename=lambda key: key, ignore=UNREAD, source=name)

    def _state(self, observation: Observation) -> Tensor:
        """(B, history * S): each of the states that lie side by side padded to the head's state_dim."""
        head, state = self.action_head, observation.state_BS
        if state.shape[1] % head.state_history:
            raise ConfigError(f"{head.state_history} states side by side cannot have {state.shape[1]} numbers in all")
        single = state.unflatten(1, (head.state_history, -1))
        if single.shape[2] > head.state_dim:
            raise ConfigError(
                f"this GR00T head has {head.state_dim} state dims, the data {single.shape[2]}; set state_dim"
            )
        return F.pad(single, (0, head.state_dim - single.shape[2])).flatten(1)

    def _pad(self, x_BHA: Tensor) -> Tensor:
        head, (steps, dims) = self.action_head, x_BHA.shape[1:]
        if steps > head.horizon or dims > head.action_dim:
            raise ConfigError(
                f"this GR00T head has {head.horizon} action steps of {head.action_dim} dims, the data {steps} of "
                f"{dims}; set horizon and action_dim at the top of the configuration"
            )
        return F.pad(x_BHA, (0, head.action_dim - dims, 0, head.horizon - steps))
