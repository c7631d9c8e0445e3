"""All numbers of a dataset in memory, by frame number; a frame's number is its place in the whole dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lara.data.sources.source import EpisodeArrays, Source


@runtime_checkable
class Whole(Protocol):
    """A source that gives the numbers of all its episodes at once, faster than one by one."""

    def all_arrays(self) -> EpisodeArrays:
        """`Source.arrays` of all episodes, one after the other."""
        ...


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """N frames, E episodes. states (N, S), actions (N, A): float32, robot units. real (N,): False where an action does
    not exist. task (N,): task index. episode (N,): episode index. ends (E,): one past the last frame of each episode,
    begins (E,): its first."""

    states: np.ndarray
    actions: np.ndarray
    real: np.ndarray
    task: np.ndarray
    episode: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, source: Source) -> Numbers:
        """Read every table once. Raises DataError for tables that do not fit."""
        lengths = np.array([row.length for row in source.episodes], np.int64)
        ends = np.cumsum(lengths)
        if isinstance(source, Whole):
            whole = source.all_arrays()
            states, actions, real, task = whole.state, whole.actions, whole.real, whole.task_index
        else:
            total = int(ends[-1]) if len(ends) else 0
            states = np.empty((total, len(source.state_names)), np.float32)
            actions = np.empty((total, len(source.action_names)), np.float32)
            real, task = np.empty(total, bool), np.empty(total, np.int64)
            for row in source.episodes:
                here = slice(row.start, row.start + row.length)
                arrays = source.arrays(row.index)
                states[here], actions[here] = arrays.state, arrays.actions
                real[here], task[here] = arrays.real, arrays.task_index
        episode = np.repeat(np.arange(len(lengths)), lengths)
        return cls(
            states=states,
            actions=actions,
            real=real,
            task=task,
            episode=episode,
            begins=ends - lengths,
            ends=ends,
        )

    def fingerprint(self, episode: int) -> str:
        """A hash of the episode's numbers, wherever it stands in the dataset; its place, if it has no numbers."""
        if self.states.shape[1] + self.actions.shape[1] == 0:
            return str(episode)
        here = slice(self.begins[episode], self.ends[episode])
        return hashlib.sha256(self.states[here].tobytes() + b"|" + self.actions[here].tobytes()).hexdigest()

    def frames_of(self, episodes: list[int]) -> np.ndarray:
        """(n,) int64: the frame numbers of these episodes, in their order."""
        chosen = np.asarray(episodes, np.int64)
        begins, lengths = self.begins[chosen], self.ends[chosen] - self.begins[chosen]
        before = np.cumsum(lengths) - lengths
        frames: np.ndarray = np.arange(int(lengths.sum())) + np.repeat(begins - before, lengths)
        return frames
