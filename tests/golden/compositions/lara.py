"""LARA: the pieces alone, the joint system, and every knob of the alignment."""

import dataclasses

import torch

from lara.losses.alignment import CentredCosine, InfoNCE, RawCosine
from lara.systems.couplings.alignment import Alignment
from lara.systems.lam import LamSystem
from lara.systems.lara import Lara
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.rotation import RotationTriplets
from tests.golden.compositions import Composition
from tests.golden.compositions.lam import additive_lam, rotation_lam, triplets
from tests.tiny import ACTION, HORIZON, tiny_batch, tiny_lam, tiny_policy, tiny_system


def beside_policy(lam, objective):
    return Lara(policy=tiny_policy(), lam=lam, coupling=Alignment(objective=RawCosine), objective=objective)


def labelled():
    """LAPA's stage A: a LAM's latents stand where a robot's actions would, and no dimension is padding."""
    batch = tiny_batch()
    z = torch.randn(len(batch), HORIZON, ACTION, generator=torch.Generator().manual_seed(11))
    observation = dataclasses.replace(
        batch.observation,
        embodiment_B=torch.full_like(batch.observation.embodiment_B, 2),
        action_dims_BA=torch.ones_like(batch.observation.action_dims_BA),
    )
    return dataclasses.replace(
        batch, observation=observation, actions_BHA=z, action_mask_BHA=torch.ones_like(batch.action_mask_BHA)
    )


COMPOSITIONS = {
    "lam_only": Composition(lambda: LamSystem(lam=tiny_lam())),
    "dit_only": Composition(lambda: Lara(policy=tiny_policy())),
    "lara": Composition(tiny_system),
    "lara_two_draws": Composition(lambda: tiny_system(draws=2)),
    "lara_half_batch": Composition(lambda: tiny_system(fraction=0.5)),
    "lara_centred": Composition(lambda: tiny_system(objective=CentredCosine)),
    "lara_infonce": Composition(lambda: tiny_system(objective=InfoNCE)),
    "lara_floor": Composition(lambda: tiny_system(floor=1.0)),
    "lara_ema_target": Composition(lambda: tiny_system(target="ema")),
    "lara_last_layer_mean_pool": Composition(lambda: tiny_system(depth=0, pool="mean", projector_layers=2)),
    "lara_additive_laws": Composition(lambda: beside_policy(additive_lam(), AdditiveLaws()), triplets),
    "lara_rotation_triplets": Composition(lambda: beside_policy(rotation_lam(), RotationTriplets()), triplets),
    "lapa_labels": Composition(lambda: Lara(policy=tiny_policy()), labelled),
}
