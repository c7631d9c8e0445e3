from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from lara.errors import ConfigError
from lara.evaluation.protocol import Protocol, protocol_differences, protocol_from_dict, spoken_instructions


def protocol(**changes):
    values = {
        "benchmark": "toy",
        "tasks": ("reach-red", "reach-blue"),
        "episodes": 3,
        "goal_seed": 1,
        "policy_seed": 0,
        "max_steps": 30,
        "settle_steps": 0,
        "success_mode": "first",
        "cameras": ("top",),
        "image_size": 16,
        "camera_positions": {},
        "render_profile": "fast",
        "execute": 4,
        "state": ("x", "y"),
        "instruction": "own",
        "versions": {},
    }
    return Protocol(**{**values, **changes})


CHANGES = {
    "benchmark": "other",
    "tasks": ("reach-blue", "reach-red"),
    "episodes": 4,
    "goal_seed": 2,
    "policy_seed": 1,
    "max_steps": 31,
    "settle_steps": 1,
    "success_mode": "last",
    "cameras": ("top", "side"),
    "image_size": 32,
    "camera_positions": {"top": (0, 0, 1)},
    "render_profile": "reference",
    "execute": 5,
    "state": ("x",),
    "instruction": "wrong",
    "versions": {"toy": "2"},
}


def test_every_field_changes_the_hash_and_no_two_changes_collide():
    assert set(CHANGES) == {f.name for f in fields(Protocol)}
    changed = [protocol(**{name: value}) for name, value in CHANGES.items()]
    assert len({p.hash for p in [protocol(), *changed]}) == len(CHANGES) + 1
    for name, other in zip(CHANGES, changed, strict=True):
        assert [line.split(":")[0] for line in protocol_differences(protocol(), other)] == [name]


def test_the_hash_survives_json_and_does_not_depend_on_container_or_order():
    original = protocol(camera_positions={"top": [0, 1, 2]}, versions={"b": "2", "a": "1"})
    again = protocol_from_dict(json.loads(json.dumps(original.to_dict())))
    assert again == original
    assert again.hash == original.hash
    as_lists = protocol(
        tasks=["reach-red", "reach-blue"],
        camera_positions={"top": (0.0, 1.0, 2.0)},
        versions={"a": "1", "b": "2"},
    )
    assert as_lists.hash == original.hash


@pytest.mark.parametrize(
    "wrong",
    [
        {"episodes": 0},
        {"episodes": 2.0},
        {"execute": 0},
        {"goal_seed": -1},
        {"goal_seed": 2**32},
        {"success_mode": "any"},
        {"instruction": "none"},
        {"render_profile": "pretty"},
        {"tasks": ()},
        {"tasks": ("a", "a")},
        {"tasks": "reach-red"},
        {"camera_positions": {"side": (0, 0, 0)}},
        {"camera_positions": {"top": (0, 0)}},
    ],
)
def test_bad_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        protocol(**wrong)


def test_unknown_and_missing_keys_are_refused():
    data = protocol().to_dict()
    with pytest.raises(ConfigError, match="surprise"):
        protocol_from_dict({**data, "surprise": 1})
    del data["execute"]
    with pytest.raises(ConfigError, match="execute"):
        protocol_from_dict(data)


def test_versions_are_filled_in_or_must_agree():
    filled = protocol().with_versions({"toy": "1"})
    assert filled.versions == (("toy", "1"),)
    assert filled.with_versions({"toy": "1"}) == filled
    with pytest.raises(ConfigError, match="toy: protocol 1, installed 2"):
        filled.with_versions({"toy": "2"})


def test_noise_keys_are_distinct_and_do_not_depend_on_the_other_tasks():
    p = protocol()
    keys = {p.noise_key(t, e, r) for t in p.tasks for e in range(3) for r in range(5)}
    assert len(keys) == 2 * 3 * 5
    assert replace(p, tasks=("reach-blue",)).noise_key("reach-blue", 1, 2) == p.noise_key("reach-blue", 1, 2)
    assert protocol(policy_seed=5).noise_key("reach-red", 0, 0) != p.noise_key("reach-red", 0, 0)


def test_a_wrong_instruction_is_never_the_tasks_own_words():
    own = {"push": "Push it", "push-back": "Push it", "door": "Open", "drawer": "Pull"}
    p = protocol(tasks=tuple(own), instruction="wrong")
    spoken = spoken_instructions(p, own)
    assert all(spoken[t] != own[t] for t in own)
    assert spoken["push"] == "Open"
    assert spoken_instructions(replace(p, instruction="own"), own) == own
    with pytest.raises(ConfigError, match="two tasks"):
        spoken_instructions(protocol(tasks=("push", "push-back"), instruction="wrong"), own)
