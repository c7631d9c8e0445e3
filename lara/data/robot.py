"""The identity card of the body that produced a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lara.errors import SpecError
from lara.specs import (
    ActionSpec,
    ObservationSpec,
    action_spec_from_dict,
    observation_spec_from_dict,
    spec_to_dict,
)


@dataclass(frozen=True, kw_only=True)
class RobotCard:
    """Which robot, what its actions mean, what it observes. Travels with datasets and checkpoints as JSON."""

    name: str
    action: ActionSpec
    observation: ObservationSpec

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        return {
            "name": self.name,
            "action": spec_to_dict(self.action),
            "observation": spec_to_dict(self.observation),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RobotCard:
        """Raises SpecError when keys are missing or unknown."""
        if set(data) != {"name", "action", "observation"}:
            raise SpecError(f"RobotCard expects the keys name, action, observation; got {sorted(data)}")
        return cls(
            name=data["name"],
            action=action_spec_from_dict(data["action"]),
            observation=observation_spec_from_dict(data["observation"]),
        )
