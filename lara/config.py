"""Finding and composing the configuration tree; a wrong name is answered with the nearest right one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lara.errors import ConfigError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig


def config_folder() -> Path:
    """conf/ beside the package in a checkout, lara/_conf inside an installed wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(
        f"no configuration tree: neither {package / '_conf'} nor {package.parent / 'conf'} has train.yaml"
    )


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """conf/<name>.yaml with hydra overrides applied ("group=choice", "a.b=value", "+a.c=value", "~a.d").

    Raises ConfigError naming the override at fault and the nearest existing group, choice or key.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
    from omegaconf import OmegaConf

    # experiments live at the top of the tree; saying so in conf/train.yaml keeps line 1 of each file for its command
    overrides = [re.sub(r"^experiment=", "experiment@_global_=", o) for o in overrides]
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = hydra_compose(name, overrides=list(overrides))
            OmegaConf.resolve(config) if not left_open(config) else None
            return config
    except OverrideParseException as error:
        raise ConfigError(
            f"'{error.override}' is not an override; write key=value, group=choice, +new=value or ~drop"
        ) from error
    except MissingConfigException as error:
        raise ConfigError(_missing_config(error, overrides)) from error
    except ConfigCompositionException as error:
        raise ConfigError(_wrong_key(name, error, overrides)) from error
    except (HydraException, ValueError) as error:
        raise ConfigError(f"{error}; overrides are key=value, group=choice, +new=value or ~drop") from error


def resolved(config: DictConfig) -> dict[str, Any]:
    """A plain dict with every interpolation resolved, without the parts that the system does not use.

    ConfigError lists the values that are still to be given (???).
    """
    from omegaconf import OmegaConf, open_dict

    with open_dict(config):
        for side in ("policy", "lam", "align"):  # written once, used through system: what the system leaves out is gone
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
    """The files of one group, e.g. choices("experiment")."""
    return sorted(p.stem for p in (config_folder() / group).glob("*.yaml"))


def groups() -> list[str]:
    return sorted(p.name for p in config_folder().iterdir() if p.is_dir())


def _missing_config(error: Any, overrides: Sequence[str]) -> str:
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, choice = wanted.rpartition("/")
    if group in groups():
        return f"conf/{group}/ has no '{choice}'. {nearest(choice, choices(group))}"
    return f"there is no configuration '{wanted}'. {nearest(wanted, [*groups(), *_roots()])}"


def _wrong_key(name: str, error: Exception, overrides: Sequence[str]) -> str:
    text = f"{error}\n{error.__cause__ or ''}"
    found = re.search(r"[Cc]ould not override '([^']+)'", text) or re.search(r"Key '([^']+)' is not in struct", text)
    if not found:
        return text.strip()
    key = found.group(1)
    rest = [o for o in overrides if not o.lstrip("+~").startswith(key)]
    if len(rest) == len(overrides):
        return text.strip()  # the key stands in a file, not in an override; hydra's own words name it
    known = list(_keys(compose(name, rest)))
    return f"the configuration has no key '{key}'. {nearest(key, [*known, *groups()])} (+{key}=... adds a new one)"


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
