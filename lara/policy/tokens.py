"""Which tokens the action expert reads, in which order, and who may look at whom; plain data, no weights.

A layout is a list of named segments ("state", "action", and any number of latent ones) and of arrows between them. An
arrow (viewer, seen, reach) lets every token of `viewer` attend to tokens of `seen`:

    "all"   all of them
    "past"  those of its own step and of earlier ones (both segments have one token per step)
    "now"   those of its own step

Masks written out (rows look, columns are looked at; s state, z latent, u action, 1 = sees):

    StateAction(horizon=2)                LatentThenAction(latents=2, horizon=2)  LatentChunk(latents=2)
          s  u1 u2                              s  z1 z2 u1 u2                          z1 z2
      s   1  1  1                           s   1  1  1  1  1                       z1  1  1
      u1  1  1  1                           z1  0  1  1  0  0                       z2  1  1
      u2  1  1  1                           z2  0  1  1  0  0
                                            u1  1  1  1  1  1
                                            u2  1  1  1  1  1

    Interleaved(horizon=2, views=2)
          s  z1 w1 u1 z2 w2 u2            z the first view's latent of a step, w the second view's
      s   1  0  0  0  0  0  0
      z1  1  1  1  0  0  0  0
      w1  1  1  1  0  0  0  0
      u1  1  1  1  1  0  0  0
      z2  1  1  1  0  1  1  0
      w2  1  1  1  0  1  1  0
      u2  1  1  1  1  1  1  1

An arrow is one hop and an expert has many: where a latent may see the state, the state may not see an action, or the
action would reach the latent one block later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lara.errors import ConfigError

Arrow = tuple[str, str, str]  # viewer, seen, reach: "all" | "past" | "now", checked below


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """segments: (name, number of tokens), in order. arrows: see above; a pair of segments has at most one.
    context: the segments whose tokens see the vision-language tokens.
    interleaved: segments that stand step by step instead of one after the other, at the place of the first of them.

    Raises ConfigError for an unknown name, a pair named twice, no tokens, a token that sees nothing of the sequence, or
    "past", "now" and interleaving between segments of different lengths.
    """

    segments: tuple[tuple[str, int], ...]
    arrows: tuple[Arrow, ...]
    context: tuple[str, ...]
    interleaved: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = dict(self.segments)
        if not lengths or len(lengths) < len(self.segments) or any(n < 1 for n in lengths.values()):
            raise ConfigError(f"a layout needs segments of at least one token and different names, got {self.segments}")
        named = {n for viewer, seen, _ in self.arrows for n in (viewer, seen)} | {*self.context, *self.interleaved}
        if named - set(lengths):
            raise ConfigError(f"the layout has {list(lengths)} and says something of {sorted(named - set(lengths))}")
        if len({a[:2] for a in self.arrows}) < len(self.arrows):
            raise ConfigError(f"a pair of segments has at most one arrow, got {self.arrows}")
        for viewer, seen, reach in self.arrows:
            if reach not in ("all", "past", "now"):
                raise ConfigError(f"an arrow reaches all, past or now; '{viewer}' -> '{seen}' says {reach!r}")
            if reach != "all" and lengths[viewer] != lengths[seen]:
                raise ConfigError(
                    f"'{viewer}' sees '{seen}' step by step ({reach}), so they need equally many tokens; got "
                    f"{lengths[viewer]} and {lengths[seen]}"
                )
        if len({lengths[name] for name in self.interleaved}) > 1:
            raise ConfigError(f"interleaved segments need equally many tokens, got {self.segments}")
        blind = [name for name in lengths if name not in {viewer for viewer, _, _ in self.arrows}]
        if blind:
            raise ConfigError(f"every token must see at least one token, itself say; {blind} have no arrow")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.segments)

    @property
    def latents(self) -> tuple[str, ...]:
        """All segments but state and action."""
        return tuple(name for name in self.names if name not in ("state", "action"))

    def length(self, name: str) -> int:
        return dict(self.segments)[name]

    def tokens(self) -> tuple[tuple[str, int], ...]:
        """(segment, step within it) of every token, in the order of the sequence."""
        out: list[tuple[str, int]] = []
        for name, length in self.segments:
            if name not in self.interleaved:
                out += [(name, k) for k in range(length)]
            elif name == self.interleaved[0]:
                out += [(other, k) for k in range(length) for other in self.interleaved]
        return tuple(out)

    def order(self) -> Tensor:
        """(T,) int64: token i of the sequence is entry order[i] of the segments written one after the other."""
        starts, at = {}, 0
        for name, length in self.segments:
            starts[name] = at
            at += length
        return torch.tensor([starts[name] + step for name, step in self.tokens()])

    def places(self, name: str) -> Tensor:
        """(length,) int64: where in the sequence the tokens of a segment stand."""
        return torch.tensor([i for i, (other, _) in enumerate(self.tokens()) if other == name])

    def attention(self) -> Tensor:
        """(T, T) bool: row i looks at column j."""
        reach = {(viewer, seen): how for viewer, seen, how in self.arrows}

        def sees(viewer: tuple[str, int], seen: tuple[str, int]) -> bool:
            how = reach.get((viewer[0], seen[0]))
            return how == "all" or (how == "past" and seen[1] <= viewer[1]) or (how == "now" and seen[1] == viewer[1])

        tokens = self.tokens()
        return torch.tensor([[sees(viewer, seen) for seen in tokens] for viewer in tokens])

    def context_mask(self) -> Tensor:
        """(T,) bool: the tokens that see the vision-language tokens."""
        return torch.tensor([name in self.context for name, _ in self.tokens()])

    def only(self, *names: str) -> TokenLayout:
        """The layout of these segments alone, what they see of each other unchanged."""
        return TokenLayout(
            segments=tuple(s for s in self.segments if s[0] in names),
            arrows=tuple(a for a in self.arrows if a[0] in names and a[1] in names),
            context=tuple(n for n in self.context if n in names),
            interleaved=tuple(n for n in self.interleaved if n in names),
        )

    def without(self, viewers: tuple[str, ...], seen: tuple[str, ...]) -> TokenLayout:
        """The same tokens, where none of `viewers` sees any of `seen`."""
        return TokenLayout(
            segments=self.segments,
            arrows=tuple(a for a in self.arrows if not (a[0] in viewers and a[1] in seen)),
            context=self.context,
            interleaved=self.interleaved,
        )


class StateAction(TokenLayout):
    """LARA (003 section A.1): [state | action], everybody sees everybody; the layout of `FlowExpert`."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, horizon: int) -> None:
        both = ["state", "action"]
        super().__init__(**_blocks({"state": 1, "action": horizon}, {"state": both, "action": both}))


