"""Meta-World's scripted experts as a policy client: the ceiling, and a test of the whole evaluation path."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from lara.errors import SpecError, missing_extra
from lara.serve.client import PolicyCard
from lara.specs import ObservationSpec
from sim_eval.metaworld.environment import ACTION, STATE
from sim_eval.metaworld.rendering import no_rendering
from sim_eval.metaworld.tasks import TIERS


class Experts:
    """The 50 scripted controllers. They read 39 privileged numbers and answer with 4, clipped to [-1, 1]."""

    def __init__(self) -> None:
        try:
            from metaworld.policies import ENV_POLICY_MAP
        except ImportError as error:
            raise missing_extra(error.name or "metaworld", "sim", "the Meta-World experts") from error
        except (AttributeError, OSError, RuntimeError) as error:  # mujoco looks for the graphics library on import
            raise no_rendering(error) from error
        # They warn at every step that their gains saturate; saturation is what the clipping below is for.
        warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high", category=UserWarning)
        self._classes: dict[str, Any] = dict(ENV_POLICY_MAP)
        self._policies: dict[str, Any] = {}

    def reset(self) -> None:
        """Some controllers keep a phase between calls; a new episode needs new ones."""
        self._policies = {}

    def action(self, privileged: np.ndarray) -> np.ndarray:
        """(40,) float64 of `MetaWorld.privileged()` -> (4,) float32 in [-1, 1]."""
        if privileged.shape != (40,):
            raise SpecError(f"the experts read MetaWorld.privileged() of shape (40,), got {privileged.shape}")
        task = tuple(TIERS)[int(privileged[0])]
        if task not in self._policies:
            self._policies[task] = self._classes[task]()
        action = np.asarray(self._policies[task].get_action(privileged[1:]), np.float64)
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class ExpertPolicy:
    """A privileged `PolicyClient` with chunks of one action."""

    buildable: ClassVar[str] = "body"

    def __init__(self) -> None:
        self._experts = Experts()

    def card(self) -> PolicyCard:
        return PolicyCard(
            name="metaworld-expert",
            action=ACTION,
            observation=ObservationSpec(cameras=(), state=STATE),
            horizon=1,
            privileged=True,
            image_size=None,
            identity="scripted",
        )

    def reset(self) -> None:
        self._experts.reset()

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        return self._experts.action(observation["privileged"])[None]
