"""Action chunks of H steps: the frames they are of, their statistics, and robot units <-> normalised.

One form for actions that stay absolute (one affine map for all steps) and for those learned relative to the state they
start at (one map per step, see `relative.py`), so that a batch and a server cannot disagree about which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lara.data.actions.normalize import Mode, Normalizer, RelativeNormalizer, Statistics
from lara.data.actions.pairing import Pairing
from lara.data.sources.numbers import Numbers
from lara.errors import ConfigError


def window(numbers: Numbers, index: np.ndarray, horizon: int, real_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) frame numbers -> (B, H) frame numbers of their chunks, held at the episode's last, and (B, H) where real.

    real_N: (N,) False for frames whose action does not exist.
    """
    end = numbers.ends[numbers.episode[index]][:, None]
    when = index[:, None] + np.arange(horizon)
    inside = np.minimum(when, end - 1)
    return inside, (when < end) & real_N[inside]


class ChunkNormalizer:
    """(..., h, A) actions <-> normalised, an exact pair given the (..., S) state of the chunk's first step.

    statistics: of A numbers; with a pairing of H * A, steps outermost. kept: as in `Normalizer`; not with a pairing.
    """

    def __init__(
        self, statistics: Statistics, mode: Mode, *, kept: np.ndarray | None = None, pairing: Pairing | None = None
    ) -> None:
        self._pairing = pairing
        if pairing is None:
            self._absolute = Normalizer(statistics, mode, kept=kept)
        else:
            self._relative = RelativeNormalizer(statistics, mode, relative=pairing.relative)

    def normalize(self, actions: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(..., h, A) in robot units -> (..., h, A), same dtype. Raises DataError for other widths."""
        if self._pairing is None:
            return self._absolute.normalize(actions)
        return self._relative.normalize(actions, self._pairing.reference(states))

    def unnormalize(self, y: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(..., h, A) normalised -> (..., h, A) in robot units; inverse of `normalize` with the same states."""
        if self._pairing is None:
            return self._absolute.unnormalize(y)
        return self._relative.unnormalize(y, self._pairing.reference(states))


def fit(
    learned: Sequence[tuple[Numbers, np.ndarray]], *, horizon: int, pairing: Pairing | None
) -> dict[str, Statistics]:
    """{"action", "state"} of some frames; with a pairing, actions are of the chunks that start at them.

    Args:
        learned: numbers of one or more datasets of one robot, each with the frame numbers that count.
        horizon: H.
        pairing: of relative actions.

    Steps past an episode's end are not counted. Raises DataError when, with a pairing, no chunk reaches step H.
    """
    state = Statistics.of(np.concatenate([numbers.states[samples] for numbers, samples in learned]))
    if pairing is None:
        # video has no action that is real, nor any number of one
        real = [n.actions[samples[n.real[samples]] if n.actions.shape[1] else samples] for n, samples in learned]
        return {"action": Statistics.of(np.concatenate(real)), "state": state}
    windows = [window(numbers, samples, horizon, numbers.real) for numbers, samples in learned]
    action = RelativeNormalizer.fit(
        np.concatenate([n.actions[inside] for (n, _), (inside, _) in zip(learned, windows, strict=True)]),
        np.concatenate([pairing.reference(numbers.states[samples]) for numbers, samples in learned]),
        relative=pairing.relative,
        real=np.concatenate([real for _, real in windows]),
    )
    return {"action": action, "state": state}


def given_statistics(
    given: Mapping[str, Statistics | Mapping[str, Any]], *, action: int, state: int
) -> dict[str, Statistics]:
    """{"action", "state"} of an earlier run, as objects. action, state: how many numbers each must describe.

    Raises ConfigError for other keys or counts.
    """
    if set(given) != {"action", "state"}:
        raise ConfigError(f"statistics need the keys action and state, got {sorted(given)}")
    out = {k: v if isinstance(v, Statistics) else Statistics.from_dict(dict(v)) for k, v in given.items()}
    for name, dim in (("action", action), ("state", state)):
        if out[name].dim != dim:
            raise ConfigError(
                f"given statistics describe {out[name].dim} {name} dimensions, the dataset has {dim} (relative actions "
                "have each step's own: horizon times their number)"
            )
    return out
