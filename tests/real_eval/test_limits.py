import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lara.errors import SpecError
from lara.specs import ActionSpec
from real_eval.limits import ActionLimits


def _spec(control):
    return ActionSpec(
        names=("x", "y"), control=control, rotation="none", gripper="none", low=(-1, 0), high=(1, 2), rate_hz=10
    )


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2), min_size=1, max_size=20))
def test_whatever_is_asked_for_what_is_sent_is_inside_limits_and_rate(actions):
    limits = ActionLimits(_spec("absolute"), max_step=np.array([0.1, 0.2]))
    last = np.array([0.0, 1.0], np.float32)
    limits.start(last)
    for action in actions:
        sent = limits.limit(np.array(action, np.float32)).action
        assert (sent >= [-1, 0]).all()
        assert (sent <= [1, 2]).all()
        assert (np.abs(sent - last) <= np.array([0.1, 0.2]) + 1e-6).all()
        last = sent


@pytest.mark.parametrize("bad", [[np.nan, 0], [np.inf, 0], [0], [0, 0, 0]])
def test_what_is_no_action_is_refused(bad):
    with pytest.raises(SpecError, match="2 finite numbers"):
        ActionLimits(_spec("delta")).limit(np.array(bad))


def test_absolute_control_needs_a_rate_and_a_start():
    with pytest.raises(SpecError, match="max_step"):
        ActionLimits(_spec("absolute"))
    with pytest.raises(SpecError, match="start"):
        ActionLimits(_spec("absolute"), max_step=np.ones(2)).limit(np.zeros(2))


def test_an_action_inside_everything_is_untouched():
    limited = ActionLimits(_spec("delta")).limit(np.array([0.5, 1.5]))
    assert limited.action.tolist() == [0.5, 1.5]
    assert not limited.clipped.any()
    assert not limited.slowed.any()
