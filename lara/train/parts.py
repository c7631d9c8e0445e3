"""Parts of a system by name: the proof that they cover it, and what a prefix such as "policy" selects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from lara.errors import ConfigError, nearest
from lara.systems.system import System


def as_module(system: System) -> nn.Module:
    """The same object. Raises ConfigError when it is no system."""
    if not isinstance(system, System):
        raise ConfigError(f"a system is a lara.systems.system.System; got {type(system).__name__}")
    return system


def covers(prefix: str, name: str) -> bool:
    """Whether a prefix such as "policy" means the part: "policy" and "policy.expert" yes, "policy2" no."""
    return name == prefix or name.startswith(prefix + ".")


def select(prefixes: Iterable[str], names: Iterable[str], *, what: str) -> tuple[str, ...]:
    """The names that any prefix covers, in the order of `names`.

    Raises ConfigError when a prefix covers nothing; `what` says where the prefix was written.
    """
    names = tuple(names)
    prefixes = tuple(prefixes)
    for prefix in prefixes:
        if not any(covers(prefix, name) for name in names):
            choices = set(names) | {".".join(n.split(".")[:k]) for n in names for k in range(1, n.count(".") + 1)}
            raise ConfigError(f"{what} names '{prefix}', which is no part of the system. {nearest(prefix, choices)}")
    return tuple(name for name in names if any(covers(prefix, name) for prefix in prefixes))


def longest_prefix(prefixes: Iterable[str], name: str) -> str | None:
    """The most specific prefix that covers `name`, or None."""
    return max((p for p in prefixes if covers(p, name)), key=len, default=None)


def part_of_parameters(system: System) -> dict[str, str]:
    """Parameter name (as in `named_parameters`) -> part name.

    Raises ConfigError when the parts leave a parameter out or name one twice, listing them.
    """
    module = as_module(system)
    owners: dict[int, list[str]] = {}
    for part, inside in system.parts().items():
        for parameter in inside.parameters():
            owners.setdefault(id(parameter), []).append(part)
    names = {name: owners.pop(id(parameter), []) for name, parameter in module.named_parameters()}
    leftovers = [name for name, parts in names.items() if not parts]
    overlaps = [f"{name} (in {', '.join(parts)})" for name, parts in names.items() if len(parts) > 1]
    if leftovers or overlaps or owners:
        foreign = sorted({part for parts in owners.values() for part in parts})
        problems = [
            f"{text}: {', '.join(found[:8])}{f' and {len(found) - 8} more' if len(found) > 8 else ''}"
            for text, found in (
                ("in no part", leftovers),
                ("in more than one part", overlaps),
                ("parts with parameters from outside the system", foreign),
            )
            if found
        ]
        raise ConfigError(
            f"parts() of {type(system).__name__} must cover every parameter exactly once; " + "; ".join(problems)
        )
    return {name: parts[0] for name, parts in names.items()}


def part_paths(system: System) -> dict[str, str]:
    """Part name -> module path in the system ("" for the system itself). ConfigError for an unregistered module."""
    paths = {id(inside): path for path, inside in as_module(system).named_modules()}
    out = {}
    for part, inside in system.parts().items():
        if id(inside) not in paths:
            raise ConfigError(f"part '{part}' is not a submodule of {type(system).__name__}; assign it as an attribute")
        out[part] = paths[id(inside)]
    return out


def keys_below(path: str, keys: Iterable[str]) -> Mapping[str, str]:
    """Relative key -> full key, for the state-dict keys of the module at `path`."""
    prefix = f"{path}." if path else ""
    return {key.removeprefix(prefix): key for key in keys if key.startswith(prefix)}
