"""One step by itself: what the loop used to compute, without waiting for the device, compiled, accumulated, timed."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lara.errors import ConfigError
from lara.train.ema import EMA
from lara.train.optim import OptimConfig, build_optimizer
from lara.train.stage import Stage, apply_stage
from lara.train.step import TrainingStep, weighted_sum
from lara.types import Losses
from tests.train.toy import WEIGHTS, Toy, ToyData, toy_batch

OPTIM = OptimConfig(lr=1e-2, warmup_steps=2, lr_scale={"lam": 0.5})


def stage(**changes):
    return Stage(**{"name": "toy", "learn": ("policy", "lam"), "weights": WEIGHTS, "steps": 9, **changes})


def step_of(system, *, optim=OPTIM, ema=None, accumulate=1, compiled=False, **changes):
    plan = stage(**changes)
    applied = apply_stage(system, plan)
    return TrainingStep(
        applied,
        build_optimizer(applied, optim),
        stage=plan,
        optim=optim,
        ema=None if ema is None else EMA(applied, ema),
        accumulate=accumulate,
        model=torch.compile(system, backend="aot_eager") if compiled else None,
    )


def batches(count, size=4):
    loader = ToyData().loader(start_step=0, batch_size=size, rank=0, world=1, workers=0)
    return [next(loader) for _ in range(count)]


# means over three steps each, recorded with the loop of before there was a step (toy.run, 9 steps, no noise)
RECORDED = {
    "loss": [1.22315, 0.834847, 1.21581],
    "action": [1.10982, 0.797731, 1.21581],
    "grad_norm": [0.836236, 0.571229, 0.907611],
    "z_std": [1.03339, 0.943511, 0.889292],
}


def test_nine_steps_are_those_of_the_loop_that_had_no_step():
    step, given = step_of(Toy(noise=0.0), ema=0.9), batches(9)
    outputs = [step(iter([batch]), k) for k, batch in enumerate(given)]
    for name, expected in RECORDED.items():
        found = [float(np.mean([o.scalars[name].item() for o in outputs[k : k + 3]])) for k in (0, 3, 6)]
        assert found == pytest.approx(expected, rel=1e-4), name
    assert [sorted(o.weights) for o in outputs[4:6]] == [["action", "align", "lam.size"], ["action", "align"]]
    assert outputs[0].lr["main"] == pytest.approx(0.5e-2)


def test_accumulated_micro_batches_are_one_big_batch():
    # no codebook (it moves once per forward) and no noise; tolerance: float32 sums in another order
    whole, split = Toy(noise=0.0), Toy(noise=0.0)
    one = step_of(whole, learn=("policy",))
    four = step_of(split, learn=("policy",), accumulate=4)
    for k, batch in enumerate(batches(3, size=8)):
        index = batch.index_B.numpy()
        parts = iter([toy_batch(index[i : i + 2]) for i in range(0, 8, 2)])
        a, b = one(iter([batch]), k), four(parts, k)
        torch.testing.assert_close(a.scalars["loss"], b.scalars["loss"], rtol=1e-5, atol=0)
        assert next(parts, None) is None
        assert [i for part in b.index for i in part.tolist()] == a.index[0].tolist()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value, rtol=0, atol=2e-6)


class Waiting(TorchDispatchMode):
    """Refuses every operation whose answer the host needs before it can go on."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"):
            raise AssertionError(f"{function.name()} waits for the device")
        return function(*args, **(kwargs or {}))


def test_a_step_does_not_wait_for_the_device():
    step, given = step_of(Toy(), ema=0.9, accumulate=2), batches(4)
    with Waiting():
        for k in (0, 1):
            step(iter(given[2 * k : 2 * k + 2]), k, by_part=True)
        with pytest.raises(AssertionError, match="waits for the device"):
            torch.ones(()).item()


def test_a_compiled_step_is_the_plain_one():
    plain, compiled = Toy(noise=0.0), Toy(noise=0.0)
    one, two = step_of(plain), step_of(compiled, compiled=True)
    for k, batch in enumerate(batches(2)):
        torch.manual_seed(k)  # dropout
        a = one(iter([batch]), k)
        torch.manual_seed(k)
        b = two(iter([batch]), k)
        torch.testing.assert_close(a.scalars["loss"], b.scalars["loss"], rtol=1e-5, atol=1e-7)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=0, atol=2e-5)
    assert "forward" not in vars(compiled)  # the system is as it was


def test_a_step_can_be_repeated_on_one_batch_to_time_it():
    step = step_of(Toy(), steps=1000)
    batch = itertools.repeat(batches(1)[0])
    start = time.perf_counter()
    losses = [step(batch, k).scalars["action"] for k in range(40)]
    assert (time.perf_counter() - start) / 40 < 1.0
    assert torch.stack(losses[-5:]).mean() < torch.stack(losses[:5]).mean()  # it learned the batch by heart


def test_the_sum_takes_exactly_the_terms_that_are_weighed_and_adds_in_float32():
    terms = {"a": torch.tensor(1.0), "b": torch.tensor(256.0, dtype=torch.bfloat16)}
    total = weighted_sum(Losses(terms, {}), {"b": 1.0, "a": 1.0})
    assert total.dtype == torch.float32
    assert total.item() == 257.0  # in bfloat16 it would be 256
    for weights in ({"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}):
        with pytest.raises(ConfigError, match="exactly the terms asked for"):
            weighted_sum(Losses(terms, {}), weights)
