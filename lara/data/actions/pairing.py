"""Which action number a state number is taken off, for actions learned relative to the state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairing:
    """relative (A,): which of A actions have a state number taken off. source (A,): which of the S state numbers; 0
    where none is."""

    relative: tuple[bool, ...]
    source: np.ndarray

    def reference(self, states: np.ndarray) -> np.ndarray:
        """(..., S) -> (..., A): each action's state number; of an action that stays absolute a number without use."""
        return states[..., self.source]
