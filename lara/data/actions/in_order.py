"""Actions and states as the robot has them: the same numbers at the first places of the padded vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lara.data.actions.placement import Placement
from lara.data.actions.representation import Codec, Representation
from lara.data.robot import RobotCard


@dataclass(frozen=True)
class InOrder(Representation):
    """Nothing is converted. Any robot."""

    buildable: ClassVar[str] = "data"

    def bind(self, robot: RobotCard) -> Codec:
        return Codec(Placement.in_order(robot.action.dim), Placement.in_order(len(robot.observation.state)))
