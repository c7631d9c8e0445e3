"""The bridge between policy and latent action model: tap, projector, objective, target (LARA 003 section 4.1)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.losses.alignment import variance_floor
from lara.ops.masks import last_valid_step, masked_mean, take_step
from lara.ops.similarity import centre, common_direction, cosine, effective_rank, retrieval
from lara.policy.contract import FlowOutput
from lara.policy.expert import tapped_state
from lara.types import Losses


class Alignment(nn.Module):
    """align = objective(z, f(h)): z the continuous latent of the LAM, h the expert's state at `depth` at each sample's
    last VALID action step, f a small MLP.

    width, blocks:  of the expert that is tapped. latent_dim, queries: Q * D and Q of the LAM.
    views:          V, how many cameras the LAM sees (data.lam_cameras). z is the views' latents side by side, in the
                    order of the cameras: latent_dim * V numbers with pool "concat".
    depth:          see policy.expert.tapped_state; -2 is the paper's L-2.
    objective:      factory of a module in losses.alignment, called with dim=.
    projector_layers: 1 = one Linear (the release), more = an MLP with SiLU between.
    pool:           "concat" keeps the Q queries side by side (release), "mean" averages those of each view.
    stop_gradient:  "none" (paper), "lam" (the LAM is only a target), "policy" (the policy is only a target).
    tau_range:      only samples whose flow time lies in [low, high] are aligned.
    floor:          None, or the standard deviation each dim of z must keep; adds the term "variance".
    target:         "online" (paper) or "ema": z comes from a moving average of the LAM, which then gets no gradient
                    from this term.
    fraction:       share of the batch that the LAM sees in joint training.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        width: int,
        blocks: int,
        latent_dim: int,
        queries: int,
        views: int = 1,
        depth: int = -2,
        objective: Callable[..., nn.Module],
        projector_layers: int = 1,
        pool: Literal["concat", "mean"] = "concat",
        stop_gradient: Literal["none", "lam", "policy"] = "none",
        tau_range: tuple[float, float] = (0.0, 1.0),
        floor: float | None = None,
        target: Literal["online", "ema"] = "online",
        ema_decay: float = 0.99,
        fraction: float = 1.0,
    ) -> None:
        super().__init__()
        if pool not in ("concat", "mean") or stop_gradient not in ("none", "lam", "policy"):
            raise ConfigError(
                f"align.pool is concat|mean and align.stop_gradient none|lam|policy; got {pool}, {stop_gradient}"
            )
        if target not in ("online", "ema"):
            raise ConfigError(f"align.target is online|ema, got {target!r}")
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"align.fraction must lie in (0, 1], got {fraction}")
        if views < 1:
            raise ConfigError(f"align.views counts the LAM's cameras, at least 1, got {views}")
        self.tap = tapped_state(depth, blocks)
        self.views, self.queries = views, queries
        self.pool, self.stop_gradient, self.tau_range = pool, stop_gradient, tuple(tau_range)
        self.floor, self.ema_decay, self.fraction = floor, ema_decay, fraction
        self.uses_ema = target == "ema"
        dim = views * (latent_dim if pool == "concat" else latent_dim // queries)
        self.projector = _projector(width, dim, projector_layers)
        self.objective: Any = objective(dim=dim)
        self.target: EMATarget | None = None

    def watch(self, lam: LatentActionModel) -> None:
        """Makes the moving-average target; the system calls it once, when both sides exist."""
        if self.uses_ema:
            self.target = EMATarget(lam, self.ema_decay)

    def parts(self) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {"projector": self.projector, "objective": self.objective}
        return parts if self.target is None else {**parts, "target": self.target}

    def terms(self) -> tuple[str, ...]:
        return ("align",) if self.floor is None else ("align", "variance")

    def losses(
        self,
        flow: FlowOutput,
        z_BQD: Float[Tensor, "b Q D"],
        step_mask_BH: Bool[Tensor, "B H"],
        mask_B: Bool[Tensor, "b"],
    ) -> Losses:
        """Aligns the first b <= B samples, every noise draw of them.

        z_BQD: Q = V * queries, the views' latents after each other. Raises ConfigError for another number of views.
        flow: of all B samples and its R draws (rows r * B + i). mask_B: samples whose future frame is real; those
        without a real action are dropped here.
        """
        if z_BQD.shape[1] != self.views * self.queries:
            raise ConfigError(
                f"align.views={self.views}, but the latents come from {z_BQD.shape[1] // self.queries} cameras; set "
                "align.views to the number of data.lam_cameras"
            )
        total, n = len(step_mask_BH), len(z_BQD)
        draws = len(flow.tau_B) // total
        state = flow.states[self.tap].unflatten(0, (draws, total))[:, :n].flatten(0, 1)
        tau = flow.tau_B.unflatten(0, (draws, total))[:, :n].flatten()
        steps = step_mask_BH[:n]
        z = z_BQD.flatten(1) if self.pool == "concat" else z_BQD.unflatten(1, (self.views, -1)).mean(dim=2).flatten(1)
        if self.stop_gradient == "lam":
            z = z.detach()
        h = take_step(state, last_valid_step(steps).repeat(draws))
        if self.stop_gradient == "policy":
            h = h.detach()
        real = mask_B & steps.any(dim=1)
        mask = real.repeat(draws) & (tau >= self.tau_range[0]) & (tau <= self.tau_range[1])
        p = self.projector(h)
        terms = {"align": self.objective(z.repeat(draws, 1), p, mask)}
        if self.floor is not None:
            terms["variance"] = variance_floor(z, real, floor=self.floor)
        # health on the first draw alone: two draws of one sample share their z, which would look like agreement
        return Losses(terms, self._health(z.detach(), p[:n].detach(), mask[:n]))

    @torch.no_grad()
    def _health(self, z: Tensor, p: Tensor, mask: Tensor) -> dict[str, Tensor]:
        z, p = z.float(), p.float()
        return {
            "cosine": masked_mean(cosine(z, p), mask),
            "centred_cosine": masked_mean(cosine(centre(z, mask), centre(p, mask)), mask),
            "common_z": common_direction(z, mask),
            "common_p": common_direction(p, mask),
            "rank_z": effective_rank(z, mask),
            "retrieval": retrieval(p, z, mask),
        }


class EMATarget(nn.Module):
    """A moving average of what turns frames into z. A frozen encoder is shared, not copied."""

    def __init__(self, lam: LatentActionModel, decay: float) -> None:
        super().__init__()
        self.decay = decay
        learned = any(p.requires_grad for p in lam.encoder.parameters())
        self.encoder = copy.deepcopy(lam.encoder) if learned else None
        self.former: Any = copy.deepcopy(lam.former)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> EMATarget:
        return super().train(False)

    @torch.no_grad()
    def latent(self, lam: LatentActionModel, frames_BFCHW: Tensor, tokens_BFPE: Tensor) -> Tensor:
        """(B, Q, D). tokens_BFPE: the online encoder's, used as they are when the encoder is frozen."""
        if self.encoder is not None:
            tokens_BFPE = self.encoder(frames_BFCHW.flatten(0, 1)).unflatten(0, frames_BFCHW.shape[:2])
        return lam.space.project(self.former(tokens_BFPE[:, 0], tokens_BFPE[:, 1]))

    @torch.no_grad()
    def follow(self, lam: LatentActionModel) -> None:
        """One step towards the online weights; called after every optimiser update."""
        pairs = [(self.former, lam.former)] + ([(self.encoder, lam.encoder)] if self.encoder is not None else [])
        for mine, online in pairs:
            torch._foreach_lerp_(list(mine.parameters()), list(online.parameters()), 1.0 - self.decay)

    @torch.no_grad()
    def restart(self, lam: LatentActionModel) -> None:
        """Equal to the online weights; called after a LAM was loaded from another run."""
        self.former.load_state_dict(lam.former.state_dict())
        if self.encoder is not None:
            self.encoder.load_state_dict(lam.encoder.state_dict())


def _projector(inputs: int, outputs: int, layers: int) -> nn.Sequential:
    if layers < 1:
        raise ConfigError(f"align.projector_layers must be at least 1, got {layers}")
    hidden = [m for _ in range(layers - 1) for m in (nn.Linear(inputs, inputs), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(inputs, outputs))
