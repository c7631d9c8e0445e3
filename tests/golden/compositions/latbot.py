"""LatBot's stages 2 and 3: a student taught by a frozen LAM, and an expert on that student."""

import torch

from lara.policy.backbones.compact_student import CompactStudent
from lara.policy.student import BackboneOnly
from lara.systems.couplings.distillation import Distillation
from lara.systems.couplings.pose_and_gripper import PoseAndGripper
from lara.systems.lara import Lara
from tests.golden.compositions import Composition
from tests.tiny import SIZE, tiny_latbot, tiny_policy


def student():
    torch.manual_seed(3)
    return CompactStudent(dim=8, scene=2, motion=3, views=1, image_size=SIZE, patch=16, width=32, heads=4, layers=1)


def policy():
    made = tiny_policy(draws=2)
    made.backbone = student()
    return made


def distill():
    lam = tiny_latbot()
    return Lara(lam=lam, policy=BackboneOnly(backbone=student()), coupling=Distillation())


COMPOSITIONS = {
    "latbot_distill": Composition(distill),
    "latbot_finetune": Composition(lambda: Lara(policy=policy(), coupling=PoseAndGripper(gripper_dims=[3]))),
}
