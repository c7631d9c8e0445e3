"""Moto-GPT's last two stages (Chen et al. 2025b, as paper 003 uses them: section 5.5, Appendix D) on labels of any LAM.

    stage 2:  tokens = cross-entropy of the LAM's codes, from VL tokens alone
    stage 3:  tokens + action, the flow expert looking at the token head's states

The LAM is not here: its codes come with the data (lara label), so that two LAMs are compared by changing a path.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.losses.flow import velocity_mse
from lara.ops.masks import masked_mean
from lara.policy.moto import MotoPolicy
from lara.types import ActionChunk, Batch, Losses, Observation


class Moto(nn.Module):
    """Terms: "tokens", over codes that are real; "action". Samples without codes feed only the action term, samples
    without actions only the token term."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, policy: MotoPolicy) -> None:
        super().__init__()
        if not isinstance(policy, MotoPolicy):
            raise ConfigError(
                f"Moto needs a policy with a token head (policy=compact_moto), got {type(policy).__name__}"
            )
        self.policy = policy

    def parts(self) -> dict[str, nn.Module]:
        return {f"policy.{name}": part for name, part in self.policy.parts().items()}

    def terms(self) -> tuple[str, ...]:
        return ("tokens", "action")

    def action_terms(self) -> tuple[str, ...]:
        """The flow's; codes are labels of frames."""
        return ("action",)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        """Metrics: "tokens.accuracy", the share of real codes that the head puts first, given the codes before.

        Raises ConfigError when tokens are asked for and the batch has no codes.
        """
        computed: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        vl = self.policy.vl_tokens(batch.observation)
        if "tokens" in terms:
            codes_BT = batch.codes_BT
            if codes_BT is None:
                raise ConfigError(
                    "the term 'tokens' needs codes in the data; set data.codes (see experiment=moto_tiny_tokens)"
                )
            real_BT = codes_BT >= 0
            logits_BTK, _ = self.policy.head(vl, codes_BT)
            each = F.cross_entropy(logits_BTK.float().transpose(1, 2), codes_BT.clamp(min=0), reduction="none")
            computed["tokens"] = masked_mean(each, real_BT)
            hit = (logits_BTK.detach().argmax(dim=-1) == codes_BT).float()
            metrics["tokens.accuracy"] = masked_mean(hit, real_BT)
        if "action" in terms:
            context = self.policy.with_plan(vl)
            flow = self.policy.flow_from(context, batch.observation, batch.actions_BHA, batch.action_mask_BHA)
            mask = batch.action_mask_BHA.repeat(self.policy.draws, 1, 1)
            computed["action"] = velocity_mse(flow.velocity, flow.target, mask)
        return Losses(computed, metrics)

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        """Nothing follows the weights."""

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        return self.policy.act(observation, steps=steps, generator=generator)
