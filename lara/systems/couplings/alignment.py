"""LARA's coupling (003, section 4.1): an inner state of the policy agrees with the latent action.

    h --projector--> p,   align = objective(z, p)        h: the expert's state at a depth, at the last real action step

Where h and z come from is two questions: `losses` answers them for a policy and a LAM of this project, `agree` takes
them as they are (plugins.attach reads h off a layer of any other policy).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.losses.alignment import variance_floor
from lara.ops.masks import last_valid_step, masked_mean, take_step
from lara.ops.similarity import centre, common_direction, cosine, effective_rank, retrieval
from lara.policy.contract import FlowPolicy
from lara.policy.expert import tapped_state
from lara.systems.couplings.coupling import Coupling
from lara.systems.couplings.ema_target import EMATarget
from lara.systems.couplings.uncoupled import action_term
from lara.systems.objectives.objective import LamRead
from lara.systems.views import beside
from lara.types import Batch, Losses


class Alignment(Coupling):
    """align = objective(z, f(h)): z the continuous latent of the LAM, h the expert's state at `depth` at each sample's
    last VALID action step, f a small MLP. Terms: action, align, and with a floor variance.

    views:          V, how many cameras the LAM sees (data.lam.cameras). z is the views' latents side by side, in the
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
        objective: Callable[..., nn.Module],
        views: int = 1,
        depth: int = -2,
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
        if projector_layers < 1:
            raise ConfigError(f"align.projector_layers must be at least 1, got {projector_layers}")
        self.depth, self.views, self.projector_layers = depth, views, projector_layers
        self.pool, self.stop_gradient, self.tau_range = pool, stop_gradient, tuple(tau_range)
        self.floor, self.ema_decay, self.fraction = floor, ema_decay, fraction
        self.uses_ema = target == "ema"
        self._objective = objective
        self.target: EMATarget | None = None
        self._tap: str | None = None

    @property
    def tap(self) -> str | None:
        return self._tap

    def bind(self, policy: FlowPolicy | None, lam: Any) -> None:
        if policy is None or lam is None:
            raise ConfigError("align needs both a policy and a LAM; set system.coupling=null or build both")
        self._tap = tapped_state(self.depth, policy.blocks)
        self.connect(policy.width, lam)

    def connect(self, width: int, lam: Any) -> None:
        """Makes projector, objective and target for states of this width and the latents of this LAM."""
        self.queries: int = lam.queries
        dim = self.views * (lam.latent_dim if self.pool == "concat" else lam.latent_dim // lam.queries)
        self.projector = _projector(width, dim, self.projector_layers)
        self.objective: Any = self._objective(dim=dim)
        if self.uses_ema:
            self.target = EMATarget(lam, self.ema_decay)

    def parts(self) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {"align.projector": self.projector, "align.objective": self.objective}
        return parts if self.target is None else {**parts, "align.target": self.target}

    def terms(self) -> tuple[str, ...]:
        return ("action", *self.align_terms())

    def align_terms(self) -> tuple[str, ...]:
        """The terms of the agreement alone."""
        return ("align",) if self.floor is None else ("align", "variance")

    def lam_samples(self, samples: int) -> int:
        return math.ceil(self.fraction * samples)

    def losses(
        self, policy: FlowPolicy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        aligning = bool(terms & set(self.align_terms()))
        if not aligning and "action" not in terms:
            return Losses({}, {})
        action, flow = action_term(policy, batch)
        if not aligning:
            return Losses({"action": action}, {})
        seen = read()
        z_BQD = beside(self._latent(lam, seen), batch.frames_BFVCHW.shape[2])
        steps_BH, n = batch.action_mask_BHA.any(dim=2), len(z_BQD)
        h, tau = self.tapped(flow.states, flow.tau_B, steps_BH, n)
        agreement = self.agree(h, z_BQD, seen.real_B[:n] & steps_BH[:n].any(dim=1), tau)
        return Losses({"action": action, **agreement.terms}, agreement.metrics)

    def _latent(self, lam: Any, seen: LamRead) -> Tensor:
        if self.target is None:
            return seen.latent()
        return self.target.latent(lam, seen.frames_BFCHW, seen.tokens_BFPE)

    def tapped(
        self, states: dict[str, Tensor], tau_B: Float[Tensor, " B"], steps_BH: Bool[Tensor, "b H"], n: int
    ) -> tuple[Float[Tensor, "m E"], Float[Tensor, " m"]]:
        """The tapped state at the last real action step of each of the first n samples, and its flow time.

        Args:
            states, tau_B: of all samples and their R draws, draw r of sample i being row r * len(steps_BH) + i.

        Returns:
            (R * n, E) and (R * n,), draw r of sample i being row r * n + i.
        """
        draws = len(tau_B) // len(steps_BH)
        assert self._tap is not None  # bound
        state = states[self._tap].unflatten(0, (draws, -1))[:, :n].flatten(0, 1)
        h = take_step(state, last_valid_step(steps_BH[:n]).repeat(draws))
        return h, tau_B.unflatten(0, (draws, -1))[:, :n].flatten()

    def agree(
        self,
        h_mE: Float[Tensor, "m E"],
        z_BQD: Float[Tensor, "n Q D"],
        real_B: Bool[Tensor, " n"],
        tau_m: Float[Tensor, " m"] | None = None,
    ) -> Losses:
        """Aligns n samples, every noise draw of them.

        Args:
            h_mE: states of n samples and R draws, m = R * n, draw r of sample i being row r * n + i.
            z_BQD: Q = V * queries, the views' latents after each other.
            real_B: samples with a real future frame and a real action; the others count nowhere.
            tau_m: flow times of the states; None where nobody knows them, which a tau_range needs.

        Returns:
            `align_terms`, and metrics under "align." names.

        Raises:
            ConfigError: for another number of views, or a tau_range without times.
        """
        if z_BQD.shape[1] != self.views * self.queries:
            raise ConfigError(
                f"align.views={self.views}, but the latents come from {z_BQD.shape[1] // self.queries} cameras; set "
                "align.views to the number of data.lam.cameras"
            )
        n, draws = len(z_BQD), len(h_mE) // len(z_BQD)
        z = z_BQD.flatten(1) if self.pool == "concat" else z_BQD.unflatten(1, (self.views, -1)).mean(dim=2).flatten(1)
        z = z.detach() if self.stop_gradient == "lam" else z
        h = h_mE.detach() if self.stop_gradient == "policy" else h_mE
        mask = real_B.repeat(draws)
        if tau_m is not None:
            mask = mask & (tau_m >= self.tau_range[0]) & (tau_m <= self.tau_range[1])
        elif self.tau_range != (0.0, 1.0):
            raise ConfigError(f"tau_range={self.tau_range} chooses by flow time, and these states come without one")
        p = self.projector(h)
        terms = {"align": self.objective(z.repeat(draws, 1), p, mask)}
        if self.floor is not None:
            terms["variance"] = variance_floor(z, real_B, floor=self.floor)
        # health on the first draw alone: two draws of one sample share their z, which would look like agreement
        health = self._health(z.detach(), p[:n].detach(), mask[:n])
        return Losses(terms, {f"align.{name}": value for name, value in health.items()})

    def after_step(self, lam: Any) -> None:
        if self.target is not None:
            self.target.follow(lam)

    def after_load(self, lam: Any) -> None:
        if self.target is not None:
            self.target.restart(lam)

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


def _projector(inputs: int, outputs: int, layers: int) -> nn.Sequential:
    hidden = [m for _ in range(layers - 1) for m in (nn.Linear(inputs, inputs), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(inputs, outputs))
