"""What numbers mean at the border between a policy and a body: names, units, conventions (numpy-free, torch-free).

Policy and benchmark each declare a spec, which holds legal values or is not built; `require_compatible` compares them
before anything runs. A mismatch (inverted gripper, delta against absolute, another camera) is an error, never a
warning: such mistakes cost 20 to 100 points of success and look like a bad policy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar, get_args

from lara.errors import SpecError, nearest

Control = Literal["delta", "absolute", "velocity", "unknown"]
Rotation = Literal["none", "euler_xyz", "axis_angle", "quaternion_xyzw", "rot6d", "unknown"]
Gripper = Literal["none", "close_positive", "open_positive", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """One robot action of A numbers; A = 0 for video without a robot. Raises SpecError for an illegal value.

    Args:
        names: one per dimension, in order; none empty, none twice.
        control: what a positional number means. "unknown", as in the next two: nobody has said it, so nothing that
            depends on it is done.
        rotation: the form of the orientation numbers.
        gripper: which sign closes it.
        low, high: limits in the units that the robot accepts; finite, low <= high (equal where nothing moves).
        rate_hz: how often one action is executed; positive.
    """

    names: tuple[str, ...]
    control: Control
    rotation: Rotation
    gripper: Gripper
    low: tuple[float, ...]
    high: tuple[float, ...]
    rate_hz: float

    def __post_init__(self) -> None:
        _require_names("ActionSpec.names", self.names)
        if not len(self.names) == len(self.low) == len(self.high):
            raise SpecError(
                f"ActionSpec needs one name, low and high per dimension; got {len(self.names)} names, "
                f"{len(self.low)} lows, {len(self.high)} highs"
            )
        for field, choices in (("control", Control), ("rotation", Rotation), ("gripper", Gripper)):
            value, known = getattr(self, field), get_args(choices)
            if value not in known:
                near = nearest(value, known) if isinstance(value, str) else f"Choices: {', '.join(known)}"
                raise SpecError(f"ActionSpec.{field} is one of {', '.join(known)}; got {value!r}. {near}")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (_is_finite(low) and _is_finite(high) and low <= high):
                raise SpecError(
                    f"ActionSpec needs finite limits with low <= high; '{name}' has low {low!r} and high {high!r}"
                )
        if not _is_finite(self.rate_hz) or self.rate_hz <= 0:
            raise SpecError(f"ActionSpec.rate_hz is a positive number of actions per second; got {self.rate_hz!r}")

    @property
    def dim(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class ObservationSpec:
    """What a policy sees. Raises SpecError for names that are empty or stand twice.

    Args:
        cameras: V names, in order.
        state: S names of state numbers, in order.
    """

    cameras: tuple[str, ...]
    state: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_names("ObservationSpec.cameras", self.cameras)
        _require_names("ObservationSpec.state", self.state)


def _require_names(what: str, names: Any) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise SpecError(f"{what} is a list of names, none of them empty; got {names!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{what} holds {', '.join(map(repr, twice))} more than once: {list(names)}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def spec_to_dict(spec: ActionSpec | ObservationSpec) -> dict[str, Any]:
    """JSON-ready form; inverse of `action_spec_from_dict` / `observation_spec_from_dict`."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(spec).items()}


_Spec = TypeVar("_Spec", ActionSpec, ObservationSpec)


def _from_dict(cls: type[_Spec], data: dict[str, Any]) -> _Spec:
    expected = {f.name for f in fields(cls)}
    if set(data) != expected:
        raise SpecError(f"{cls.__name__} expects the keys {sorted(expected)}, got {sorted(data)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return cls(**values)


def action_spec_from_dict(data: dict[str, Any]) -> ActionSpec:
    return _from_dict(ActionSpec, data)


def observation_spec_from_dict(data: dict[str, Any]) -> ObservationSpec:
    return _from_dict(ObservationSpec, data)


def require_compatible(
    *,
    policy_action: ActionSpec,
    body_action: ActionSpec,
    policy_observation: ObservationSpec,
    body_observation: ObservationSpec,
) -> None:
    """Raises SpecError listing every disagreement. A policy may use fewer cameras than the body offers, not others."""
    problems = [
        f"action.{f.name}: policy {getattr(policy_action, f.name)!r}, body {getattr(body_action, f.name)!r}"
        for f in fields(ActionSpec)
        if getattr(policy_action, f.name) != getattr(body_action, f.name)
        and "unknown" not in (getattr(policy_action, f.name), getattr(body_action, f.name))
    ]
    for side, spec, other in (("policy", policy_action, body_action), ("body", body_action, policy_action)):
        for name in ("control", "rotation", "gripper"):
            if getattr(spec, name) == "unknown":
                said, means = f"action.{name}: the {side} does not say it", getattr(other, name)
                if side == "policy" and means != "unknown":
                    said += f"; if its data means {means!r}, as the body does, train with data.robot.{name}={means}"
                problems.append(said)
    missing = [c for c in policy_observation.cameras if c not in body_observation.cameras]
    if missing:
        problems.append(f"cameras: policy needs {missing}, body offers {list(body_observation.cameras)}")
    if policy_observation.state != body_observation.state:
        problems.append(f"state: policy {policy_observation.state}, body {body_observation.state}")
    if problems:
        raise SpecError(
            "policy and body do not speak the same units:\n  "
            + "\n  ".join(problems)
            + "\nTrain with what the body means (data.robot, a whole card if need be), or convert at the border; never "
            "ignore this."
        )
