"""Latent action models alone, under each objective."""

import dataclasses
from functools import partial

import torch
from torch import nn

from lara.lam.decoders.features import FeatureDecoder
from lara.lam.encoders.patches import PatchEncoder
from lara.lam.features import FeatureActionModel
from lara.lam.former import MFormer
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.latents.vq import VQSpace
from lara.nn.softvq import SoftVQ
from lara.ops.masks import masked_mean
from lara.systems.lam import LamSystem
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.clips import Clips
from lara.systems.objectives.rotation import RotationTriplets
from tests.golden.compositions import Composition
from tests.tiny import SIZE, tiny_batch, tiny_lam, tiny_latbot


class Blurred(nn.Module):
    """In the place of LPIPS, whose weights would have to be downloaded: the difference of blurred images."""

    def forward(self, prediction, target, mask_B):
        blurred = nn.functional.avg_pool2d(prediction - target, 4)
        return masked_mean(blurred.abs().mean(dim=(1, 2, 3)), mask_B)


def additive_lam(**changes):
    space = AdditiveSpace(dim=8, quantizer=VQSpace(dim=8, codes=16))
    former = partial(MFormer, width=32, heads=4, layers=1, difference=True)
    return tiny_lam(space=space, former=former, **changes)


def rotation_lam(softvq=True, **changes):
    space = RotationSpace(dim=4, softvq=SoftVQ(dim=4, codes=8) if softvq else None)
    return tiny_lam(space=space, queries=4, **changes)


def feature_lam():
    torch.manual_seed(0)
    return FeatureActionModel(
        encoder=PatchEncoder(image_size=SIZE, patch=16, width=32),
        former=partial(MFormer, width=32, heads=4, layers=1),
        space=AdditiveSpace(dim=8),
        decoder=partial(FeatureDecoder, width=32, heads=4, layers=1),
        queries=2,
    )


def triplets(n=6, views=1):
    """Frames at a < b < c; the last frame of one sample is past its episode's end."""
    frames = torch.randint(
        0, 256, (n, 3, views, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mask = torch.ones(n, 3, dtype=torch.bool)
    mask[1, 2] = False
    return dataclasses.replace(tiny_batch(n), frames_BFVCHW=frames, frame_mask_BF=mask)


def clips(frames=4):
    batch = tiny_batch()
    images = torch.randint(
        0, 256, (len(batch), frames, 1, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )
    mask = torch.ones(len(batch), frames, dtype=torch.bool)
    return dataclasses.replace(batch, frames_BFVCHW=images, frame_mask_BF=mask)


def additive(lam):
    return LamSystem(lam=lam, objective=AdditiveLaws())


def rotation(lam):
    return LamSystem(lam=lam, objective=RotationTriplets())


def latbot(**changes):
    return LamSystem(lam=tiny_latbot(**changes), objective=Clips())


COMPOSITIONS = {
    "lam_features": Composition(lambda: LamSystem(lam=feature_lam())),
    "lam_perceptual": Composition(lambda: LamSystem(lam=tiny_lam(perceptual=Blurred(), features=True))),
    "alam": Composition(lambda: additive(additive_lam()), triplets),
    "alam_perceptual": Composition(lambda: additive(additive_lam(perceptual=Blurred())), triplets),
    "alam_two_cameras": Composition(lambda: additive(additive_lam()), lambda: triplets(views=2)),
    "alam_features": Composition(lambda: additive(feature_lam()), triplets),
    "rotvla": Composition(lambda: rotation(rotation_lam()), triplets),
    "rotvla_perceptual": Composition(lambda: rotation(rotation_lam(perceptual=Blurred())), triplets),
    "rotvla_without_softvq": Composition(lambda: rotation(rotation_lam(softvq=False)), triplets),
    "latbot": Composition(latbot),
    "latbot_clips": Composition(lambda: latbot(frames=4, perceptual=Blurred()), clips),
}
