"""pi0, pi0.5 and SmolVLA with random weights and a few thousand parameters."""

from __future__ import annotations

import torch

from lara.policy.hosts.pi.model import Pi0, Pi05
from lara.policy.hosts.shared.host import NativeHost
from lara.policy.hosts.shared.tokenizer import WordHashTokenizer
from lara.policy.hosts.smolvla.model import SmolVLA
from tests.tiny import ACTION, HORIZON, SIZE, STATE

HOSTS = ("pi0", "pi05", "smolvla")
CLASSES = {"pi0": Pi0, "pi05": Pi05, "smolvla": SmolVLA}


def tiny_host(name: str, *, seed: int = 0, randomise: bool = True, **changes) -> NativeHost:
    """Every weight is random, also those that start at zero, so that everything matters to what comes out."""
    settings = {
        "tokenizer": WordHashTokenizer(64),
        "horizon": HORIZON,
        "action_dim": ACTION,
        "state_dim": STATE,
        "views": 3,
        "prompt_length": 48,
        "image_size": SIZE,
        "patch": 16,
        "vision_width": 16,
        "vision_heads": 2,
        "vision_layers": 1,
        "vision_mlp": 24,
        "width": 24,
        "mlp": 32,
        "vocabulary": 64,
        "expert_width": 16,
        "expert_mlp": 32,
        "layers": 3,
        "heads": 4,
        "key_heads": 2,
        "head_dim": 8,
    }
    if name == "smolvla":
        settings["shuffle"] = 2
    torch.manual_seed(seed)
    host = CLASSES[name](**{**settings, **changes})
    if not randomise:
        return host
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in host.parameters():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 else 0.3
            p.copy_(torch.randn(p.shape, generator=generator) * scale)
    return host
