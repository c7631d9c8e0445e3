"""Policies that generate latents beside actions: ALAM's transfer, RotVLA's stages II and III."""

import dataclasses
from functools import partial

import torch

from lara.lam.encoders.patches import PatchEncoder
from lara.lam.former import MFormer
from lara.lam.transitions import TransitionEncoder
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.losses.alignment import RawCosine
from lara.losses.flow import velocity_l1, velocity_mse
from lara.nn.softvq import SoftVQ
from lara.policy.generation import TwoStage
from lara.policy.process import Diffusion
from lara.policy.tokens import Interleaved, LatentChunk, LatentThenAction, StateAction
from lara.systems.couplings.alignment import Alignment
from lara.systems.couplings.chunk_latent import ChunkLatent
from lara.systems.couplings.step_latents import StepLatents
from lara.systems.lara import Lara
from tests.golden.compositions import Composition, redrawn
from tests.tiny import HORIZON, SIZE, tiny_batch, tiny_policy_over

N, QUERIES, DIM = 4, 2, 8


def teacher(space, queries):
    torch.manual_seed(5)
    return TransitionEncoder(
        encoder=PatchEncoder(image_size=SIZE, patch=16, width=32),
        former=partial(MFormer, width=32, heads=4, layers=1),
        space=space,
        queries=queries,
    )


def rotvla_policy(layout, **more):
    policy = redrawn(tiny_policy_over(layout, latent_dim=N if layout.latents else None, draws=2))
    lam = teacher(RotationSpace(dim=N, softvq=SoftVQ(dim=N, codes=8)), N) if layout.latents else None
    return Lara(policy=policy, lam=lam, coupling=ChunkLatent(**more))


def alam_policy(views=1, error=velocity_l1, lam=True, **policy):
    layout = Interleaved(horizon=HORIZON, views=views)
    policy = redrawn(tiny_policy_over(layout, latent_dim=QUERIES * DIM, project=True, draws=2, **policy))
    lam = teacher(AdditiveSpace(dim=DIM), QUERIES) if lam else None
    return Lara(policy=policy, lam=lam, coupling=StepLatents(error=error))


def transitions(n=4, views=1):
    """H + 1 frames; those of one sample end before the chunk does."""
    frames = torch.randint(
        0, 256, (n, HORIZON + 1, views, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mask = torch.ones(n, HORIZON + 1, dtype=torch.bool)
    mask[0, 3:] = False
    return dataclasses.replace(tiny_batch(n), frames_BFVCHW=frames, frame_mask_BF=mask)


def written_down(n=4):
    """The same latents as labels of a dataset."""
    batch = transitions(n)
    z = torch.randn(n, HORIZON, 1, QUERIES * DIM, generator=torch.Generator().manual_seed(4))
    real = batch.frame_mask_BF[:, :-1] & batch.frame_mask_BF[:, 1:]
    none = {"frames_BFVCHW": batch.frames_BFVCHW[:, :0], "frame_mask_BF": batch.frame_mask_BF[:, :0]}
    return dataclasses.replace(batch, **none, latents_BTVD=z * real[..., None, None], latent_mask_BT=real)


both = LatentThenAction(latents=N, horizon=HORIZON)
COMPOSITIONS = {
    "rotvla_policy_stage_2": Composition(lambda: rotvla_policy(LatentChunk(latents=N))),
    "rotvla_policy_stage_3": Composition(lambda: rotvla_policy(both)),
    "rotvla_policy_aligned": Composition(lambda: rotvla_policy(both, align=Alignment(objective=RawCosine))),
    "rotvla_policy_without_planner": Composition(lambda: rotvla_policy(StateAction(horizon=HORIZON)), tiny_batch),
    "alam_policy": Composition(alam_policy, transitions),
    "alam_policy_two_cameras": Composition(lambda: alam_policy(views=2), lambda: transitions(views=2)),
    "alam_policy_labels": Composition(lambda: alam_policy(lam=False), written_down),
    "alam_policy_two_stage": Composition(lambda: alam_policy(generation=TwoStage()), transitions),
    "alam_policy_diffusion": Composition(lambda: alam_policy(process=Diffusion(), error=velocity_mse), transitions),
}
