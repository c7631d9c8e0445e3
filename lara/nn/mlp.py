"""Feed-forward layers, plain and one-per-embodiment."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear -> GELU -> Linear; the transformer's feed-forward."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, out or width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out


class EmbodimentLinear(nn.Module):
    """One linear layer per robot: sample b uses the weights of slot `embodiment_B[b]` (GR00T-N1's category-specific
    linear; 003 section A.1). Slots never used keep their initialisation and receive no gradient."""

    def __init__(self, slots: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(slots, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(slots, outputs))

    def forward(self, x_BTE: Float[Tensor, "B T I"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B T O"]:
        return torch.baddbmm(self.bias[embodiment_B][:, None], x_BTE, self.weight[embodiment_B])


class EmbodimentMLP(nn.Module):
    """EmbodimentLinear -> GELU -> EmbodimentLinear."""

    def __init__(self, slots: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.up = EmbodimentLinear(slots, inputs, hidden)
        self.down = EmbodimentLinear(slots, hidden, outputs)

    def forward(self, x_BTE: Float[Tensor, "B T I"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B T O"]:
        out: Tensor = self.down(F.gelu(self.up(x_BTE, embodiment_B), approximate="tanh"), embodiment_B)
        return out
