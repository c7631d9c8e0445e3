"""What a network's action numbers are, of a robot's: the contract of `data.actions`.

A `Representation` is plain configuration: it travels in the data card as the name of its class and its arguments.
Bound to a robot it is a `Codec`, the pair of maps that training and serving share, so that neither can drift.

    robot units --targets--> converted --Normalizer--> normalised --Placement.spread--> padded
    robot units <-commands-- converted <-Normalizer--- normalised <-Placement.gather--- padded
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from lara.config.build import buildable_class
from lara.config.trust import OWN_PACKAGES, trusted
from lara.data.actions.pairing import Pairing
from lara.data.actions.placement import Placement
from lara.data.robot import RobotCard
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source
from lara.errors import ConfigError, DataError


class Codec:
    """A representation bound to one robot. The base class keeps every number as it is.

    Attributes:
        action: where P converted action numbers stand in the padded vector.
        state: the same for the state's.
        pairing: which converted actions are learned as distances from the state; None: none.
    """

    def __init__(self, action: Placement, state: Placement, pairing: Pairing | None = None) -> None:
        self.action, self.state, self.pairing = action, state, pairing

    def targets(self, source: Source, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """What is to be learned at every frame of a dataset.

        Args:
            source: the dataset.
            numbers: its N frames, in robot units.

        Returns:
            (N, P) float32 converted actions, and (N,) bool, False where there is none.

        Raises:
            DataError: for numbers that cannot be converted.
            ConfigError: where the conversion would not be the robot's.
        """
        return self.action.convert(numbers.actions), numbers.real

    def commands(self, converted: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Converted chunks back to the robot's own numbers.

        Args:
            converted: (..., h, P).
            states: (..., S) in robot units, at each chunk's first step.

        Returns:
            (..., h, A) in robot units.
        """
        return self.action.invert(converted)


class Representation:
    """One way of learning actions. Subclasses are frozen dataclasses of plain values, marked as buildable."""

    def bind(self, robot: RobotCard) -> Codec:
        """Raises ConfigError for a robot whose actions cannot be represented so."""
        raise NotImplementedError

    def body(self, source: Source, robot: RobotCard) -> RobotCard:
        """Whose actions are learned: the dataset's robot, unless the representation brings a body of its own."""
        return robot

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; inverse of `representation_from_dict`."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **plain}


def representation_from_dict(data: Mapping[str, Any]) -> Representation:
    """Raises ConfigError or DataError for anything but a representation, of this project or an admitted package."""
    if not isinstance(data, Mapping) or "_target_" not in data:
        raise DataError(f"a data card says how actions are represented as a _target_ and its arguments, got {data!r}")
    made = buildable_class(data["_target_"], "data", packages=(*OWN_PACKAGES, *trusted().packages), where="actions")
    if not issubclass(made, Representation):
        raise ConfigError(f"a data card's actions are a lara.data.actions representation, got {data['_target_']}")
    try:
        return made(**{key: value for key, value in data.items() if key != "_target_"})
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a data card's {data['_target_']} cannot be made: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
