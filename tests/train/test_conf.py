"""The configuration files of training build what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lara.config.build import build
from lara.errors import ConfigError
from lara.train.optim import OptimConfig
from lara.train.runtime import RuntimeConfig
from lara.train.stage import Stage
from lara.train.tracking import JsonlTracker, TensorboardTracker, WandbTracker

CONF = Path(__file__).parents[2] / "conf"


def made(group: str, name: str):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(overrides=[f"+{group}={name}", "+name=x"])
    return build(OmegaConf.to_container(config[group], resolve=True), "run")


@pytest.mark.parametrize(
    ("group", "name", "kind"),
    [
        ("optim", "adamw", OptimConfig),
        ("runtime", "cpu", RuntimeConfig),
        ("runtime", "one_gpu", RuntimeConfig),
        ("runtime", "ddp", RuntimeConfig),
        ("tracking", "jsonl", JsonlTracker),
        ("tracking", "tensorboard", TensorboardTracker),
        ("tracking", "wandb", WandbTracker),
        ("stage", "lam_pretrain", Stage),
        ("stage", "joint_pretrain", Stage),
        ("stage", "joint_posttrain", Stage),
        ("stage", "dit_only", Stage),
    ],
)
def test_every_file_builds(group, name, kind):
    assert type(made(group, name)) is kind


def test_the_gpu_runtime_differs_where_it_must():
    cpu, gpu = made("runtime", "cpu"), made("runtime", "one_gpu")
    assert (cpu.device, cpu.precision, gpu.device, gpu.precision) == ("cpu", "fp32", "cuda", "bf16")
    assert cpu.batch_size == gpu.batch_size


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "tpu"},
        {"precision": "fp16"},
        {"batch_size": 0},
        {"log_every": 2.5},
        {"validate_every": 0},
        {"keep_last": True},
    ],
)
def test_impossible_runtimes_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"runtime.{next(iter(wrong))}"):
        RuntimeConfig(**wrong)