class LatentThenAction(TokenLayout):
    """RotVLA's fine-tuning (001 section 3.3): latents see vision-language tokens and latents; actions see everything.
    The state belongs to the robot's side: the paper's latents attend "only to vision-language tokens"."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, latents: int, horizon: int) -> None:
        everything = ["state", "latent", "action"]
        super().__init__(
            **_blocks(
                {"state": 1, "latent": latents, "action": horizon},
                {"state": everything, "latent": ["latent"], "action": everything},
            )
        )


class LatentChunk(TokenLayout):
    """RotVLA's pretraining (001 section 3.2): the latent is the action chunk, of N tokens."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, latents: int) -> None:
        super().__init__(**_blocks({"latent": latents}, {"latent": ["latent"]}))


class Interleaved(TokenLayout):
    """ALAM (004, Eq. 11): [state | z_1 of each view, u_1 | ... | z_H of each view, u_H]; segments latent_1, latent_2...

    Latents see the state and the latents of their own and earlier steps, never an action; an action sees the state and
    everything up to and with itself. The state sees itself alone: it stands first, and latents look at it.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, horizon: int, views: int) -> None:
        latents = tuple(f"latent_{k}" for k in range(1, views + 1))
        arrows: list[Arrow] = [("state", "state", "all")]
        for viewer in (*latents, "action"):
            seen = (*latents, "action") if viewer == "action" else latents
            arrows += [(viewer, "state", "all"), *((viewer, other, "past") for other in seen)]
        super().__init__(
            segments=(("state", 1), *((name, horizon) for name in latents), ("action", horizon)),
            arrows=tuple(arrows),
            context=("state", *latents, "action"),
            interleaved=(*latents, "action"),
        )


def _blocks(segments: dict[str, int], sees: dict[str, list[str]]) -> dict[str, Any]:
    """The fields of a layout whose segments see all tokens of others or none, and all of the context."""
    return {
        "segments": tuple(segments.items()),
        "arrows": tuple((viewer, other, "all") for viewer, seen in sees.items() for other in seen),
        "context": tuple(segments),
    }
