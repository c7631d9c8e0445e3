"""A spec holds legal values or is not built, and a mismatch shows both sides."""

import math
from dataclasses import replace

import pytest

from lara.errors import SpecError
from lara.specs import ActionSpec, ObservationSpec, action_spec_from_dict, require_compatible, spec_to_dict

ACTION = ActionSpec(
    names=("dx", "grip"),
    control="delta",
    rotation="none",
    gripper="close_positive",
    low=(-1.0, 0.0),
    high=(1.0, 1.0),
    rate_hz=10.0,
)
SEEN = ObservationSpec(cameras=("top", "wrist"), state=("x", "y"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gripper": "closed_positive"}, r"gripper is one of .*'closed_positive'\. Did you mean 'close_positive'"),
        ({"gripper": None}, "gripper is one of"),
        ({"control": "relative"}, "control is one of delta, absolute, velocity, unknown; got 'relative'"),
        ({"rotation": "euler"}, "rotation is one of .*'euler_xyz'"),
        ({"low": (2.0, 0.0)}, "'dx' has low 2.0 and high 1.0"),
        ({"high": (1.0, math.inf)}, "'grip' has low 0.0 and high inf"),
        ({"low": (math.nan, 0.0)}, "finite limits"),
        ({"low": ("-1", 0.0)}, "finite limits"),
        ({"low": (-1.0,)}, "one name, low and high per dimension"),
        ({"names": ("dx", "dx")}, "'dx' more than once"),
        ({"names": ("dx", " ")}, "none of them empty"),
        ({"names": "dx"}, "list of names"),
        ({"rate_hz": 0}, "rate_hz is a positive number"),
        ({"rate_hz": -10.0}, "rate_hz is a positive number"),
        ({"rate_hz": math.nan}, "rate_hz is a positive number"),
        ({"rate_hz": True}, "rate_hz is a positive number"),
    ],
)
def test_an_illegal_action_spec_is_refused(changes, words):
    with pytest.raises(SpecError, match=words):
        replace(ACTION, **changes)
    data = spec_to_dict(ACTION) | {k: list(v) if isinstance(v, tuple) else v for k, v in changes.items()}
    with pytest.raises(SpecError, match=words):
        action_spec_from_dict(data)  # what comes from disk or wire is held to the same


@pytest.mark.parametrize("changes", [{"cameras": ("top", "top")}, {"state": ("x", "x")}, {"cameras": ("",)}])
def test_an_illegal_observation_spec_is_refused(changes):
    with pytest.raises(SpecError):
        replace(SEEN, **changes)


def test_a_body_without_actions_and_a_dimension_that_never_moves_are_legal():
    replace(ACTION, names=(), low=(), high=())
    replace(ACTION, low=(1.0, 0.0))


def test_a_mismatch_shows_both_sides():
    other = replace(ACTION, gripper="open_positive", rate_hz=20.0)
    with pytest.raises(SpecError) as caught:
        require_compatible(
            policy_action=ACTION,
            body_action=other,
            policy_observation=replace(SEEN, state=("y", "x")),
            body_observation=replace(SEEN, cameras=("top",)),
        )
    for words in (
        "action.gripper: policy 'close_positive', body 'open_positive'",
        "action.rate_hz: policy 10.0, body 20.0",
        "cameras: policy needs ['wrist'], body offers ['top']",
        "state: policy ('y', 'x'), body ('x', 'y')",
    ):
        assert words in str(caught.value)
