"""SmolVLA (Shukor et al. 2025): SmolVLM2 and an expert that shares its attention in every other layer.

    images, words (bidirectional) | state | action_1 .. action_H (causal)

The state is the last token of the PREFIX, and the action tokens are causal, so that the last one has seen all others.
As published (lerobot 0.4.4): in the layers between the shared ones the expert's queries start at position 0, and its
keys are a projection of the image-text model's ROTATED keys.

B batch, H action horizon, A action dims, S state dims, T = H own tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.siglip import SiglipEncoder
from lara.nn.weightless import weights_wanted
from lara.ops.precision import full_precision
from lara.policy.hosts.shared import vendor
from lara.policy.hosts.shared.checkpointing import run
from lara.policy.hosts.shared.decoder import Layer, attend, beside
from lara.policy.hosts.shared.host import NativeHost, name_parts
from lara.policy.hosts.shared.prefix import Prefix, encode, sees_all, with_own
from lara.policy.hosts.shared.time import wave
from lara.policy.hosts.shared.tokenizer import Tokenizer
from lara.policy.hosts.smolvla import names
from lara.policy.hosts.smolvla.prompt import task_as_it_is
from lara.policy.hosts.smolvla.vlm import SmolVLMWithExpert
from lara.types import Observation


class SmolVLA(NativeHost):
    """The sizes default to the vendor's (half of SmolVLM2-500M and an expert of 0.75 its width).

    shuffle: patches per side that become one image token. self_every: see smolvlm. eps: of all norms of both stacks.
    path, revision: a checkpoint of lerobot (safetensors), or None for random weights.
    """

    buildable: ClassVar[str] = "model"

    _linear = r"(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
    exports = {"lerobot": "smolvla"}  # noqa: RUF012 (read only)
    lora_regex = {  # noqa: RUF012 (read only)
        "vlm": rf"vlm_with_expert\.vlm\.model\.text_model\.layers\.\d+\.{_linear}",
        "expert": rf"vlm_with_expert\.lm_expert\.layers\.\d+\.{_linear}",
    }

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        horizon: int = 50,
        action_dim: int = 32,
        state_dim: int = 32,
        views: int = 3,
        prompt_length: int = 48,
        draws: int = 1,
        noise_in_padding: bool = False,
        checkpointing: str = "none",
        image_size: int = 512,
        patch: int = 16,
        vision_width: int = 768,
        vision_heads: int = 12,
        vision_layers: int = 12,
        vision_mlp: int = 3072,
        shuffle: int = 4,
        width: int = 960,
        mlp: int = 2560,
        vocabulary: int = 49280,
        expert_width: int = 720,
        expert_mlp: int = 2048,
        layers: int = 16,
        heads: int = 15,
        key_heads: int = 5,
        head_dim: int = 64,
        self_every: int = 2,
        eps: float = 1e-5,
        path: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            horizon=horizon,
            action_dim=action_dim,
            state_dim=state_dim,
            views=views,
            prompt_length=prompt_length,
            draws=draws,
            noise_in_padding=noise_in_padding,
            checkpointing=checkpointing,
        )
        self.width, self.blocks, self.image_size = expert_width, layers, image_size
        vision = SiglipEncoder(
            image_size=image_size,
            patch=patch,
            width=vision_width,
            heads=vision_heads,
            layers=vision_layers,
            mlp=vision_mlp,
        )
        self.vlm_with_expert = SmolVLMWithExpert(
            vision=vision,
            shuffle=shuffle,
            width=width,
            mlp=mlp,
            vocabulary=vocabulary,
            expert_width=expert_width,
            expert_mlp=expert_mlp,
            layers=layers,
            heads=heads,
            key_heads=key_heads,
            head_dim=head_dim,
            self_every=self_every,
            eps=eps,
        )
        self.state_proj = nn.Linear(state_dim, width)
        self.action_in_proj = nn.Linear(action_dim, expert_width)
        self.action_out_proj = nn.Linear(expert_width, action_dim)
        self.action_time_mlp_in = nn.Linear(2 * expert_width, expert_width)
        self.action_time_mlp_out = nn.Linear(expert_width, expert_width)
        if path is not None and weights_wanted():
            self.load_vendor(path, revision=revision)

    def parts(self) -> dict[str, nn.Module]:
        """ "backbone", and "expert.blocks" beside one part per projection; "expert" selects all of the latter."""
        both = self.vlm_with_expert
        return name_parts(self, both, backbone=both.vlm, blocks=both.lm_expert)

    def prompts(self, observation: Observation) -> list[str]:
        return [task_as_it_is(instruction) for instruction in observation.instruction]

    def embed_prefix(self, observation: Observation) -> Prefix:
        both = self.vlm_with_expert
        pixels = self.pixels(observation, self.image_size, place="bottom_right")
        images = [run(both.encode_image, view, checkpointing=self.checkpointing) for view in pixels]
        ids, mask = self.tokenize(observation)
        with full_precision(observation.state_BS):
            state = self.state_proj(observation.state_BS)[:, None]
        x = torch.cat([*images, both.language.embed_language_tokens(ids), state], dim=1)
        seen = torch.ones(len(x), x.shape[1] - mask.shape[1] - 1, dtype=torch.bool, device=x.device)
        mask = torch.cat([seen, mask, torch.ones_like(mask[:, :1])], dim=1)
        visible = sees_all(mask, mask.shape[1]).clone()
        visible[:, :-1, -1] = False  # images and words do not see the state
        return encode(both.language, x, mask, visible, self.checkpointing)

    def denoise(
        self,
        prefix: Prefix,
        x_BHA: Float[Tensor, "B H A"],
        state_BS: Float[Tensor, "B S"],
        time_B: Float[Tensor, " B"],
        steps_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        both, horizon = self.vlm_with_expert, x_BHA.shape[1]
        with full_precision(x_BHA):
            actions = self.action_in_proj(x_BHA)
            time = wave(time_B, self.width)[:, None].expand_as(actions)
            x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(torch.cat([actions, time], dim=2))))
        sees_prefix = sees_all(prefix.mask_BP, horizon)
        causal = torch.ones(horizon, horizon, dtype=torch.bool, device=x.device).tril()
        visible = with_own(sees_prefix, steps_BH[:, None] & causal)
        count = torch.arange(horizon, device=x.device)
        own, after = count.expand(len(x), -1), prefix.end_B[:, None] + count
        states = {}
        for k, layer in enumerate(both.expert.layers):
            keys, values = prefix.keys[k], prefix.values[k]
            if both.shares_attention(k):
                x = run(beside, layer, x, after, None, keys, values, visible, checkpointing=self.checkpointing)
            else:
                x = run(_at, layer, x, own, keys, values, sees_prefix, checkpointing=self.checkpointing)
            states[f"block_{k + 1}"] = x
        normed, _ = both.expert.norm(x, None)
        states["norm_out"] = normed.float()
        with full_precision(x_BHA):
            return self.action_out_proj(states["norm_out"]), states

    def load_vendor(self, source: Mapping[str, Tensor] | str | Path, *, revision: str | None = None) -> dict[str, int]:
        """Weights of lerobot: tensors, a safetensors file, a folder or a hub name at a pinned revision.

        Raises CheckpointError, with the keys, for anything short of all parameters.
        """
        return vendor.load(self, source, revision=revision, rename=names.ours, prepare=dict)

    def vendor_state_dict(self, *, prefix: str = "model.") -> dict[str, Tensor]:
        """All keys of lerobot's policy; the unread language head is written as zeros."""
        own = self.state_dict()
        words = self.vlm_with_expert.language.embed_tokens.weight
        return vendor.written({**own, names.HEAD: torch.zeros_like(words)}, prefix)


def _at(layer: Layer, x: Tensor, places: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    """One expert layer that looks at the prefix alone, through its own projections of the prefix's keys and values."""
    q, gate = layer.query(x, places)
    flat_keys, flat_values = (rearrange(side, "b k p d -> b p (k d)") for side in (keys, values))
    k, v = layer.self_attn.key(flat_keys), layer.self_attn.value(flat_values)
    return layer.finish(x, attend(q, k, v, visible), gate)
