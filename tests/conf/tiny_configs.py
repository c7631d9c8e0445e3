"""Configurations of conf/ at a size that a test can step, and batches with the shapes that they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from omegaconf import DictConfig, OmegaConf

from lara.config.compose import compose, left_open, resolved


class EverythingIsX(dict):
    """A value for every key that a configuration may leave open."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return "x"


def filled(config: DictConfig, values: Mapping[str, str]) -> DictConfig:
    """The same configuration with what it leaves open set: composing it a second time would take as long again."""
    for key in left_open(config):
        if key in values:
            OmegaConf.update(config, key, values[key])
    return config


def experiment(name, paligemma, sana):
    """The experiment, tiny; what it leaves open is named by its own configuration."""
    values = {"data.root": "x", "init": "x", "labels": "x", "lam_run": "x", "policy.backbone.path": paligemma}
    values |= {"lam.former.path": paligemma, "lam.decoder.stream.path": sana, "policy.backbone.processor.path": "x"}
    values |= {"policy.embodiment": "new_embodiment"}
    return shrink(resolved(filled(compose("train", f"experiment={name}".split()), values)))


def shrink(config):
    """The same structure at a size that a test can step: every width 32, images 32 px."""
    config = {**config, "image_size": 32}
    config["data"] |= {"image_size": 32}
    if config["data"].get("lam"):
        config["data"]["lam"] |= {"image_size": 32}
    system = config["system"]
    if system.get("policy") and ".hosts." in system["policy"]["_target_"]:
        config["system"] = system = {**system, "policy": _tiny_host(config)}
    elif system.get("policy") and "expert" not in system["policy"]:
        _shrink_student(system["policy"]["backbone"])
    elif system.get("policy") and "dim" in system["policy"]["backbone"]:
        _shrink_student(system["policy"]["backbone"])
        system["policy"]["adapter"]["heads"] = 2
        system["policy"]["expert"] |= {"width": 32, "heads": 4, "slots": 3}
    elif system.get("policy"):
        system["policy"]["expert"] |= {"width": 32, "heads": 4, "slots": 3}
        if system["policy"]["expert"]["blocks"] > 16:
            system["policy"]["expert"]["blocks"] = 4
        if "image_size" in system["policy"]["backbone"]:
            system["policy"]["backbone"] |= {"image_size": 32, "width": 32}
            system["policy"]["adapter"]["heads"] = 4
        else:
            system["policy"]["backbone"]["dtype"] = "float32"
            system["policy"]["adapter"]["heads"] = 2
    if system.get("lam") and "encoder" not in system["lam"]:
        _shrink_latbot(system["lam"])
    elif system.get("lam"):
        encoder = system["lam"]["encoder"]
        encoder |= (
            {"image_size": 32, "width": 32, "patch": 16}
            if "patch" in encoder
            else {"name": "vit_tiny_patch16_224.augreg_in21k", "weights": "random", "image_size": 32}
        )
        system["lam"]["former"] |= {"width": 32, "heads": 4, "layers": 1}
        if "reads" in system["lam"]["former"]:
            system["lam"]["former"]["reads"] = 4
        if "decoder" in system["lam"]:
            pixels = {"image_size": 32, "patch": 16} if "image_size" in system["lam"]["decoder"] else {}
            system["lam"]["decoder"] |= {**pixels, "width": 32, "heads": 4, "layers": 1}
        if system["lam"].get("perceptual"):
            system["lam"]["perceptual"] = {
                **system["lam"]["perceptual"],
                "network": "alex",
                "backbone_weights": "random",
            }
    return config


def _tiny_host(config):
    """A policy made elsewhere, by the small configuration that stands beside its full one."""
    sizes = [f"{key}={config[key]}" for key in ("horizon", "action_dim", "state_dim")]
    small = resolved(
        compose(
            "train", [f"policy={config['recipe']['host']}_tiny", "data.root=x", "lam=patches", "image_size=32", *sizes]
        )
    )
    policy = small["system"]["policy"]
    if "head" in policy:  # N1.7's small head is as wide as its own example's robot
        policy["head"] |= {"action_dim": config["action_dim"], "state_dim": config["state_dim"]}
    return policy


def _shrink_student(student):
    student |= {"dim": 8, "scene": 2, "motion": 2}
    student |= {"image_size": 32, "width": 32} if "image_size" in student else {"dtype": "float32"}


def _shrink_latbot(lam):
    small = {"image_size": 32, "patch": 16, "width": 32, "heads": 4, "layers": 1}
    lam["space"] |= {"dim": 8, "scene": 2, "motion": 2}
    lam["former"] |= {"dtype": "float32"} if "path" in lam["former"] else small
    lam["decoder"] |= {"width": 32, "heads": 2}
    lam["decoder"]["stream"] |= {"dtype": "float32"} if "path" in lam["decoder"]["stream"] else small


def batch_for(config, n=3):
    """A random batch with the shapes that this config's data would give."""
    from lara.inspect.footprint import example_batch

    torch.manual_seed(0)
    batch = example_batch(config["data"], n)

    def real(x):
        if not isinstance(x, torch.Tensor):
            return x
        if x.dtype == torch.bool:
            return torch.ones(x.shape, dtype=torch.bool)
        if x.dtype == torch.uint8:
            return torch.randint(0, 256, x.shape, dtype=torch.uint8)
        return torch.randn(x.shape) if x.is_floating_point() else torch.zeros(x.shape, dtype=x.dtype)

    observation = dataclasses.replace(
        batch.observation,
        **{f.name: real(getattr(batch.observation, f.name)) for f in dataclasses.fields(batch.observation)},
    )
    rest = {f.name: real(getattr(batch, f.name)) for f in dataclasses.fields(batch) if f.name != "observation"}
    return dataclasses.replace(batch, observation=observation, **rest)


# LPIPS on 32 px images is smaller than AlexNet's pooling allows
def without_lpips(config):
    if config["system"].get("lam") and config["system"]["lam"].get("perceptual"):
        config["system"]["lam"]["perceptual"] = None
        if "lam" in config["stage"]["weights"]:
            config["stage"]["weights"]["lam"]["lpips"] = None
    return config
