"""What can be said of a data configuration before anything is opened: its sources, its robots, their MLP slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lara.errors import ConfigError

_OF_A_MIXTURE = ("_target_", "root", "sources", "weights", "alpha", "seed")


def spread(data: Mapping[str, Any]) -> dict[str, Any]:
    """A mixture's configuration with whatever stands beside its sources put into each of them.

    So an experiment that says `data: {cameras: []}` says it of all sources. Mappings are merged unless they name
    different classes. A dataset's configuration is given back as it is.
    """
    if "sources" not in data:
        return dict(data)
    common = {key: value for key, value in data.items() if key not in _OF_A_MIXTURE}
    own = {key: value for key, value in data.items() if key in _OF_A_MIXTURE}
    return {**own, "sources": {name: _merged(source, common) for name, source in data["sources"].items()}}


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if above.get("_target_", below.get("_target_")) != below.get("_target_"):
        return above
    return {**below, **{key: _merged(below[key], value) if key in below else value for key, value in above.items()}}


def embodiments_of(data: Mapping[str, Any]) -> dict[str, int]:
    """Name -> the slot that it asks for, of a dataset's configuration or of a mixture's sources, in their order.

    Raises ConfigError for two different wishes of one robot.
    """
    wanted: dict[str, int] = {}
    for source in data["sources"].values() if "sources" in data else [data]:
        name, slot = source["embodiment"], source["slot"]
        if wanted.setdefault(name, slot) != slot:
            raise ConfigError(f"two sources of the robot '{name}' ask for the slots {wanted[name]} and {slot}")
    return wanted


def slots_for(data: Mapping[str, Any], *, known: Mapping[str, int], slots: int) -> dict[str, int]:
    """Every robot's slot: the known ones keep theirs, a new one gets the slot it asks for, or the first free one.

    Args:
        data: a resolved data configuration.
        known: robot -> slot of an earlier run.
        slots: how many the system has.

    Raises:
        ConfigError: all slots are taken.
    """
    given = dict(known)
    for name, wanted in embodiments_of(data).items():
        if name in given:
            continue
        free = [slot for slot in range(slots) if slot not in given.values()]
        if not free:
            raise ConfigError(f"all {slots} embodiment slots are taken ({given}); raise slots= and pretrain anew")
        given[name] = wanted if wanted in free else free[0]
    return given


def with_slots(data: Mapping[str, Any], slots: Mapping[str, int]) -> dict[str, Any]:
    """The same configuration with every robot's slot decided."""
    if "sources" not in data:
        return {**data, "slot": slots[data["embodiment"]]}
    sources = {name: {**source, "slot": slots[source["embodiment"]]} for name, source in data["sources"].items()}
    return {**data, "sources": sources}
