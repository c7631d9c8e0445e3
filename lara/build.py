"""From configuration to objects, with a border guard: a `_target_` may only name what this project defines.

Hydra's `instantiate` calls whatever a config names, and a config can come with a checkpoint from a stranger. A prefix
check is not enough ("lara.errors.difflib.sys.exit" starts with lara), so the object itself must have been defined in
an allowed package.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lara.errors import ConfigError, LaraError

OWN_PACKAGES = ("lara", "sim_eval", "real_eval")


def build(config: Any, *, packages: tuple[str, ...] = OWN_PACKAGES, **overrides: Any) -> Any:
    """hydra.utils.instantiate(config, **overrides) after every `_target_` inside was checked.

    Raises ConfigError for a target that does not exist or was not defined in `packages`, or for arguments that its
    constructor does not take; LaraErrors of constructors come through unwrapped.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    check_targets(plain, packages)
    try:
        return instantiate(plain, **overrides, _convert_="all")
    except InstantiationException as error:
        # hydra wraps what a constructor raised; our own errors are written to be read as they are
        if isinstance(error.__cause__, LaraError):
            raise error.__cause__ from None
        raise ConfigError(str(error)) from error


def check_targets(config: Any, packages: tuple[str, ...], path: str = "") -> None:
    """Walks a plain config; ConfigError names the first place whose `_target_` is foreign or missing."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            _check(config["_target_"], packages, path)
        for key, value in config.items():
            check_targets(value, packages, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list | tuple):
        for k, value in enumerate(config):
            check_targets(value, packages, f"{path}[{k}]")


def _check(target: Any, packages: tuple[str, ...], path: str) -> None:
    where = f"at '{path or '(top)'}'"
    if not isinstance(target, str) or target.split(".")[0] not in packages:
        raise ConfigError(f"_target_ {target!r} {where} is foreign; only {', '.join(packages)} may be named")
    found = _locate(target, where)
    home = getattr(found, "__module__", "") or ""
    if home.split(".")[0] not in packages:
        raise ConfigError(
            f"_target_ {target!r} {where} reaches an object defined in '{home or type(found).__name__}'; only things "
            f"defined in {', '.join(packages)} may be named"
        )


def _locate(target: str, where: str) -> Any:
    """The class or function named `package.module.Name[.attribute]`, by importing modules of our packages only."""
    pieces = target.split(".")
    for cut in range(len(pieces) - 1, 0, -1):
        name = ".".join(pieces[:cut])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and not name.startswith(error.name):
                raise  # the module exists, something it needs does not
            continue
        for attribute in pieces[cut:]:
            if not hasattr(found, attribute):
                raise ConfigError(f"_target_ {target!r} {where}: {name} has no '{attribute}'")
            found = getattr(found, attribute)
        return found
    raise ConfigError(f"_target_ {target!r} {where}: there is no such module")
