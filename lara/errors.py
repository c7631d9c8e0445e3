"""One error tree. Every message says what was expected, what came, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LaraError(Exception):
    """Base of every error that lara raises on purpose."""


class ConfigError(LaraError):
    """A configuration names something that does not exist, or two parts of it contradict each other."""


class DataError(LaraError):
    """A dataset on disk is not what its metadata promises. Names the file, episode and frame where known."""


class CheckpointError(LaraError):
    """A checkpoint is damaged, incomplete, or does not fit the system it is loaded into."""


class SpecError(LaraError):
    """A policy and a benchmark (or robot) disagree about units, shapes or conventions."""


class MissingExtraError(LaraError, ImportError):
    """A feature needs a package that is not installed; the message names the extra that brings it."""


class MachineError(LaraError):
    """The operating system refused something: disk, memory, rights, processes. The message says the remedy."""


class StoreError(MachineError):
    """The file system refused to read or write a path: no space, no permission, a dead mount, something in the way."""


class NonFiniteError(LaraError):
    """Training met too many non-finite losses or gradients in a row."""


def missing_extra(package: str, extra: str, feature: str) -> MissingExtraError:
    """The error for a feature whose optional package is absent; `raise missing_extra(...) from error`."""
    return MissingExtraError(
        f"{feature} needs the package '{package}', which is not installed. Install it, in the clone of lara, with: "
        f"pip install -e '.[{extra}]'"
    )


def nearest(name: str, choices: Iterable[str]) -> str:
    """A sentence that offers the names closest to a wrong one, or lists all of them when none is close."""
    choices = sorted(set(choices))
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    return "Choices: " + (", ".join(choices) if choices else "(none)")
