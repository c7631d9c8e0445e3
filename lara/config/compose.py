"""Finding and composing the configuration tree; a wrong name is answered with the nearest right one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lara.config.experiments import experiments, in_full, require_current
from lara.config.overrides import key_of, literal
from lara.config.renamed_keys import renamed, require_current_keys
from lara.config.value_types import require_types
from lara.errors import ConfigError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig


def config_folder() -> Path:
    """conf/ beside the package in a checkout, lara/_conf inside an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(
        f"no configuration tree: neither {package / '_conf'} nor {package.parent / 'conf'} has train.yaml"
    )


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """conf/<name>.yaml with overrides applied ("group=choice", "a.b=value", "+a.c=value", "~a.d").

    A value that hydra's grammar does not know is the text that was typed (config.overrides). A key that exists only
    through an interpolation (`demonstrator: ${benchmark.demonstrator}`) is set where the interpolation points.
    Raises ConfigError naming the override at fault and the nearest existing group, choice or key, the key whose value
    is of the wrong type, or what a key is called now.
    """
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    # experiments live at the top of the tree; saying so in conf/train.yaml keeps line 1 of each file for its command
    overrides = [literal(o) for o in in_full(overrides, config_folder() / "experiment")]
    try:
        if any(map(_adds_inside, overrides)):
            overrides = _through_pointers(name, overrides)
        config = _composed(name, overrides)
        if not left_open(config):
            OmegaConf.resolve(config)
    except InterpolationKeyError as error:
        raise ConfigError(_points_nowhere(config, error)) from error
    except OverrideParseException as error:
        raise ConfigError(
            f"'{error.override}' is not an override; write key=value, group=choice, +new=value or ~drop"
        ) from error
    except MissingConfigException as error:
        raise ConfigError(_missing_config(error, overrides)) from error
    except ConfigCompositionException as error:
        moved = _through_pointers(name, overrides)
        if moved != overrides:
            return compose(name, moved)
        raise ConfigError(_wrong_key(name, error, overrides)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{error}; overrides are key=value, group=choice, +new=value or ~drop") from error
    require_current_keys(config.get("data"))
    require_types(config_folder() / f"{name}.yaml", config, overrides)
    return config


def _composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """With interpolations unresolved. Raises hydra's errors."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return hydra_compose(name, overrides=list(overrides))


def resolved(config: DictConfig) -> dict[str, Any]:
    """A plain dict with every interpolation resolved, without the parts that the system does not use.

    ConfigError lists the values that are still to be given (???).
    """
    from omegaconf import OmegaConf, open_dict

    with open_dict(config):
        for side in ("policy", "lam"):  # written once, used through system: what the system leaves out is gone
            if "system" in config and config.system.get(side) is None and side in config:
                del config[side]
    missing = left_open(config)
    if missing:
        raise ConfigError("these values must be given: " + ", ".join(f"{key}=..." for key in missing))
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def left_open(config: DictConfig) -> list[str]:
    """The dotted keys whose values are still to be given (???), sorted; values that only point at one are not listed.

    (OmegaConf's own `missing_keys` follows such pointers, and raises.)
    """
    from omegaconf import OmegaConf

    def walk(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict | list):
            for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
                yield from walk(inside, f"{path}.{key}" if path else str(key))
        elif value == "???":
            yield path

    return sorted(walk(OmegaConf.to_container(config, resolve=False), ""))


def choices(group: str) -> list[str]:
    """The files of one group, e.g. choices("experiment"), whose families' experiments are named "hosts/pi05"."""
    folder = config_folder() / group
    return experiments(folder) if group == "experiment" else sorted(p.stem for p in folder.glob("*.yaml"))


def require_experiment(name: str) -> None:
    """Raises ConfigError for what is no experiment, with what it is called now or the nearest name."""
    require_current(name, config_folder() / "experiment")
    known = choices("experiment")
    if name not in known:
        raise ConfigError(f"there is no experiment '{name}'. {nearest(name, known)}")


def groups() -> list[str]:
    return sorted(p.name for p in config_folder().iterdir() if p.is_dir())


def _missing_config(error: Any, overrides: Sequence[str]) -> str:
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = wanted.rpartition("/")
    if group and (config_folder() / group).is_dir():
        return f"conf/{group}/ has no '{choice}'. {nearest(choice, choices(group))}"
    return f"there is no configuration '{wanted}'. {nearest(wanted, [*groups(), *_roots()])}"


def _points_nowhere(config: DictConfig, error: Exception) -> str:
    """What an interpolation asks for in vain, with the nearest of the keys that stand there."""
    from omegaconf import OmegaConf

    found = re.search(r"Interpolation key '([^']+)' not found", str(error))
    if found is None:
        return str(error)
    parent, _, key = found[1].rpartition(".")
    beside = OmegaConf.select(config, parent) if parent else config
    known = [str(k) for k in beside] if OmegaConf.is_dict(beside) else []
    return f"there is no {found[1]}, which another value points at. {nearest(key, known)}"


def _wrong_key(name: str, error: Exception, overrides: Sequence[str]) -> str:
    key, rest = _at_fault(error, overrides)
    if key is None:
        # the key stands in a file, not in an override; hydra's own words name it
        return f"{error}\n{error.__cause__ or ''}".strip()
    said = renamed(key)
    if said is not None:
        return said
    known = list(_keys(compose(name, rest)))
    return f"the configuration has no key '{key}'. {nearest(key, [*known, *groups()])} (+{key}=... adds a new one)"


def _at_fault(error: Exception, overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """The key that hydra could not override, and the overrides without it; (None, all) if no override names it."""
    text = f"{error}\n{error.__cause__ or ''}"
    found = re.search(r"[Cc]ould not override '([^']+)'", text) or re.search(r"Key '([^']+)' is not in struct", text)
    rest = [o for o in overrides if not found or not o.lstrip("+~").startswith(found.group(1))]
    return (None, list(overrides)) if not found or len(rest) == len(overrides) else (found.group(1), rest)


def _through_pointers(name: str, overrides: Sequence[str]) -> list[str]:
    """The overrides with every key that lies behind an interpolation replaced by the one it points to."""
    from hydra.errors import ConfigCompositionException

    rest = [o for o in overrides if not _adds_inside(o)]
    while True:  # without the overrides at fault there is a configuration to follow the interpolations in
        try:
            config = _composed(name, rest)
            break
        except ConfigCompositionException as error:
            found, rest = _at_fault(error, rest)
            if found is None:
                return list(overrides)
    moved = []
    for override in overrides:
        key = key_of(override)
        moved.append(override.replace(f"{key}=", f"{_pointed_at(config, key)}=", 1))
    return moved


def _adds_inside(override: str) -> bool:
    """Whether it adds a key below another one: hydra would put a mapping of this key alone over an interpolation."""
    return override.startswith("+") and "." in key_of(override)


def _pointed_at(config: DictConfig, key: str) -> str:
    """ "benchmark.demonstrator.x" for "demonstrator.x" where demonstrator is ${benchmark.demonstrator}, else itself."""
    from omegaconf import DictConfig

    node: Any = config
    pieces = key.split(".")
    for at, piece in enumerate(pieces[:-1], 1):
        node = node._get_node(piece) if isinstance(node, DictConfig) and piece in node.keys() else None  # noqa: SIM118
        if node is None:
            return key
        pointer = re.fullmatch(r"\$\{([\w.]+)\}", str(node._value())) if node._is_interpolation() else None
        if pointer:
            return _pointed_at(config, ".".join([pointer[1], *pieces[at:]]))
    return key


def _roots() -> list[str]:
    return sorted(p.stem for p in config_folder().glob("*.yaml"))


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in config:
        path = f"{prefix}{key}"
        yield path
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing():
            yield from _keys(value, f"{path}.")
