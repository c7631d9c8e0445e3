"""How latents and actions travel from noise to data: together, or the latents first and the actions after them.

Streams are dicts, name -> (B, tokens, width); "action" is one of them, all others are latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.policy.backbone import Tokens
from lara.policy.contract import FlowOutput
from lara.policy.expert import FlowExpert
from lara.policy.process import Process
from lara.policy.tokens import TokenLayout

Use = Literal["use", "freeze", "block", "shuffle"]
USES: tuple[Use, ...] = ("use", "freeze", "block", "shuffle")
Streams = Mapping[str, Tensor]


class Conditioning(NamedTuple):
    """What does not travel: vision-language tokens, state (B, S), robot (B,), which tokens are real (stream ->
    (B, tokens)), and, when acting, which action dims are (B, 1, A): padded ones carry no noise and never move."""

    context: Tokens
    state_BS: Tensor
    embodiment_B: Tensor
    real: Streams
    dims_B1A: Tensor | None = None


class StreamFlow(NamedTuple):
    """One training pass over `draws` noise draws of B samples; draw r of sample b is row r * B + b.

    predictions, targets: stream -> (B * draws, tokens, width), what the network says and what it should say.
    states: of the ACTION tokens, as in `FlowOutput`; {} where the layout has none. tau_B: of the actions (of the
    latents where there are no actions).
    """

    predictions: dict[str, Tensor]
    targets: dict[str, Tensor]
    states: dict[str, Tensor]
    tau_B: Tensor

    def of_actions(self) -> FlowOutput:
        """The part that a policy without latents has."""
        return FlowOutput(self.predictions["action"], self.targets["action"], self.states, self.tau_B)


@runtime_checkable
class Generation(Protocol):
    """train(): one pass over clean `data`, noised with `noise`. solve(): from `noise` to clean streams.

    use: what the actions get of the latents (004, section F). "use" everything; "freeze" the latents stay the noise
    that they start from; "block" no action token (nor the state, which would pass it on) sees a latent; "shuffle" the
    actions see the latents in the order `shuffled` (H,), their values kept.
    """

    def train(
        self, expert: FlowExpert, process: Process, data: Streams, noise: Streams, conditioning: Conditioning
    ) -> StreamFlow: ...

    def solve(
        self,
        expert: FlowExpert,
        process: Process,
        noise: Streams,
        conditioning: Conditioning,
        *,
        steps: int,
        use: Use,
        shuffled: Tensor | None,
    ) -> dict[str, Tensor]: ...


class Joint:
    """One time for all streams, and every step moves all of them (001, Eq. 14; 004, Eqs. 12-15)."""

    def train(
        self, expert: FlowExpert, process: Process, data: Streams, noise: Streams, conditioning: Conditioning
    ) -> StreamFlow:
        tau_B = process.tau(len(conditioning.state_BS), conditioning.state_BS.device)
        noisy, targets = _noised(process, data, noise, tau_B)
        predictions, states = _predict(expert, noisy, dict.fromkeys(noisy, tau_B), conditioning, None)
        return StreamFlow(predictions, targets, states, tau_B)

    def solve(
        self,
        expert: FlowExpert,
        process: Process,
        noise: Streams,
        conditioning: Conditioning,
        *,
        steps: int,
        use: Use,
        shuffled: Tensor | None,
    ) -> dict[str, Tensor]:
        layout = _blocked(expert.layout) if use == "block" else None
        x = dict(noise)
        for k in range(steps):
            here, there = k / steps, (k + 1) / steps
            time = torch.full((len(conditioning.state_BS),), here, device=conditioning.state_BS.device)
            tau = dict.fromkeys(x, time)
            predictions, _ = _predict(expert, x, tau, conditioning, layout)
            if use == "shuffle":
                # a pass of its own: the latents must go on from their own order, or nothing would have been shuffled
                predictions["action"] = _predict(expert, _shuffle(x, shuffled), tau, conditioning, layout)[0]["action"]
            moving = [name for name in x if use != "freeze" or name == "action"]
            x |= {name: process.step(x[name], predictions[name], here, there) for name in moving}
        return x


class TwoStage:
    """The latents alone, from noise to data; then the actions, looking at finished latents (004, Table 3 without "J.").

    One expert does both. Trained in two passes with a time each: latents noised and actions absent; actions noised and
    latents clean, at tau = 1. The layout must not let a latent see an action, or the first could not come first.
    """

    buildable: ClassVar[str] = "model"

    def train(
        self, expert: FlowExpert, process: Process, data: Streams, noise: Streams, conditioning: Conditioning
    ) -> StreamFlow:
        _require_latents_first(expert.layout)
        n, device = len(conditioning.state_BS), conditioning.state_BS.device
        tau_B, latent_tau_B = process.tau(n, device), process.tau(n, device)
        latents = [name for name in data if name != "action"]
        noisy, targets = _noised(process, {k: data[k] for k in latents}, noise, latent_tau_B)
        planning = expert.layout.only("state", *latents)
        predictions, _ = _predict(expert, noisy, dict.fromkeys(latents, latent_tau_B), conditioning, planning)
        actions, action_targets = _noised(process, {"action": data["action"]}, noise, tau_B)
        done = torch.ones_like(tau_B)
        seen = {**{name: data[name] for name in latents}, **actions}
        tau = {name: tau_B if name == "action" else done for name in seen}
        second, states = _predict(expert, seen, tau, conditioning, None)
        return StreamFlow({**predictions, "action": second["action"]}, targets | action_targets, states, tau_B)

    def solve(
        self,
        expert: FlowExpert,
        process: Process,
        noise: Streams,
        conditioning: Conditioning,
        *,
        steps: int,
        use: Use,
        shuffled: Tensor | None,
    ) -> dict[str, Tensor]:
        _require_latents_first(expert.layout)
        n, device = len(conditioning.state_BS), conditioning.state_BS.device
        x = {name: value for name, value in noise.items() if name != "action"}
        planning = expert.layout.only("state", *x)
        for k in range(0 if use == "freeze" else steps):
            time = torch.full((n,), k / steps, device=device)
            predictions, _ = _predict(expert, x, dict.fromkeys(x, time), conditioning, planning)
            x = {name: process.step(x[name], predictions[name], k / steps, (k + 1) / steps) for name in x}
        latents = _shuffle(x, shuffled) if use == "shuffle" else x
        layout = _blocked(expert.layout) if use == "block" else None
        actions, done = noise["action"], torch.ones(n, device=device)
        for k in range(steps):
            time = torch.full((n,), k / steps, device=device)
            tau = {**dict.fromkeys(latents, done), "action": time}
            predictions, _ = _predict(expert, {**latents, "action": actions}, tau, conditioning, layout)
            actions = process.step(actions, predictions["action"], k / steps, (k + 1) / steps)
        return {**x, "action": actions}


def _noised(
    process: Process, data: Streams, noise: Streams, tau_B: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(noisy streams, targets). Targets carry no gradient: a projection in front of the noise cannot shrink them."""
    noisy = {name: process.noisy(value, noise[name], tau_B).x for name, value in data.items()}
    targets = {name: process.noisy(value.detach(), noise[name], tau_B).velocity for name, value in data.items()}
    return noisy, targets


def _predict(
    expert: FlowExpert, noisy: Streams, tau: Streams, conditioning: Conditioning, layout: TokenLayout | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    predictions, states = expert(
        noisy, tau, conditioning.real, conditioning.context, conditioning.state_BS, conditioning.embodiment_B, layout
    )
    if "action" in predictions and conditioning.dims_B1A is not None:
        predictions["action"] = predictions["action"] * conditioning.dims_B1A
    return predictions, states


def _blocked(layout: TokenLayout) -> TokenLayout:
    return layout.without(("state", "action"), layout.latents)


def _shuffle(x: Streams, shuffled: Tensor | None) -> dict[str, Tensor]:
    assert shuffled is not None
    return {name: value if name == "action" else value[:, shuffled] for name, value in x.items()}


def _require_latents_first(layout: TokenLayout) -> None:
    if "action" not in layout.names or not layout.latents:
        raise ConfigError(f"two stages need latents and actions, the layout has {layout.names}")
    late = [viewer for viewer, seen, _ in layout.arrows if viewer in layout.latents and seen == "action"]
    if late:
        raise ConfigError(f"two stages make the latents first, but {late} see actions; take those arrows out")
