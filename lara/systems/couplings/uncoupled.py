"""No coupling: flow matching on actions, and a latent action model, if there is one, that learns beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lara.losses.flow import velocity_mse
from lara.policy.contract import FlowOutput, FlowPolicy
from lara.systems.couplings.coupling import Coupling
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses


class Uncoupled(Coupling):
    """The "DiT-only" twin (003), LAPA's two stages, and what is left of a system from which only the policy is loaded.
    Term: action."""

    def bind(self, policy: Any, lam: Any) -> None:
        """Any policy will do."""

    def terms(self) -> tuple[str, ...]:
        return ("action",)

    def losses(
        self, policy: FlowPolicy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        return Losses({"action": action_term(policy, batch)[0]} if "action" in terms else {}, {})


def action_term(policy: FlowPolicy, batch: Batch) -> tuple[Tensor, FlowOutput]:
    """The flow-matching error over real action numbers (003, Eq. 1), and the pass that it came from."""
    flow = policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
    return velocity_mse(flow.velocity, flow.target, batch.action_mask_BHA.repeat(policy.draws, 1, 1)), flow
