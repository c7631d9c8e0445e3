"""Everything serving needs to rebuild the transforms that training used; saved in every checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from lara.data.actions.chunks import ChunkNormalizer
from lara.data.actions.normalize import Mode, Normalizer, Statistics
from lara.data.actions.representation import Codec, Representation, representation_from_dict
from lara.data.frames.resize import Fit
from lara.data.robot import RobotCard
from lara.errors import ConfigError, DataError, nearest

LAM_FACTS = ("frame_gap", "fps", "lam_cameras", "lam_image_size", "image_fit")


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What one embodiment's training data looked like.

    robot:               units and limits of the body.
    statistics:          {"action": (A numbers each), "state": (S numbers each)}, from the training episodes only.
    action_normalizer, state_normalizer: modes of `Normalizer`.
    horizon, frame_gap:  H steps of action; the latent action model's future frame is t + frame_gap.
    fps:                 steps per second.
    cameras, image_size: the policy's views in order, square pixels after `resize_area(..., fit=image_fit)`.
    views:               pictures per observation in training: those of `cameras`, then black ones where a mixture has
        sources with more cameras.
    lam_cameras, lam_image_size: the same for the latent action model; empty when it was not asked for.
    action_dim_max, state_dim_max: padded widths.
    embodiment, slot:    name, and the number used as `Observation.embodiment_B`.
    instructions:        every task string of the dataset, sorted.
    actions:             what is learned of them (see `actions.representation`). The statistics are those of the
        converted numbers; where actions are relative, of H * A numbers, steps outermost.
    """

    robot: RobotCard
    statistics: Mapping[str, Statistics]
    action_normalizer: Mode
    state_normalizer: Mode
    horizon: int
    frame_gap: int
    fps: float
    cameras: tuple[str, ...]
    views: int
    image_size: int
    image_fit: Fit
    lam_cameras: tuple[str, ...]
    lam_image_size: int
    action_dim_max: int
    state_dim_max: int
    embodiment: str
    slot: int
    instructions: tuple[str, ...]
    actions: Representation

    def __post_init__(self) -> None:
        if set(self.statistics) != {"action", "state"}:
            raise DataError(f"a data card needs statistics of action and state, got {sorted(self.statistics)}")
        steps = 1 if self.codec.pairing is None else self.horizon
        for name, wanted in (("action", steps * self.codec.action.count), ("state", self.codec.state.count)):
            if self.statistics[name].dim != wanted:
                raise DataError(
                    f"a data card of {self.robot.name} needs statistics of {wanted} {name} numbers ({self.actions}), "
                    f"got {self.statistics[name].dim}"
                )

    @cached_property
    def codec(self) -> Codec:
        """The representation, bound to this robot."""
        return self.actions.bind(self.robot)

    def normalizer_of_actions(self) -> Normalizer:
        """Converted actions (..., P) <-> normalised, before padding.

        Raises DataError for relative actions, which need the state: `chunk_normalizer`.
        """
        if self.codec.pairing is not None:
            raise DataError(
                "relative actions have a map for each step and need the state they start at; use chunk_normalizer()"
            )
        return Normalizer(self.statistics["action"], self.action_normalizer, kept=self.codec.action.kept)

    def chunk_normalizer(self) -> ChunkNormalizer:
        """Converted chunks (..., h, P) <-> normalised, before padding, given the state at their start."""
        codec = self.codec
        return ChunkNormalizer(
            self.statistics["action"], self.action_normalizer, kept=codec.action.kept, pairing=codec.pairing
        )

    def normalizer_of_states(self) -> Normalizer:
        """Converted states (..., S) <-> normalised, before padding."""
        return Normalizer(self.statistics["state"], self.state_normalizer, kept=self.codec.state.kept)

    def action_dims(self) -> np.ndarray:
        """(A_max,) True for the dims of a padded action that this robot has."""
        return self.codec.action.dims(self.action_dim_max)

    def robot_actions(self, padded: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(..., h, A_max) normalised chunks -> (..., h, A) float32 in robot units.

        states: (..., S) in robot units, at the first step of each chunk; only relative actions, and poses of a robot
        with delta control, depend on it.
        """
        converted = self.chunk_normalizer().unnormalize(self.codec.action.gather(padded), states)
        return self.codec.commands(converted, states).astype(np.float32)

    def padded_states(self, states: np.ndarray) -> np.ndarray:
        """(..., S) robot units -> (..., S_max) normalised, as in training."""
        place = self.codec.state
        return place.spread(self.normalizer_of_states().normalize(place.convert(states)), self.state_dim_max)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["robot"] = self.robot.to_dict()
        data["statistics"] = {key: value.to_dict() for key, value in sorted(self.statistics.items())}
        data["actions"] = self.actions.to_dict()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DataCard:
        """Raises DataError when keys are missing or unknown."""
        expected = {f.name for f in fields(cls)}
        if not isinstance(data, Mapping):
            raise DataError(f"a data card expects the keys {sorted(expected)}, got {type(data).__name__}")
        if set(data) != expected:
            raise DataError(
                f"a data card expects the keys {sorted(expected)}; missing {sorted(expected - set(data))}, "
                f"unknown {sorted(set(data) - expected)}; it was written by another version of lara"
            )
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        plain["robot"] = RobotCard.from_dict(data["robot"])
        plain["statistics"] = {key: Statistics.from_dict(value) for key, value in data["statistics"].items()}
        plain["actions"] = representation_from_dict(data["actions"])
        return cls(**plain)


class Cards(Mapping[str, DataCard]):
    """The data cards of a run, one per embodiment: what a checkpoint keeps."""

    def __init__(self, cards: Iterable[DataCard]) -> None:
        """Raises DataError where two cards are of one embodiment."""
        self._cards: dict[str, DataCard] = {}
        for card in cards:
            if card.embodiment in self._cards:
                raise DataError(f"two data cards are of one embodiment, '{card.embodiment}'")
            self._cards[card.embodiment] = card

    def __getitem__(self, embodiment: str) -> DataCard:
        return self._cards[embodiment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards)

    def __len__(self) -> int:
        return len(self._cards)

    def only(self, embodiment: str | None = None) -> DataCard:
        """The card of this embodiment; of the only one that acts, where none is named.

        Raises ConfigError where that is not known, or not one.
        """
        acting = [name for name, card in self.items() if card.robot.action.dim] or list(self)
        if embodiment is None and len(acting) != 1:
            raise ConfigError(f"trained on {len(acting)} embodiments; say which with embodiment=, of {acting}")
        name = acting[0] if embodiment is None else embodiment
        if name not in self._cards:
            raise ConfigError(f"trained on no embodiment '{name}'. {nearest(name, self._cards)}")
        return self._cards[name]

    def lam_facts(self) -> dict[str, Any]:
        """Which frames the latent action model was trained on, as far as all embodiments that showed it any agree."""
        seen = [card for card in self.values() if card.lam_cameras]
        facts = [{key: getattr(card, key) for key in LAM_FACTS} for card in seen]
        return {key: facts[0][key] for key in LAM_FACTS if facts and all(f[key] == facts[0][key] for f in facts)}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        return {"embodiments": {name: card.to_dict() for name, card in self._cards.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cards:
        """Raises DataError for anything else."""
        named = data.get("embodiments") if isinstance(data, Mapping) and len(data) == 1 else None
        if not isinstance(named, Mapping):
            raise DataError(f"expected data cards by embodiment, got {str(data)[:200]}")
        cards = cls(DataCard.from_dict(card) for card in named.values())
        if list(cards) != list(named):
            raise DataError(f"data cards of {list(cards)} stand under the names {list(named)}")
        return cards
