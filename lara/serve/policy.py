"""A trained system behind the client protocol: pictures and joint numbers in, actions in robot units out.

Everything the transforms need (camera order, image size, statistics, padding, embodiment slot) comes from the
checkpoint's own data card, so that serving cannot drift from training.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from lara.data.card import Cards, DataCard
from lara.data.frames.resize import resize_area
from lara.errors import CheckpointError, SpecError
from lara.serve.client import PolicyCard
from lara.serve.load import load_policy_side
from lara.store.plain import decoding
from lara.systems.system import System
from lara.types import Observation


def load_policy(
    *,
    checkpoint: str,
    ema: bool = True,
    steps: int = 5,
    device: str = "cpu",
    threads: int | None = None,
    latents: str = "use",
    embodiment: str | None = None,
) -> TrainedPolicy:
    """A run folder, one checkpoint folder, or one made by `lara export policy to=native` -> a policy that acts.

    Only the policy is built; LAM and alignment play no part in acting.

    Args:
        checkpoint: the folder.
        ema: the moving average of the weights where the checkpoint has one.
        steps: Euler steps per chunk.
        device: of torch.
        threads: of torch, for several processes on one machine; None leaves them alone.
        latents: of a policy that generates latents beside actions, what the actions get of them: "use", or one of
            ALAM's test-time interventions "freeze", "block", "shuffle" (004, Table 11); it becomes part of the policy's
            identity.
        embodiment: as which of the robots that the policy was trained on it acts; None: there is only one.

    Raises:
        CheckpointError: when the checkpoint has no policy or does not fill it completely.
        ConfigError: for an intervention on a policy without latents, and for an embodiment that it does not know.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    system, saved = load_policy_side(checkpoint, ema=ema)
    identity = f"{checkpoint} ({saved.name})"
    if latents != "use":
        system.intervene(latents)
        identity += f", latents={latents}"
    if embodiment is not None:
        identity += f", embodiment={embodiment}"
    with decoding(saved.path / "data.json", CheckpointError):
        card = Cards.from_dict(saved.card).only(embodiment)
    return TrainedPolicy(system.to(device), card, steps=steps, identity=identity)


class TrainedPolicy:
    """A PolicyClient (see serve.client) around a system that can act."""

    def __init__(self, system: System, card: DataCard, *, steps: int, identity: str) -> None:
        """Raises CheckpointError for a policy that was trained on data without actions."""
        if card.robot.action.dim == 0:
            raise CheckpointError(
                f"{identity} was trained on {card.robot.name} without actions, so it knows none; fine-tune it on a "
                "robot's data first (experiment=rotvla/tiny_finetune, say)"
            )
        self.system, self.data, self.steps, self.identity = system, card, steps, identity
        self.device = next(iter(system.parameters())).device
        self._action_dims_BA = torch.from_numpy(card.action_dims())[None].to(self.device)

    def card(self) -> PolicyCard:
        robot = self.data.robot
        seen = type(robot.observation)(cameras=tuple(self.data.cameras), state=robot.observation.state)
        return PolicyCard(
            name=robot.name,
            action=robot.action,
            observation=seen,
            horizon=self.data.horizon,
            privileged=False,
            image_size=None,
            identity=self.identity,
            instructions=tuple(self.data.instructions),
        )

    def reset(self) -> None:
        """Nothing is remembered between chunks."""

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        """(H, A) float32 in robot units. The noise is a function of observation["key"] alone."""
        generator = torch.Generator().manual_seed(_seed(observation["key"]))
        chunk = self.system.act(self.observe(observation), steps=self.steps, generator=generator)
        state = np.asarray(observation["state"], np.float32)
        return self.data.robot_actions(chunk.actions_BHA[0].float().cpu().numpy(), state)

    def observe(self, observation: dict[str, Any]) -> Observation:
        """The body's observation as the training data would have shown it, with a batch axis of 1."""
        card = self.data
        missing = [c for c in card.cameras if c not in observation["images"]]
        if missing:
            raise SpecError(f"the policy needs the cameras {list(card.cameras)}; the observation lacks {missing}")
        size = card.image_size
        stacked = np.zeros((1, card.views, size, size, 3), np.uint8)  # views without a camera are black, as in training
        for view, camera in enumerate(card.cameras):
            image = np.asarray(observation["images"][camera])[None]
            stacked[:, view] = resize_area(image, size, fit=card.image_fit)
        state = card.padded_states(np.asarray(observation["state"], np.float32))[None]
        on = self.device
        return Observation(
            images_BVCHW=torch.from_numpy(stacked).permute(0, 1, 4, 2, 3).contiguous().to(on),
            state_BS=torch.from_numpy(state).to(on),
            instruction=(observation["instruction"],),
            embodiment_B=torch.tensor([card.slot], device=on),
            action_dims_BA=self._action_dims_BA,
        )


class CheckpointPolicy(TrainedPolicy):
    """`load_policy` as a configuration names it (conf/client/checkpoint.yaml)."""

    buildable: ClassVar[str] = "body"

    def __init__(
        self,
        *,
        checkpoint: str,
        ema: bool = True,
        steps: int = 5,
        device: str = "cpu",
        threads: int | None = None,
        latents: str = "use",
        embodiment: str | None = None,
    ) -> None:
        made = load_policy(
            checkpoint=checkpoint,
            ema=ema,
            steps=steps,
            device=device,
            threads=threads,
            latents=latents,
            embodiment=embodiment,
        )
        super().__init__(made.system, made.data, steps=steps, identity=made.identity)


def _seed(key: tuple[int, ...]) -> int:
    """A counter (seed, task, episode, replan) -> 63 bits, mixed so that neighbours are unrelated."""
    return int(np.random.SeedSequence(list(key)).generate_state(2, np.uint64)[0] >> 1)
