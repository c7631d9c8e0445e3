"""LatBot's stages 2 and 3: a student taught by a frozen LAM, and an expert on that student."""

import torch

from lara.policy.backbones.compact_student import CompactStudent
from lara.systems.latbot_distill import LatBotDistill
from lara.systems.latbot_finetune import LatBotFinetune
from tests.golden.compositions import Composition
from tests.tiny import SIZE, tiny_latbot, tiny_policy


def student():
    torch.manual_seed(3)
    return CompactStudent(dim=8, scene=2, motion=3, views=1, image_size=SIZE, patch=16, width=32, heads=4, layers=1)


def policy():
    made = tiny_policy(draws=2)
    made.backbone = student()
    return made


COMPOSITIONS = {
    "latbot_distill": Composition(lambda: LatBotDistill(lam=tiny_latbot(), policy=student())),
    "latbot_finetune": Composition(lambda: LatBotFinetune(policy=policy(), gripper_dims=[3])),
}
