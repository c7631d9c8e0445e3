"""What numbers mean at the border between a policy and a body: names, units, conventions (numpy-free, torch-free).

Policy and benchmark each declare a spec; `require_compatible` compares them before anything runs. A mismatch
(inverted gripper, delta against absolute, another camera) is an error, never a warning: such mistakes cost 20 to
100 points of success and look like a bad policy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lara.errors import SpecError

Control = Literal["delta", "absolute", "velocity"]
Rotation = Literal["none", "euler_xyz", "axis_angle", "quaternion_xyzw", "rot6d"]
Gripper = Literal["none", "close_positive", "open_positive"]


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """One robot action of A numbers.

    names: one per dimension, in order. control: what a positional number means. low, high: limits in the units the
    robot accepts. rate_hz: how often one action is executed.
    """

    names: tuple[str, ...]
    control: Control
    rotation: Rotation
    gripper: Gripper
    low: tuple[float, ...]
    high: tuple[float, ...]
    rate_hz: float

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise SpecError(
                f"ActionSpec needs one name, low and high per dimension; got {len(self.names)} names, "
                f"{len(self.low)} lows, {len(self.high)} highs"
            )

    @property
    def dim(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class ObservationSpec:
    """What a policy sees: camera names in order (V of them), and S named state numbers."""

    cameras: tuple[str, ...]
    state: tuple[str, ...]


def spec_to_dict(spec: ActionSpec | ObservationSpec) -> dict[str, Any]:
    """JSON-ready form; inverse of `action_spec_from_dict` / `observation_spec_from_dict`."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(spec).items()}


def _from_dict(cls: type, data: dict[str, Any]) -> Any:
    expected = {f.name for f in fields(cls)}
    if set(data) != expected:
        raise SpecError(f"{cls.__name__} expects the keys {sorted(expected)}, got {sorted(data)}")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})


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
    ]
    missing = [c for c in policy_observation.cameras if c not in body_observation.cameras]
    if missing:
        problems.append(f"cameras: policy needs {missing}, body offers {list(body_observation.cameras)}")
    if policy_observation.state != body_observation.state:
        problems.append(f"state: policy {policy_observation.state}, body {body_observation.state}")
    if problems:
        raise SpecError(
            "policy and body do not speak the same units:\n  "
            + "\n  ".join(problems)
            + "\nRe-train with the body's spec, or convert at the border; never ignore this."
        )
