"""What stands before and after the trunk for each kind of token: a robot's state and actions, or a latent stream.

D latent dims of one token, W the width at which it is noised and denoised, E width of the trunk.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lara.nn.mlp import MLP, EmbodimentMLP
from lara.nn.vit import learned_positions

SETTLE = 100  # batches after which the scale of a latent stands still
SMALLEST = 1e-6


class RobotStream(nn.Module):
    """State and action tokens, with MLPs of each robot's own; the velocity head starts at zero.

    The head is made by `add_head`, after whatever stands between the two ends.
    """

    def __init__(self, *, width: int, horizon: int, action_dim: int, state_dim: int, slots: int) -> None:
        super().__init__()
        self.slots, self.width, self.action_dim = slots, width, action_dim
        self.encode_state = EmbodimentMLP(slots, state_dim, width, width)
        self.encode_action = EmbodimentMLP(slots, action_dim, width, width)
        self.state_position = learned_positions(1, width)
        self.positions = learned_positions(horizon, width)

    def add_head(self) -> None:
        """Makes `decode_action`."""
        self.decode_action = EmbodimentMLP(self.slots, self.width, self.width, self.action_dim)
        nn.init.zeros_(self.decode_action.down.weight)

    def state(self, state_BS: Float[Tensor, "B S"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B 1 E"]:
        token: Tensor = self.encode_state(state_BS[:, None], embodiment_B) + self.state_position
        return token

    def actions(self, x_BHA: Float[Tensor, "B H A"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B H E"]:
        tokens: Tensor = self.encode_action(x_BHA, embodiment_B) + self.positions
        return tokens

    def decode(self, h_BHE: Float[Tensor, "B H E"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B H A"]:
        velocity: Tensor = self.decode_action(h_BHE, embodiment_B)
        return velocity


class LatentStream(nn.Module):
    """Latent tokens, shared by all robots.

    tokens: T. dim: D. project_to: W where latents are linearly projected before they are noised (ALAM: the action
    width); None noises them as they are, W = D. The projection starts orthonormal and learns through what the network
    SEES; what it must answer is held fixed (detached in `policy.generation`), or projecting to nothing would be
    cheapest.
    """

    def __init__(self, *, tokens: int, dim: int, width: int, project_to: int | None = None) -> None:
        super().__init__()
        self.dim = project_to or dim
        self.scale = RunningScale()
        self.project: nn.Module = nn.Identity()
        if project_to is not None:
            self.project = nn.Linear(dim, project_to, bias=False)
            nn.init.orthogonal_(self.project.weight)
        self.encode = MLP(self.dim, width, width)
        self.positions = learned_positions(tokens, width)
        self.head = MLP(width, width, self.dim)
        nn.init.zeros_(self.head.down.weight)
        nn.init.zeros_(self.head.down.bias)

    def data(self, z_BTD: Float[Tensor, "B T D"], real_BT: Tensor) -> Float[Tensor, "B T W"]:
        """Latents at the size of unit noise; 0 where they are not real."""
        z = self.scale(torch.where(real_BT[..., None], z_BTD, torch.zeros_like(z_BTD)), real_BT)
        small: Tensor = self.project(z)
        return small

    def embed(self, x_BTW: Float[Tensor, "B T W"]) -> Float[Tensor, "B T E"]:
        tokens: Tensor = self.encode(x_BTW) + self.positions
        return tokens

    def decode(self, h_BTE: Float[Tensor, "B T E"]) -> Float[Tensor, "B T W"]:
        velocity: Tensor = self.head(h_BTE)
        return velocity


class RunningScale(nn.Module):
    """Divides by the root mean square of everything seen in the first `SETTLE` training batches, then stands still.

    One number, so that sums, signs and angles of latents stay what they are. Noise has size 1; a rotation of N dims has
    entries of size 1/sqrt(N), and what a freshly trained LAM puts out may be far smaller.
    """

    square: Tensor
    batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("square", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, z_BTD: Float[Tensor, "B T D"], real_BT: Tensor) -> Float[Tensor, "B T D"]:
        if self.training:
            with torch.no_grad():
                count = real_BT.sum() * z_BTD.shape[-1]
                now = z_BTD.float().square().sum() / count.clamp(min=1)
                learns = (self.batches < SETTLE) & (count > 0)
                mean = self.square + (now - self.square) / (self.batches + 1)
                self.square = torch.where(learns, mean, self.square)
                self.batches = self.batches + learns
        return z_BTD / self.square.sqrt().clamp(min=SMALLEST)
