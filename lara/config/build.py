"""From plain configuration data to objects. A `_target_` names a class that says of itself that it may be built.

A configuration may have come with a checkpoint from a stranger, so nothing in it is interpreted: no "${...}", no
resolver, no positional arguments, no function. `_target_: package.module.Class` is imported only from this project (or
from a package that this command line admits, see `lara.config.trust`), and the class must carry the mark

    buildable: ClassVar[str] = "model"      # or "data", "run", "body"

in its own body: a mark is not inherited, and the kind must be the one that the caller asked for. `_partial_: true`
gives `functools.partial` of the class, whose remaining arguments the enclosing object supplies.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal, get_args

from lara.config.trust import OWN_PACKAGES, trusted
from lara.config.value_types import require_arguments
from lara.errors import ConfigError, LaraError, nearest

Kind = Literal["model", "data", "run", "body"]
"""model: parts of a network and its losses, all that a checkpoint's config may build. data: readers, samplers,
transforms. run: optimizer, runtime, stage, trackers, protocols. body: benchmarks, demonstrators, policy clients."""

_RESERVED = re.compile(r"_\w+_")


def build(config: Any, kind: Kind = "model", /, *, packages: tuple[str, ...] = (), **overrides: Any) -> Any:
    """The object that a plain configuration describes; lists and dicts without `_target_` are built inside.

    Args:
        config: dicts, lists, strings, numbers, booleans and None, as `lara.config.compose.resolved` gives them.
        kind: the kind that every class named inside must have.
        packages: top-level packages admitted beside this project's and those of the command line.
        overrides: arguments of the outermost class that stand above the configuration's, taken as they are.

    Raises:
        ConfigError: for a target that may not be built, arguments that its constructor does not take or that are
            missing, or a constructor that fails; it names the place inside the configuration. LaraErrors of
            constructors come through unwrapped.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"the kinds of buildable classes are {', '.join(get_args(Kind))}; got {kind!r}")
    admitted = (*OWN_PACKAGES, *trusted().packages, *packages)
    if overrides and not (isinstance(config, Mapping) and "_target_" in config):
        raise ConfigError(f"only a configuration with _target_ takes {', '.join(sorted(overrides))}")
    return _built(config, "", kind, admitted, overrides)


def buildable_class(target: Any, kind: Kind, *, packages: tuple[str, ...] = OWN_PACKAGES, where: str = "") -> type:
    """The class that `package.module.Class` names. Raises ConfigError unless it is marked as buildable, of this kind.

    Only modules of `packages` are imported, and only the last piece is looked up inside one: no walk along attributes.
    """
    place = f"at '{where or '(top)'}'"
    pieces = target.split(".") if isinstance(target, str) else []
    if len(pieces) < 3 or pieces[0] not in packages:
        raise ConfigError(f"_target_ {target!r} {place} is foreign; only classes of {', '.join(packages)} may be named")
    if not all(piece.isidentifier() and not piece.startswith("_") for piece in pieces):
        raise ConfigError(f"_target_ {target!r} {place} is not of the form package.module.Class")
    module = _module(".".join(pieces[:-1]), target, place)
    found: Any = vars(module).get(pieces[-1])
    if found is None:
        known = [name for name, value in vars(module).items() if _kind_of(value, module.__name__)]
        raise ConfigError(
            f"_target_ {target!r} {place}: {module.__name__} has no '{pieces[-1]}'. {nearest(pieces[-1], known)}"
        )
    marked = _kind_of(found, module.__name__)
    if marked is None:
        raise ConfigError(
            f"_target_ {target!r} {place}: only classes that are marked as buildable where they are defined may be "
            f"named; this {'class is not marked, or is defined elsewhere' if inspect.isclass(found) else 'is no class'}"
        )
    if marked != kind:
        raise ConfigError(f"_target_ {target!r} {place}: expected a class of the kind '{kind}', this one is '{marked}'")
    named: type = found
    return named


def _module(name: str, target: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module exists, something it needs does not
        raise ConfigError(
            f"_target_ {target!r} {place}: there is no module '{error.name}'; only classes, by the module "
            "that they are defined in, may be named"
        ) from None


def _kind_of(value: Any, module: str) -> str | None:
    """The kind a class is marked with in its own body, if it is a class defined in `module`."""
    if not inspect.isclass(value) or value.__module__ != module:
        return None
    marked = vars(value).get("buildable")
    return marked if isinstance(marked, str) else None


def _built(config: Any, path: str, kind: Kind, packages: tuple[str, ...], overrides: Mapping[str, Any]) -> Any:
    if isinstance(config, list | tuple):
        return [_built(value, f"{path}[{k}]", kind, packages, {}) for k, value in enumerate(config)]
    if not isinstance(config, Mapping):
        if config is None or isinstance(config, str | bool | int | float):
            return config
        raise ConfigError(f"at '{path or '(top)'}': expected plain data, got {type(config).__name__}")
    special = sorted(key for key in config if isinstance(key, str) and _RESERVED.fullmatch(key))
    if set(special) - {"_target_", "_partial_"} or (special and "_target_" not in config):
        raise ConfigError(
            f"at '{path or '(top)'}': of the keys with a meaning of their own only _target_ and, beside it, _partial_ "
            f"exist; got {', '.join(special)}"
        )
    inside = {
        key: _built(value, f"{path}.{key}" if path else str(key), kind, packages, {})
        for key, value in config.items()
        if key not in ("_target_", "_partial_", *overrides)
    }
    if "_target_" not in config:
        return inside
    partial = config.get("_partial_", False)
    if not isinstance(partial, bool):
        raise ConfigError(f"at '{path or '(top)'}': _partial_ is true or false, got {partial!r}")
    made = buildable_class(config["_target_"], kind, packages=packages, where=path)
    arguments = {**inside, **overrides}
    _check_arguments(made, arguments, partial, path)
    return functools.partial(made, **arguments) if partial else _constructed(made, arguments, path)


def _constructed(made: type, arguments: dict[str, Any], path: str) -> Any:
    try:
        return made(**arguments)
    except LaraError:
        raise
    except Exception as error:  # a constructor may meet any value; the place in the configuration is what helps
        raise ConfigError(
            f"at '{path or '(top)'}': {made.__module__}.{made.__name__} could not be made: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_arguments(made: type, arguments: Mapping[str, Any], partial: bool, path: str) -> None:
    """Names and plain types. ConfigError lists what the constructor does not take, or what it still needs."""
    takes, needs, any_other = _parameters(made)
    where = f"at '{path or '(top)'}': {made.__module__}.{made.__name__}"
    unknown = sorted(set(arguments) - takes)
    if unknown and not any_other:
        raise ConfigError(f"{where} takes no '{unknown[0]}'. {nearest(unknown[0], takes)}")
    missing = sorted(needs - set(arguments))
    if missing and not partial:
        raise ConfigError(f"{where} needs {', '.join(missing)} too")
    require_arguments(made, arguments, path)


def _parameters(made: type) -> tuple[set[str], set[str], bool]:
    """(names that the constructor takes, those of its own without a default, whether it takes any other too).

    `**rest` goes on to the next class; where it never ends, the constructor itself must object.
    """
    takes: set[str] = set()
    needs: set[str] | None = None
    for ancestor in made.__mro__[:-1]:
        if "__init__" not in vars(ancestor):
            continue
        own = list(inspect.signature(vars(ancestor)["__init__"]).parameters.values())[1:]
        named = [p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        takes |= {p.name for p in named}
        if needs is None:
            needs = {p.name for p in named if p.default is p.empty}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            return takes, needs, False
    return takes, needs or set(), needs is not None
