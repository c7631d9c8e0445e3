"""What a run consists of: phases of arms, each arm a chain of `lara` commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Step:
    """One `lara` command.

    Attributes:
        name: Unique within the run; names its log and its line in the book.
        arguments: Of the `lara` program, the command's own name first.
        threads: Of torch and BLAS in its process.
        trainings: Run folder -> optimisation steps, for each training in the command. The step counts as finished only
            when each folder's `result.json` says that its training is.
    """

    name: str
    arguments: tuple[str, ...]
    threads: int = 1
    trainings: Mapping[Path, int] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """As a user would type it into a shell."""
        return shlex.join(("lara", *self.arguments))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One variant with one seed: a chain of steps, each of which reads what the ones before it wrote.

    Attributes:
        key: Which variant it is, for programs. Arms that differ by seed alone share it.
        seed: Of its training.
        steps: In order.
    """

    key: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def trainings(self) -> dict[Path, int]:
        """Run folder -> optimisation steps, over the whole chain."""
        return {folder: steps for step in self.steps for folder, steps in step.trainings.items()}

    @property
    def total(self) -> int:
        """Optimisation steps of all its trainings."""
        return sum(self.trainings.values())


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Arms that may run side by side. A phase begins when the one before it has ended.

    Attributes:
        arms: Started in order.
        workers: How many run at a time.
    """

    arms: tuple[Arm, ...]
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole run.

    Attributes:
        title: Begins each line about its progress.
        phases: In order; a later one may read what an earlier one wrote.

    Raises:
        ConfigError: Two steps share a name, or a phase has fewer than one worker.
    """

    title: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"every step of a run has a name of its own; these occur twice: {', '.join(twice)}")
        for phase in self.phases:
            if phase.workers < 1:
                raise ConfigError(f"workers is how many trainings run at a time, at least 1; got {phase.workers}")

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(arm for phase in self.phases for arm in phase.arms)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for arm in self.arms for step in arm.steps)


def one_seed_each(seeds: Sequence[int]) -> list[int]:
    """The seeds of a study.

    Raises:
        ConfigError: There is none, one occurs twice, or one is no whole number.
    """
    found = list(seeds)
    if not found or len(set(found)) != len(found) or any(type(seed) is not int for seed in found):
        raise ConfigError(f"seeds lists different whole numbers, at least one; got {found}")
    return found
