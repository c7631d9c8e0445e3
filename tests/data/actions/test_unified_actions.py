"""Converters are inverse pairs; a turn is the same turn in every notation; the layout is the paper's."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lara.data.actions import rotations as rot
from lara.data.actions import unified_actions as ua
from lara.errors import DataError

T = 20


def _rng(seed=0):
    return np.random.default_rng(seed)


def _quaternions(rng, n=T):
    return Rotation.random(n, random_state=rng).as_quat()


def _arm(rng, gripper=True, n=T):
    numbers = [rng.normal(size=(n, 3)), _quaternions(rng, n)]
    return np.concatenate([*numbers, rng.uniform(size=(n, 1))] if gripper else numbers, axis=1)


def _bodies():
    rng = _rng()
    return {
        "one arm": {"right_arm": _arm(rng)},
        "one left arm": {"left_arm": _arm(rng)},
        "two arms": {"left_arm": _arm(rng), "right_arm": _arm(rng)},
        "one hand": {"left_arm": _arm(rng, False), "left_fingertips": rng.normal(size=(T, 15))},
        "two hands": {
            "left_arm": _arm(rng, False),
            "right_arm": _arm(rng, False),
            "left_fingertips": rng.normal(size=(T, 15)),
            "right_fingertips": rng.normal(size=(T, 15)),
        },
        "arm and hand": {"left_arm": _arm(rng), "right_arm": _arm(rng, False), "right_fingertips": np.ones((T, 15))},
    }


BODIES = _bodies()


@pytest.mark.filterwarnings("ignore:Gimbal lock:UserWarning")
def test_rotations_agree_with_scipy_and_are_inverse_pairs_at_the_poles_and_half_turns_too():
    r = Rotation.random(200, random_state=_rng())
    special = [[0, 0, 0], [np.pi, 0, 0], [0, 0, np.pi], [0.3, np.pi / 2, -1], [0.3, -np.pi / 2, 2], [np.pi, 0, np.pi]]
    r = Rotation.concatenate([r, Rotation.from_euler("xyz", special)])
    m = r.as_matrix()
    np.testing.assert_allclose(rot.quaternion_to_matrix(r.as_quat()), m, atol=1e-12)
    np.testing.assert_allclose(rot.matrix_to_quaternion(m)[:200], r.as_quat(canonical=True)[:200], atol=1e-9)
    np.testing.assert_allclose(rot.matrix_to_euler(m)[:200], r.as_euler("xyz")[:200], atol=1e-7)
    np.testing.assert_allclose(rot.euler_to_matrix(special), m[200:], atol=1e-12)
    for there, back in (
        (rot.matrix_to_quaternion, rot.quaternion_to_matrix),
        (rot.matrix_to_euler, rot.euler_to_matrix),
        (rot.matrix_to_rot6d, rot.rot6d_to_matrix),
    ):
        np.testing.assert_allclose(back(there(m)), m, atol=1e-7)
    assert (rot.matrix_to_quaternion(m)[:, 3] >= 0).all()


def test_rot6d_of_any_length_is_a_rotation_and_no_direction_is_an_error():
    m = rot.rot6d_to_matrix(_rng().normal(size=(50, 6)) * 7)
    np.testing.assert_allclose(m @ np.swapaxes(m, -1, -2), np.broadcast_to(np.eye(3), m.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(m), 1, atol=1e-12)
    for bad in ([0, 0, 0, 1, 0, 0], [1, 0, 0, 2, 0, 0], [1, 0, 0, np.nan, 0, 0]):
        with pytest.raises(DataError):
            rot.rot6d_to_matrix(np.array(bad, float))
    with pytest.raises(DataError, match="length 0"):
        rot.quaternion_to_matrix(np.zeros(4))


def test_the_layout_is_the_papers():
    """002 section 6.1, dims counted from 1: 1-7 and 8-14 arms, 15-44 fingertips; state 1-8, 9-16, 17-46."""
    names = ua.ACTION_NAMES
    assert len(set(names)) == ua.ACTION_DIM == 44
    assert names[0:7] == tuple(f"left_{x}" for x in ("x", "y", "z", "roll", "pitch", "yaw", "gripper"))
    assert names[13] == "right_gripper"
    assert names[14] == "left_thumb_x"
    assert names[43] == "right_little_z"
    states = ua.STATE_NAMES
    assert len(set(states)) == ua.STATE_DIM == 46
    assert states[3:8] == ("left_qx", "left_qy", "left_qz", "left_qw", "left_gripper")
    assert states[8] == "right_x"
    assert states[16] == "left_thumb_x"
    for layout, names in ((ua.ACTION_PARTS, ua.ACTION_NAMES), (ua.STATE_PARTS, ua.STATE_NAMES)):
        covered = [k for here in layout.values() for k in range(here.start, here.stop)]
        assert covered == list(range(len(names)))
        for part, here in layout.items():
            assert all(name.startswith(part.split("_")[0]) for name in names[here])


@pytest.mark.parametrize("body", BODIES)
def test_packing_and_unpacking_are_inverse_and_touch_nothing_else(body):
    parts = BODIES[body]
    state, mask = ua.pack_state(parts)
    assert state.shape == (T, 46)
    assert not state[:, ~mask].any()
    assert mask.sum() == sum(x.shape[1] for x in parts.values())
    back = ua.unpack_state(state, mask)
    assert set(back) == set(parts)
    for name, x in parts.items():
        if name.endswith("_arm"):
            assert (back[name][:, 6] >= 0).all()
            x = np.concatenate([x[:, :3], x[:, 3:7] * np.where(x[:, 6:7] < 0, -1, 1), x[:, 7:]], axis=1)
        np.testing.assert_allclose(back[name], x, atol=1e-9)
    again, same = ua.pack_state(back)
    np.testing.assert_allclose(again, state, atol=1e-12)
    assert (same == mask).all()


@pytest.mark.parametrize("body", BODIES)
def test_actions_lead_from_each_state_to_the_next(body):
    state, mask = ua.pack_state(BODIES[body])
    action, action_mask = ua.actions_between(state[:-1], state[1:], mask)
    assert action.shape == (T - 1, 44)
    assert not action[:, ~action_mask].any()
    assert (action_mask == ua.action_mask_of(mask)).all()
    np.testing.assert_allclose(ua.apply_action(state[:-1], action, mask, action_mask), state[1:], atol=1e-7)
    packed, packed_mask = ua.pack_action(ua.unpack_action(action, action_mask))
    assert np.array_equal(packed, action)
    assert np.array_equal(packed_mask, action_mask)


def test_standing_still_is_zero_but_for_the_gripper_which_is_where_to_be():
    state, mask = ua.pack_state(BODIES["two arms"])
    action, _ = ua.actions_between(state, state, mask)
    grippers = [6, 13]
    np.testing.assert_allclose(action[:, grippers], state[:, [7, 15]])
    np.testing.assert_allclose(np.delete(action, grippers, axis=1), 0, atol=1e-9)


def test_a_turn_is_measured_in_the_base_frame_and_does_not_jump_at_pi():
    yaws = np.array([np.pi - 0.05, np.pi + 0.05])
    arm = np.zeros((2, 8))
    arm[:, 3:7] = Rotation.from_euler("z", yaws[:, None]).as_quat()
    state, mask = ua.pack_state({"right_arm": arm})
    action, _ = ua.actions_between(state[0], state[1], mask)
    np.testing.assert_allclose(action[10:13], [0, 0, 0.1], atol=1e-9)
    # the same turn of the world, from any orientation
    tilted = Rotation.random(random_state=_rng())
    turn = Rotation.from_euler("xyz", [0.1, -0.2, 0.3])
    arm[:, 3:7] = [tilted.as_quat(), (turn * tilted).as_quat()]
    state, mask = ua.pack_state({"right_arm": arm})
    np.testing.assert_allclose(ua.actions_between(state[0], state[1], mask)[0][10:13], [0.1, -0.2, 0.3], atol=1e-9)


def test_two_hands_of_48_numbers_go_there_and_back():
    rng = _rng()
    hand = [
        np.concatenate([rng.normal(size=(T, 3)), rot.matrix_to_rot6d(rot.quaternion_to_matrix(_quaternions(rng)))], 1)
        for _ in range(2)
    ]
    hands = np.concatenate([hand[0], rng.normal(size=(T, 15)), hand[1], rng.normal(size=(T, 15))], axis=1)
    state, mask = ua.hands_state(hands)
    assert not mask[[7, 15]].any()
    assert mask.sum() == 44
    np.testing.assert_allclose(state[:, 16:31], hands[:, 9:24])
    np.testing.assert_allclose(ua.state_hands(state), hands, atol=1e-9)
    assert ua.action_mask_of(mask).sum() == 42


def test_what_does_not_fit_is_refused():
    arm = BODIES["one arm"]["right_arm"]
    state, mask = ua.pack_state({"right_arm": arm})
    for call, message in (
        (lambda: ua.pack_state({}), "nothing"),
        (lambda: ua.pack_action({"third_arm": arm}), "third_arm"),
        (lambda: ua.pack_action({"right_arm": arm}), "must be"),
        (lambda: ua.pack_state({"right_arm": arm[:, :5]}), "quaternion"),
        (lambda: ua.pack_action({"left_arm": arm[:, :7], "right_arm": arm[:3, :7]}), "leading axes"),
        (lambda: ua.unpack_state(state[:, :44], mask), "expected 46"),
        (lambda: ua.unpack_state(state, np.roll(mask, 1)), "torn"),
        (lambda: ua.hands_state(np.zeros((T, 44))), "48"),
    ):
        with pytest.raises(DataError, match=message):
            call()
    left = np.zeros(44, bool)
    left[:7] = True
    with pytest.raises(DataError, match="different bodies"):
        ua.apply_action(state, np.zeros((T, 44)), mask, left)
