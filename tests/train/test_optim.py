"""Learning rates, groups, clipping, moving averages: laws of the update."""

from __future__ import annotations

import itertools

import pytest
import torch

from lara.errors import ConfigError
from lara.train.ema import EMA
from lara.train.optim import OptimConfig, build_optimizer, clip, lr_factor, part_norms, set_lr, total_norm
from lara.train.stage import Stage, apply_stage
from tests.train.toy import WEIGHTS, Toy, toy_batch


def applied(learn=("policy", "lam")):
    torch.manual_seed(0)
    return apply_stage(Toy(), Stage(name="s", learn=learn, weights=WEIGHTS, steps=4))


def with_gradients(stage):
    losses = stage.system.losses(toy_batch(torch.arange(4).numpy()), frozenset(WEIGHTS) - {"lam"})
    sum(losses.terms.values()).backward()
    return stage


def test_schedule_rises_linearly_falls_as_a_cosine_and_ends_at_the_ratio():
    config = OptimConfig(warmup_steps=10, lr_min_ratio=0.1)
    factors = [lr_factor(config, step, 101) for step in range(101)]
    assert factors[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.55)  # half-way
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert lr_factor(config, 5000, 101) == pytest.approx(0.1)
    assert lr_factor(OptimConfig(warmup_ratio=0.1), 4, 100) == lr_factor(OptimConfig(warmup_steps=10), 4, 100)
    assert lr_factor(OptimConfig(schedule="constant"), 99, 100) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"warmup_steps": 1, "warmup_ratio": 0.1},
        {"ema_decay": 1.0},
        {"clip_norm": 0.0},
        {"schedule": "step"},
        {"betas": (0.9,)},
        {"lr_scale": {"lam": -1.0}},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="optim"):
        OptimConfig(**wrong)


def test_groups_are_exactly_what_learns_with_the_most_specific_rate():
    stage = applied()
    config = OptimConfig(lr=1.0, lr_scale={"lam": 0.5, "lam.encoder": 0.25}, weight_decay=0.1)
    optimizer = build_optimizer(stage, config)
    named = [name for group in optimizer.param_groups for name in group["names"]]
    assert sorted(named) == sorted(stage.learning)
    assert set_lr(optimizer, config, 0, 10) == {
        "lam.encoder": 0.25,
        "lam.encoder, no decay": 0.25,
        "main": 1.0,
        "main, no decay": 1.0,
    }
    decayed = {n for g in optimizer.param_groups if g["weight_decay"] for n in g["names"]}
    assert decayed == {"encoder.linear.weight", "expert.inner.weight", "expert.head.weight"}


def test_unknown_rate_prefix_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.lr_scale names 'lamm'"):
        build_optimizer(applied(), OptimConfig(lr_scale={"lamm": 0.5}))


def test_part_norms_add_up_to_the_total_and_clipping_bounds_it():
    stage = with_gradients(applied())
    cpu = torch.device("cpu")
    total = total_norm(stage.learning, cpu)
    parts = part_norms(stage, cpu)
    assert set(parts) == {"lam.encoder", "policy.expert"}
    torch.testing.assert_close(torch.stack(list(parts.values())).square().sum().sqrt(), total)
    direction = {n: p.grad / total for n, p in stage.learning.items()}
    clip(stage.learning, total, total.item() / 3)
    torch.testing.assert_close(total_norm(stage.learning, cpu), total / 3, rtol=1e-4, atol=0)
    for name, parameter in stage.learning.items():
        torch.testing.assert_close(parameter.grad / (total / 3), direction[name], rtol=1e-4, atol=1e-6)
    small = total_norm(stage.learning, cpu)
    clip(stage.learning, small, 2 * small.item())
    torch.testing.assert_close(total_norm(stage.learning, cpu), small)


def test_found_inf_leaves_parameters_and_state_bit_unchanged():
    stage = with_gradients(applied())
    optimizer = build_optimizer(stage, OptimConfig(lr=0.1))
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    before = [p.detach().clone() for p in stage.learning.values()]
    state = [{k: v.clone() for k, v in optimizer.state[p].items()} for p in stage.learning.values()]
    for p in stage.learning.values():
        p.grad.fill_(float("nan"))
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    for p, was, saved in zip(stage.learning.values(), before, state, strict=True):
        assert torch.equal(p, was)
        assert all(torch.equal(optimizer.state[p][k], v) for k, v in saved.items())


def test_ema_follows_its_recurrence_warms_up_and_skips():
    stage = applied()
    ema = EMA(stage, 0.9)
    reference = {n: p.detach().double().clone() for n, p in stage.learning.items()}
    run, skip = torch.zeros(()), torch.ones(())
    for step in range(30):
        with torch.no_grad():
            for p in stage.learning.values():
                p.add_(torch.randn_like(p))
        stage.system.encoder.count += 1
        before = {n: v.clone() for n, v in ema.tensors.items()}
        ema.update(step, skip)
        assert all(torch.equal(ema.tensors[n], v) for n, v in before.items())
        ema.update(step, run)
        d = min(0.9, (1 + step) / (10 + step))
        reference = {n: d * r + (1 - d) * stage.learning[n].detach().double() for n, r in reference.items()}
    assert set(ema.tensors) == {*stage.learning, "encoder.code", "encoder.count"}
    assert ema.tensors["encoder.count"] == 30
    for name, value in reference.items():
        torch.testing.assert_close(ema.tensors[name].double(), value, rtol=1e-5, atol=1e-5)


def test_swapping_is_undone_bit_for_bit_even_after_an_error():
    stage = applied()
    ema = EMA(stage, 0.9)
    with torch.no_grad():
        for p in stage.learning.values():
            p.add_(1.0)
    own = {k: v.clone() for k, v in stage.system.state_dict().items()}
    averages = {k: v.clone() for k, v in ema.tensors.items()}

    def broken():
        with ema.swapped():
            inside = stage.system.state_dict()
            assert all(torch.equal(inside[k], v) for k, v in averages.items())
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert all(torch.equal(v, own[k]) for k, v in stage.system.state_dict().items())
    assert all(torch.equal(v, averages[k]) for k, v in ema.tensors.items())
