"""The last thing between a policy and a motor: finite, inside the limits, not faster than allowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lara.errors import SpecError
from lara.specs import ActionSpec


@dataclass(frozen=True, kw_only=True)
class LimitedAction:
    """action: (A,) float32 safe to send. clipped, slowed: which dims were changed by the limits and by the rate."""

    action: np.ndarray
    clipped: np.ndarray
    slowed: np.ndarray


class ActionLimits:
    """Clips every action to the spec's limits and limits its change per control step.

    max_step: (A,) largest change between two actions sent, in action units; for absolute (position) control. None for
    delta or velocity control, where the limits themselves bound the motion.
    """

    def __init__(self, spec: ActionSpec, *, max_step: np.ndarray | None = None) -> None:
        if max_step is None and spec.control == "absolute":
            raise SpecError("absolute control needs max_step: without it one bad number is a jump across the workspace")
        if max_step is not None and (np.shape(max_step) != (spec.dim,) or not (np.asarray(max_step) > 0).all()):
            raise SpecError(f"max_step must hold {spec.dim} positive numbers, got {max_step}")
        self.spec = spec
        self.low, self.high = np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32)
        self.max_step = None if max_step is None else np.asarray(max_step, np.float32)
        self._last: np.ndarray | None = None

    def start(self, current: np.ndarray) -> None:
        """Tells where the robot is, in action units; needed before the first action under absolute control."""
        self._last = self._checked(current)

    def limit(self, action: np.ndarray) -> LimitedAction:
        """Raises SpecError for a wrong shape or a number that is not finite: the caller must hold the robot then."""
        wanted = self._checked(action)
        safe = np.clip(wanted, self.low, self.high)
        clipped = safe != wanted
        slowed = np.zeros_like(clipped)
        if self.max_step is not None:
            if self._last is None:
                raise SpecError("call start(current position) before the first absolute action")
            near = np.clip(safe, self._last - self.max_step, self._last + self.max_step)
            slowed, safe = near != safe, near
        self._last = safe
        return LimitedAction(action=safe.astype(np.float32), clipped=clipped, slowed=slowed)

    def _checked(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, np.float32)
        if action.shape != (self.spec.dim,) or not np.isfinite(action).all():
            raise SpecError(f"expected {self.spec.dim} finite numbers {self.spec.names}, got {action}")
        return action
