"""Everything serving needs to rebuild the transforms that training used; saved in every checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lara.data.actions.chunks import ChunkNormalizer
from lara.data.actions.eef_pose import AbsolutePose
from lara.data.actions.normalize import Mode, Normalizer, Statistics
from lara.data.actions.placement import Layout, Placement, UnifiedLayout, placements
from lara.data.actions.relative import RelativeActions
from lara.data.frames.resize import Fit
from lara.data.robot import RobotCard
from lara.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What one embodiment's training data looked like.

    robot:               units and limits of the body.
    statistics:          {"action": (A numbers each), "state": (S numbers each)}, from the training episodes only.
    action_normalizer, state_normalizer: modes of `Normalizer`.
    horizon, frame_gap:  H steps of action; the latent action model's future frame is t + frame_gap.
    fps:                 steps per second.
    cameras, image_size: the policy's views in order, square pixels after `resize_area(..., fit=image_fit)`.
    lam_cameras, lam_image_size: the same for the latent action model; empty when it was not asked for.
    action_dim_max, state_dim_max: padded widths.
    embodiment, slot:    name, and the number used as `Observation.embodiment_B`.
    instructions:        every task string of the dataset, sorted.
    layout:              where the robot's numbers stand in the padded vectors (None: in order, at the front), or how
        its actions are poses. The statistics are those of the numbers in the layout's units.
    relative:            actions learned as distances from the state they start at (None: all absolute). The action
        statistics are then of H * A numbers, steps outermost.
    """

    robot: RobotCard
    statistics: Mapping[str, Statistics]
    action_normalizer: Mode
    state_normalizer: Mode
    horizon: int
    frame_gap: int
    fps: float
    cameras: tuple[str, ...]
    image_size: int
    image_fit: Fit
    lam_cameras: tuple[str, ...]
    lam_image_size: int
    action_dim_max: int
    state_dim_max: int
    embodiment: str
    slot: int
    instructions: tuple[str, ...]
    layout: Layout | None = None
    relative: RelativeActions | None = None

    def __post_init__(self) -> None:
        if set(self.statistics) != {"action", "state"}:
            raise DataError(f"a data card needs statistics of action and state, got {sorted(self.statistics)}")
        if self.relative is not None:
            found, wanted = self.statistics["action"].dim, self.horizon * self.robot.action.dim
            if self.layout is not None or found != wanted:
                raise DataError(
                    f"a data card of relative actions has no layout and statistics of {self.horizon} steps * "
                    f"{self.robot.action.dim} actions, got layout={self.layout} and {found} numbers"
                )

    def placements(self) -> tuple[Placement, Placement]:
        """Where actions and states stand."""
        return placements(self.robot, self.layout)

    def normalizer_of_actions(self) -> Normalizer:
        """Actions (..., A) in the layout's units (robot units without a layout) <-> normalised, before padding.

        Raises DataError for relative actions, which need the state: `chunk_normalizer`.
        """
        if self.relative is not None:
            raise DataError(
                "relative actions have a map for each step and need the state they start at; use chunk_normalizer()"
            )
        return Normalizer(self.statistics["action"], self.action_normalizer, kept=self.placements()[0].kept)

    def chunk_normalizer(self) -> ChunkNormalizer:
        """Chunks (..., h, A) in the layout's units <-> normalised, before padding, given the state at their start."""
        pairing = None if self.relative is None else self.relative.pairing(self.robot)
        kept = self.placements()[0].kept
        return ChunkNormalizer(self.statistics["action"], self.action_normalizer, kept=kept, pairing=pairing)

    def normalizer_of_states(self) -> Normalizer:
        """States (..., S) in the layout's units (robot units without a layout) <-> normalised, before padding."""
        return Normalizer(self.statistics["state"], self.state_normalizer, kept=self.placements()[1].kept)

    def action_dims(self) -> np.ndarray:
        """(A_max,) True for the dims of a padded action that this robot has."""
        return self.placements()[0].dims(self.action_dim_max)

    def robot_actions(self, padded: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(..., h, A_max) normalised chunks -> (..., h, A) float32 in robot units.

        states: (..., S) in robot units, at the first step of each chunk; only relative actions, and poses of a robot
        with delta control, depend on it.
        """
        place = self.placements()[0]
        numbers = place.invert(self.chunk_normalizer().unnormalize(place.gather(padded), states))
        if isinstance(self.layout, AbsolutePose):
            numbers = self.layout.bind(self.robot).robot_actions(numbers, states)
        return numbers.astype(np.float32)

    def padded_states(self, states: np.ndarray) -> np.ndarray:
        """(..., S) robot units -> (..., S_max) normalised, as in training."""
        place = self.placements()[1]
        return place.spread(self.normalizer_of_states().normalize(place.convert(states)), self.state_dim_max)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["robot"] = self.robot.to_dict()
        data["statistics"] = {key: value.to_dict() for key, value in sorted(self.statistics.items())}
        data["layout"] = None if self.layout is None else self.layout.to_dict()
        if isinstance(self.layout, AbsolutePose):
            data["layout"]["kind"] = "pose"  # a unified layout has none, as in cards from before there were poses
        data["relative"] = None if self.relative is None else self.relative.to_dict()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DataCard:
        """Raises DataError when keys are missing or unknown."""
        expected = {f.name for f in fields(cls)}
        # cards written before there were layouts or relative actions have none
        data = {"layout": None, "relative": None, **data}
        if set(data) != expected:
            raise DataError(
                f"a data card expects the keys {sorted(expected)}; missing {sorted(expected - set(data))}, "
                f"unknown {sorted(set(data) - expected)}; it was written by another version of lara"
            )
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        plain["robot"] = RobotCard.from_dict(data["robot"])
        plain["statistics"] = {key: Statistics.from_dict(value) for key, value in data["statistics"].items()}
        plain["layout"] = _layout(data["layout"])
        plain["relative"] = None if data["relative"] is None else RelativeActions(**data["relative"])
        return cls(**plain)

    def to_json(self) -> str:
        """One JSON document; inverse of `from_json`."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> DataCard:
        """Raises DataError when `text` is not a data card."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"a data card is one JSON document, got something else ({error})") from error
        if not isinstance(data, dict):
            raise DataError(f"a data card is a JSON object, got {type(data).__name__}")
        return cls.from_dict(data)


def _layout(data: dict[str, Any] | None) -> Layout | None:
    if data is None:
        return None
    plain = {key: value for key, value in data.items() if key != "kind"}
    if data.get("kind", "unified") not in ("unified", "pose"):
        raise DataError(f"a data card's layout is of the kind unified or pose, got '{data['kind']}'")
    return AbsolutePose(**plain) if data.get("kind") == "pose" else UnifiedLayout(**plain)
