"""A study's list: experiments, each with overrides of its own, what programs call them and what people read."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lara.config.compose import require_experiment
from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the list.

    Attributes:
        experiment: Its name in conf/experiment.
        overrides: Of this entry alone.
        label: What tables call it.
    """

    experiment: str
    overrides: tuple[str, ...]
    label: str

    @property
    def text(self) -> str:
        """As it may be written into the list again."""
        return shlex.join((self.experiment, *self.overrides))

    @property
    def key(self) -> str:
        """What files and folders call it: letters, digits and underscores."""
        return re.sub(r"[^0-9A-Za-z]+", "_", " ".join((self.experiment, *self.overrides))).strip("_")


def read_entries(texts: Sequence[str], labels: Mapping[str, str], *, of: str) -> tuple[Entry, ...]:
    """The entries of a list.

    Args:
        texts: "EXPERIMENT" or "EXPERIMENT key=value ...", quoted as a shell would have it.
        labels: Experiment, or a whole entry -> what tables call it. What is not in it is called by its experiment's
            name and its overrides in words.
        of: The list's name, for errors.

    Raises:
        ConfigError: The list is empty or repeats itself, or an experiment does not exist.
    """
    found = []
    for text in texts:
        name, *overrides = shlex.split(text) or [""]
        require_experiment(name)
        label = labels.get(shlex.join((name, *overrides))) or _label(name, overrides, labels)
        found.append(Entry(experiment=name, overrides=tuple(overrides), label=label))
    if not found or len({entry.key for entry in found}) != len(found):
        raise ConfigError(f"{of} lists different experiments, at least one; got {list(texts)}")
    often = Counter(entry.label for entry in found)
    # two that read alike are told apart by what was typed
    return tuple(replace(e, label=f"{e.label} [{e.text}]") if often[e.label] > 1 else e for e in found)


def _label(name: str, overrides: Sequence[str], labels: Mapping[str, str]) -> str:
    base = labels.get(name) or name.replace("_", " ").replace("/", " ")
    return ", ".join([base, *(readable(override) for override in overrides)])


def readable(override: str) -> str:
    """An override in words: "latent=fsq" is "latent fsq", "stage.weights.lam.commitment=null" is "no commitment"."""
    key, _, value = override.lstrip("+").partition("=")
    name = key.lstrip("~").rpartition(".")[2].replace("_", " ")
    if key.startswith("~") or value in ("null", "false"):
        return f"no {name}"
    return name if value == "true" else f"{name} {value}"
