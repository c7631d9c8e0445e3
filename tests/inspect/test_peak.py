"""What `lara show` says of a step's memory, against what torch's own allocator counted in a real one."""

import itertools
import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.inspect.footprint import measure, without_lam
from lara.inspect.peak import step_timeline
from lara.train.optim import build_optimizer
from lara.train.stage import apply_stage
from tests.conf.tiny_configs import batch_for
from tests.tiny import tiny_batch, tiny_system

WEIGHTS = {"action": 1.0, "align": 0.1, "lam.reconstruction": 0.1, "lam.commitment": 0.1}


def config(*more):
    given = ["experiment=demo/lara", "data.root=x", "stage.load={}", "optim.ema_decay=null", "peft=expert_lora"]
    return resolved(compose("train", [*given, "runtime.batch_size=16", *more]))


def allocated(config, path):
    """Most bytes that the processor's allocator held at once while a system was built and took two steps."""
    batch = batch_for(config, config["runtime"]["batch_size"])
    stage = build(config["stage"], "run")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        system = build(config["system"])
        stage = stage.for_system(system)
        applied = apply_stage(system, stage)
        optimizer = build_optimizer(applied, build(config["optim"], "run"))
        for _ in range(2):
            weights = stage.weights_at(0)
            losses = system(batch, frozenset(weights))
            total = sum(weights[k] * losses.terms[k] for k in weights)
            del losses
            total.backward()
            del total
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    watched.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    moves = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    return max(itertools.accumulate(size for _, size in moves))


@pytest.mark.long
def test_what_a_lam_adds_to_a_lora_step_is_predicted_within_a_tenth(tmp_path):
    joint = config()
    alone = without_lam(joint)
    predicted = measure(joint).peak - measure(alone).peak
    measured = allocated(joint, tmp_path / "joint.json") - allocated(alone, tmp_path / "alone.json")
    print(f"predicted {predicted / 2**20:.1f} MiB, measured {measured / 2**20:.1f} MiB")
    assert predicted == pytest.approx(measured, rel=0.1)


def test_a_timeline_ends_at_the_gradients_and_a_frozen_base_holds_none():
    system = tiny_system()
    timeline = step_timeline(system, tiny_batch(), WEIGHTS)
    gradients = sum(p.numel() * 4 for p in system.parameters() if p.requires_grad)
    assert max(timeline) > timeline[-1] >= gradients * 0.9
    system.policy.requires_grad_(False)
    frozen = step_timeline(system, tiny_batch(), WEIGHTS)
    policy = sum(p.numel() * 4 for p in system.policy.parameters())
    assert timeline[-1] - frozen[-1] == pytest.approx(policy, rel=0.1)
    assert all(p.grad is None for p in system.parameters())


def test_the_meta_device_tells_what_the_processor_holds():
    system = tiny_system().eval()
    batch = tiny_batch()
    real = max(step_timeline(system, batch, WEIGHTS))
    meta = max(step_timeline(system.to("meta"), batch.to("meta"), WEIGHTS))
    assert meta == pytest.approx(real, rel=0.05)


def test_adapters_need_no_moments_for_the_base(tmp_path):
    full, lora = measure(config("system.tuning.preset=expert_only")), measure(config())
    moments = "optimiser (two moments)"
    assert lora.memory[moments] < full.memory[moments]
    assert lora.memory["parameters and buffers"] > full.memory["parameters and buffers"]
    assert lora.peak < full.peak


def test_a_configuration_without_a_lam_has_no_share_for_it():
    assert without_lam(without_lam(config())) is None
    assert torch.get_default_device().type == "cpu"
