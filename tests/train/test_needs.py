"""Terms over actions are refused where there are none; every system says rightly which of its terms they are."""

import dataclasses

import pytest
import torch

from lara.config.build import build
from lara.config.compose import compose, left_open, resolved
from lara.errors import ConfigError
from lara.train.needs import require_actions
from lara.train.stage import Stage
from tests.conf.tiny_configs import batch_for, shrink, without_lpips
from tests.tiny import open_gates
from tests.train.toy import Toy


def stage(**weights):
    return Stage(name="s", learn=("policy",), weights=weights, steps=10)


def test_only_a_weighed_term_over_actions_is_refused_and_only_where_there_are_none():
    weighed = stage(action=1.0, align=1.0, **{"lam.size": 1.0})
    require_actions(weighed, Toy(), dims=1, source="x")
    require_actions(stage(action=None, align=1.0), Toy(), dims=0, source="x")
    with pytest.raises(
        ConfigError, match=r"weighs action: expected .* actions, x has none .*stage\.weights\.action=null"
    ):
        require_actions(weighed, Toy(), dims=0, source="x")


def test_a_term_that_only_begins_with_a_weight_is_refused_too():
    fading = stage(action={"value": 1.0, "schedule": "stop", "steps": 3}, align=1.0)
    with pytest.raises(ConfigError, match="weighs action"):
        require_actions(fading, Toy(), dims=0, source="x")


SYSTEMS = {
    "demo/lara": {"action", "align"},
    "latbot/tiny_lam": {"lam.action"},
    "rotvla/tiny_pretrain": set(),
    "rotvla/tiny_aligned": {"action", "align"},
    "alam/tiny_transfer": {"action"},
    "moto/tiny_actions": {"action"},
    "latbot/tiny_distill": set(),
    "latbot/tiny_finetune": {"action", "end_effector", "gripper"},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_action_terms_are_those_that_learn_nothing_once_no_action_is_real(name):
    """By gradients: with every action masked, a term over actions moves nothing, and each other one still does."""
    given = ["data.root=x", "lam_run=x", "init=x", "labels=x"]
    composed = compose("train", [f"experiment={name}", given[0], *(o for o in given[1:] if _asks(name, o))])
    config = without_lpips(shrink(resolved(composed)))
    torch.manual_seed(0)
    system = build(config["system"])
    system.requires_grad_(True)
    open_gates(system)
    assert set(system.action_terms()) == SYSTEMS[name]
    assert set(system.action_terms()) <= set(system.terms())
    batch = batch_for(config)
    nothing = dataclasses.replace(
        batch,
        actions_BHA=torch.zeros_like(batch.actions_BHA),
        action_mask_BHA=torch.zeros_like(batch.action_mask_BHA),
        observation=dataclasses.replace(
            batch.observation, action_dims_BA=torch.zeros_like(batch.observation.action_dims_BA)
        ),
    )
    for term in system.terms():
        system.zero_grad()
        value = system.losses(nothing, frozenset({term})).terms[term]
        if value.requires_grad:
            value.backward()
        moved = any(p.grad is not None and bool(p.grad.any()) for p in system.parameters())
        assert moved == (term not in system.action_terms()), term


def _asks(name, override):
    return override.split("=")[0] in left_open(compose("train", [f"experiment={name}"]))
