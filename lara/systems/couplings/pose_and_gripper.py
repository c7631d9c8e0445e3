"""LatBot (paper 002), stage 3: an action expert on the distilled student, with its own losses on pose and gripper.

    loss = flow + |a_hat - a|^2 on the end effector + BCE(a_hat, a) on the gripper                    (section 3.3)

The paper names L_ee and L_gripper and a flow-matching host (pi0.5), and leaves open how one meets the other. Here a_hat
is the clean action that the velocity points to, from wherever on the path the noisy one stands:

    a_hat = x_tau + (1 - tau) * v_hat = a + (1 - tau) * (v_hat - v)

so its gradient fades where little noise is left, and nothing is integrated in training. The flow loss stays, because
sampling is a flow. Gripper numbers g (0 closed, 1 open) enter the cross-entropy as the logit sharpness * (2 g - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lara.errors import ConfigError
from lara.ops.masks import masked_mean
from lara.policy.contract import FlowPolicy
from lara.systems.couplings.coupling import Coupling
from lara.systems.couplings.uncoupled import action_term
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses

TERMS = ("action", "end_effector", "gripper")


class PoseAndGripper(Coupling):
    """policy: any `FlowPolicy`; the paper's has a distilled student for a backbone. No LAM: the student has learned
    from it already.

    gripper_dims: dims of the padded action that are grippers; all others are end effector. In the unified layout these
        are `left_gripper` and `right_gripper`, 6 and 13.
    closed, opened: the NORMALISED numbers of a closed and an open gripper; 0 and 1 in the unified layout, which leaves
        grippers as they are (-1 and 1 for a robot with min_max normalisation and no layout that opens upwards).
    sharpness: of the logit.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        gripper_dims: Sequence[int] = (6, 13),
        closed: float = 0.0,
        opened: float = 1.0,
        sharpness: float = 4.0,
    ) -> None:
        super().__init__()
        dims = tuple(gripper_dims)
        if not dims or min(dims) < 0 or len(set(dims)) != len(dims) or closed == opened or not sharpness > 0:
            raise ConfigError(
                f"expected distinct gripper dims, closed != opened and sharpness > 0; got gripper_dims={list(dims)}, "
                f"closed={closed}, opened={opened}, sharpness={sharpness}"
            )
        self.dims, self.closed, self.opened, self.sharpness = dims, closed, opened, sharpness

    def bind(self, policy: Any, lam: Any) -> None:
        if lam is not None:
            raise ConfigError("these terms are of actions alone and would not look at the LAM; set system.lam=null")

    def terms(self) -> tuple[str, ...]:
        return TERMS

    def losses(
        self, policy: FlowPolicy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        width = batch.actions_BHA.shape[2]
        if max(self.dims) >= width:
            raise ConfigError(f"gripper_dims {list(self.dims)} reach beyond the {width} action dims of the data")
        action, flow = action_term(policy, batch)
        actions, mask = (x.repeat(policy.draws, 1, 1) for x in (batch.actions_BHA, batch.action_mask_BHA))
        remaining = (1 - flow.tau_B)[:, None, None]
        predicted = actions.float() + remaining * (flow.velocity.float() - flow.target.float())
        gripper = torch.zeros(width, dtype=torch.bool, device=mask.device)
        gripper[list(self.dims)] = True
        wanted, guess = self._openness(actions.float()).clamp(0, 1), self._openness(predicted)
        surprise = F.binary_cross_entropy_with_logits(
            self.sharpness * (2 * guess - 1), torch.where(mask, wanted, 0.0), reduction="none"
        )
        computed = {
            "action": action,
            "end_effector": masked_mean((predicted - actions.float()).square(), mask & ~gripper),
            "gripper": masked_mean(surprise, mask & gripper),
        }
        right = ((guess > 0.5) == (wanted > 0.5)).float()
        metrics = {"gripper_right": masked_mean(right, mask & gripper).detach()}
        return Losses(computed, metrics)

    def _openness(self, x: Tensor) -> Tensor:
        return (x - self.closed) / (self.opened - self.closed)
