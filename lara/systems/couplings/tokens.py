"""Moto-GPT's last two stages (Chen et al. 2025b, as paper 003 uses them: section 5.5, Appendix D) on labels of any LAM.

    stage 2:  tokens = cross-entropy of the LAM's codes, from VL tokens alone
    stage 3:  tokens + action, the flow expert looking at the token head's states

The LAM is not here: its codes come with the data (lara label), so that two LAMs are compared by changing a path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from lara.errors import ConfigError
from lara.losses.flow import velocity_mse
from lara.ops.masks import masked_mean
from lara.policy.moto import MotoPolicy
from lara.systems.couplings.coupling import Coupling
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses


class CodeTokens(Coupling):
    """policy: with a token head. Terms: "tokens", over codes that are real; "action". Samples without codes feed only
    the action term, samples without actions only the token term."""

    buildable: ClassVar[str] = "model"

    def bind(self, policy: Any, lam: Any) -> None:
        if not isinstance(policy, MotoPolicy):
            raise ConfigError(
                f"Moto needs a policy with a token head (policy=compact_moto), got {type(policy).__name__}"
            )
        if lam is not None:
            raise ConfigError("codes come with the data and would not be asked of the LAM; set system.lam=null")

    def terms(self) -> tuple[str, ...]:
        return ("tokens", "action")

    def action_terms(self) -> tuple[str, ...]:
        """The flow's; codes are labels of frames."""
        return ("action",)

    def losses(
        self, policy: MotoPolicy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        """Metrics: "tokens.accuracy", the share of real codes that the head puts first, given the codes before.

        Raises ConfigError when tokens are asked for and the batch has no codes.
        """
        computed: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        vl = policy.vl_tokens(batch.observation)
        if "tokens" in terms:
            codes_BT = batch.codes_BT
            if codes_BT is None:
                raise ConfigError(
                    "the term 'tokens' needs codes in the data; set data.lam.codes (see experiment=moto/tiny_tokens)"
                )
            real_BT = codes_BT >= 0
            logits_BTK, _ = policy.head(vl, codes_BT)
            each = F.cross_entropy(logits_BTK.float().transpose(1, 2), codes_BT.clamp(min=0), reduction="none")
            computed["tokens"] = masked_mean(each, real_BT)
            hit = (logits_BTK.detach().argmax(dim=-1) == codes_BT).float()
            metrics["tokens.accuracy"] = masked_mean(hit, real_BT)
        if "action" in terms:
            context = policy.with_plan(vl)
            flow = policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA, context)
            mask = batch.action_mask_BHA.repeat(policy.draws, 1, 1)
            computed["action"] = velocity_mse(flow.velocity, flow.target, mask)
        return Losses(computed, metrics)
