"""A small causal text decoder over bytes: a next-token objective for models that have no language head of their own.

    <end> b_1 b_2 ...  -> causal self-attention, cross-attention to what was seen ->  b_1 b_2 ... <end>

Bytes of UTF-8 need no vocabulary, nothing is unknown, and what is written can be read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.attention import Attention
from lara.nn.cross import CrossBlock
from lara.nn.vit import learned_positions

END = 256


class CausalAttention(Attention):
    """Self-attention in which token i sees tokens 0..i."""

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"] | None = None,
        key_mask_BJ: Bool[Tensor, "B J"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        query = rearrange(self.query(x_BTE), "b t (h d) -> b h t d", h=self.heads)
        key, value = rearrange(self.key_value(x_BTE), "b j (two h d) -> two b h j d", two=2, h=self.heads)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.out(rearrange(out, "b h t d -> b t (h d)"))
        return mixed


class Writer(nn.Module):
    """width: of its own tokens and of the context's. length: bytes that are learned of a text; the rest is cut off (a
    text that was cut has no <end>)."""

    def __init__(self, *, width: int, heads: int, layers: int = 1, length: int = 48) -> None:
        super().__init__()
        self.length = length
        self.embed = nn.Embedding(END + 1, width)
        self.positions = learned_positions(length, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.before = nn.ModuleList(CausalAttention(width, heads) for _ in range(layers))
        self.seen = nn.ModuleList(CrossBlock(width, heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, END + 1)

    def forward(
        self,
        ids_BT: Tensor,
        context_BJE: Float[Tensor, "B J E"],
        mask_BJ: Bool[Tensor, "B J"] | None = None,
    ) -> Float[Tensor, "B T K"]:
        """Scores of the next byte (or END) after each of T <= length ids, the first of which is END."""
        x = self.embed(ids_BT) + self.positions[:, : ids_BT.shape[1]]
        for norm, before, seen in zip(self.norms, self.before, self.seen, strict=True):
            x = seen(x + before(norm(x)), context_BJE, mask_BJ)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def loss(
        self, texts: tuple[str, ...], context_BJE: Float[Tensor, "B J E"], mask_BJ: Bool[Tensor, "B J"] | None = None
    ) -> Float[Tensor, ""]:
        """-log p of the next byte, in nats, averaged over all bytes (and ends) of the batch (002, Eq. 5)."""
        targets = torch.tensor([self.targets(text) for text in texts], device=context_BJE.device)
        start = torch.full_like(targets[:, :1], END)
        ids_BT = torch.cat([start, targets[:, :-1].clamp(min=0)], dim=1)
        scores = self(ids_BT, context_BJE, mask_BJ)
        return F.cross_entropy(scores.float().flatten(0, 1), targets.flatten(), ignore_index=-1)

    def targets(self, text: str) -> list[int]:
        """`length` ids: bytes, END if there is room, -1 for nothing."""
        ids = [*text.encode(), END][: self.length]
        return ids + [-1] * (self.length - len(ids))

    @torch.no_grad()
    def write(self, context_BJE: Float[Tensor, "B J E"], mask_BJ: Bool[Tensor, "B J"] | None = None) -> list[str]:
        """The likeliest next byte, one after the other, until END or `length`."""
        ids = torch.full((len(context_BJE), 1), END, device=context_BJE.device)
        for _ in range(self.length):
            following = self(ids[:, -self.length :], context_BJE, mask_BJ)[:, -1:].argmax(dim=-1)
            ids = torch.cat([ids, following], dim=1)
        out = []
        for row in ids[:, 1:].tolist():
            ended = row.index(END) if END in row else len(row)
            out.append(bytes(row[:ended]).decode(errors="replace"))
        return out
