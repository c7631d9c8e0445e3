"""Tiny real systems and batches for tests: every class is the library's own, only the sizes are small."""

from __future__ import annotations

import dataclasses
from functools import partial

import torch

from lara.lam.decoders.pixel import PixelDecoder
from lara.lam.decoders.unified import PatchStream, UnifiedDecoder
from lara.lam.encoders.patches import PatchEncoder
from lara.lam.former import MFormer
from lara.lam.formers.instructed import InstructedFormer
from lara.lam.latbot import LatBotLam
from lara.lam.model import LatentActionModel
from lara.latents.scene_motion import SceneMotionSpace
from lara.latents.vq import VQSpace
from lara.losses.alignment import RawCosine
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbones.compact import CompactBackbone
from lara.policy.expert import FlowExpert
from lara.policy.policy import Policy
from lara.policy.tokens import StateAction, TokenLayout
from lara.systems.couplings.alignment import Alignment
from lara.systems.lara import Lara
from lara.types import Batch, Observation

SIZE, HORIZON, ACTION, STATE = 32, 4, 6, 5


def tiny_lam(**changes) -> LatentActionModel:
    torch.manual_seed(changes.pop("seed", 0))
    settings = {
        "encoder": PatchEncoder(image_size=SIZE, patch=16, width=32),
        "former": partial(MFormer, width=32, heads=4, layers=1),
        "space": VQSpace(dim=8, codes=16),
        "decoder": partial(PixelDecoder, image_size=SIZE, patch=8, width=32, heads=4, layers=1),
        "queries": 2,
    }
    return LatentActionModel(**{**settings, **changes})


def tiny_latbot(**changes) -> LatBotLam:
    torch.manual_seed(changes.pop("seed", 0))
    sizes = {"image_size": SIZE, "patch": 16, "width": 32, "heads": 4, "layers": 1}
    settings = {
        "former": partial(InstructedFormer, frames=changes.get("frames", 2), **sizes),
        "space": SceneMotionSpace(dim=8, scene=2, motion=3),
        "decoder": partial(
            UnifiedDecoder,
            stream=partial(PatchStream, **sizes),
            width=32,
            heads=4,
            horizon=HORIZON,
            action_dim=ACTION,
            state_dim=changes.pop("state_dim", STATE),
        ),
    }
    return LatBotLam(**{**settings, **changes})


def tiny_policy(*, horizon: int = HORIZON, **changes) -> Policy:
    """LARA's layout; changes: those of `tiny_policy_over`."""
    return tiny_policy_over(StateAction(horizon=horizon), latent_dim=None, **changes)


def tiny_policy_over(
    layout: TokenLayout,
    *,
    latent_dim: int | None = 7,
    project: bool = False,
    blocks: int = 4,
    views: int = 1,
    seed: int = 0,
    **changes,
) -> Policy:
    """A tiny policy over any layout; changes: generation, process, draws."""
    torch.manual_seed(seed)
    return Policy(
        backbone=CompactBackbone(views=views, image_size=SIZE, patch=16, width=32),
        adapter=partial(SelfAttentionAdapter, heads=4),
        expert=partial(
            FlowExpert,
            layout=layout,
            width=32,
            heads=4,
            blocks=blocks,
            latent_dim=latent_dim,
            project_latents=project,
            action_dim=ACTION,
            state_dim=STATE,
            slots=3,
        ),
        **changes,
    )


def tiny_system(*, draws: int = 1, lam: dict | None = None, **align) -> Lara:
    objective = align.pop("objective", RawCosine)
    return Lara(
        policy=tiny_policy(draws=draws),
        lam=tiny_lam(**(lam or {})),
        coupling=Alignment(objective=objective, **align),
    )


def open_gates(module: torch.nn.Module, seed: int = 1) -> None:
    """Fresh AdaLN gates and heads are zero, which makes an expert the identity; tests of what flows open them.

    An expert's head is opened after its trunk, in the order in which its weights are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad and not p.any()]
    trunk = max((i for i, (name, _) in enumerate(named) if "trunk." in name and "expert." in name), default=-1)
    heads = [pair for pair in named[: trunk + 1] if "robot.decode_action" in pair[0]]
    rest = [pair for pair in named[: trunk + 1] if "robot.decode_action" not in pair[0]]
    with torch.no_grad():
        for _, p in (*rest, *heads, *named[trunk + 1 :]):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.05)


def open_frozen_gates(module: torch.nn.Module, seed: int = 2) -> None:
    """The same for what does not learn: adapters sit on a base whose gates were trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if not p.requires_grad and p.is_floating_point() and not p.any():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.05)


def tiny_batch(n: int = 6, *, views: int = 1, horizon: int = HORIZON, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (n, 2, 1, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    dims = torch.zeros(n, ACTION, dtype=torch.bool)
    dims[:, :4] = True
    mask = dims[:, None].expand(n, horizon, ACTION).clone()
    observation = Observation(
        images_BVCHW=frames[:, 0].expand(n, max(views, 1), 3, SIZE, SIZE)[:, :views],
        state_BS=torch.randn(n, STATE, generator=g),
        instruction=tuple(f"open drawer {k}" for k in range(n)),
        embodiment_B=torch.arange(n) % 3,
        action_dims_BA=dims,
    )
    return Batch(
        observation=observation,
        actions_BHA=torch.randn(n, horizon, ACTION, generator=g) * mask,
        action_mask_BHA=mask,
        frames_BFVCHW=frames,
        frame_mask_BF=torch.ones(n, 2, dtype=torch.bool),
        index_B=torch.arange(n),
    )


def shorten(batch: Batch, steps: int) -> Batch:
    """The same batch with only the first `steps` action steps real."""
    mask = batch.action_mask_BHA.clone()
    mask[:, steps:] = False
    return dataclasses.replace(batch, action_mask_BHA=mask, actions_BHA=batch.actions_BHA * mask)
