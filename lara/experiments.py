"""Experiments as they are named on the command line: families in folders, choices of a family, names that changed.

A folder below conf/experiment/ is a family. Folders inside it are choices that all of its experiments offer, written
without their path:

    experiment=hosts/pi05 size=tiny   is   experiment@_global_=hosts/pi05 experiment/hosts/size@_global_=tiny
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lara.errors import ConfigError, nearest

_HOSTS = {
    "pi0": "pi0",
    "pi05": "pi05_libero",
    "groot_n15": "groot_n15",
    "groot_n16": "groot_n16",
    "groot_n17": "groot_n17",
}
_TWINS = {"": "", " twin=lora": "_lora", " twin=base": "_base"}
# what an experiment was called -> what it is now
RENAMED: dict[str, str] = {
    **{f"posttrain_{old}{end}": f"hosts/{new}{twin}" for new, old in _HOSTS.items() for twin, end in _TWINS.items()},
    **{
        f"posttrain_{host}_tiny{end}": f"hosts/{host} size=tiny{twin}"
        for host in (*_HOSTS, "smolvla")
        for twin, end in _TWINS.items()
    },
}


def experiments(folder: Path) -> list[str]:
    """The experiments below conf/experiment/ (`folder`): "lara_tiny", and "hosts/pi05" for those of a family."""
    files = [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def families(folder: Path) -> dict[str, list[str]]:
    """Family -> the names of the choices that its experiments offer, e.g. {"hosts": ["size", "twin"]}."""
    return {
        family.name: sorted(choice.name for choice in family.iterdir() if choice.is_dir())
        for family in sorted(folder.iterdir())
        if family.is_dir()
    }


def in_full(overrides: Sequence[str], folder: Path) -> list[str]:
    """The overrides in hydra's words: an experiment lands at the top of the tree, its family's choices have their path.

    Args:
        overrides: of a command line, "key=value" each.
        folder: conf/experiment/.
    Raises:
        ConfigError: for an experiment that has another name now, and for a choice that this experiment does not offer.
    """
    names = [o.partition("=")[2] for o in overrides if o.startswith("experiment=")]
    if names and names[-1] in RENAMED and names[-1] not in experiments(folder):
        raise ConfigError(f"experiment={names[-1]} is now experiment={RENAMED[names[-1]]}")
    family = names[-1].rpartition("/")[0] if names else ""
    known = families(folder)
    offered = known.get(family, [])
    out = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if key == "experiment" and equals:
            out.append(f"experiment@_global_={value}")
        elif key in offered and equals:
            out.append(f"experiment/{family}/{key}@_global_={value}")
        elif equals and any(key in choices for choices in known.values()):
            having = [f"{name}/..." for name, choices in known.items() if key in choices]
            raise ConfigError(
                f"experiment={names[-1]} has no choice of {key}; those of {' and '.join(having)} have"
                if names
                else f"{key}= chooses within an experiment of {' or '.join(having)}; give experiment= as well. "
                f"{nearest(value, experiments(folder))}"
            )
        else:
            out.append(override)
    return out
