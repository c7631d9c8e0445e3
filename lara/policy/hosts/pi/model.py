"""pi0 (Black et al. 2024) and pi0.5 (2025): PaliGemma and a smaller Gemma that share one attention in every layer.

    images, words (bidirectional) | pi0: state | action_1 .. action_H (bidirectional)
           never look right       |  looks left |  look at everything

pi0 mixes the flow time into each action token and reads the state as one token; pi0.5 conditions the expert's norms on
the time and reads the state as text. transformers has pi0 too (PI0ForConditionalGeneration); the tests compare with it,
but it has no pi0.5, cannot mask padded action steps and does not use the published names.

B batch, H action horizon, A action dims, S state dims, E width of the expert, T = own tokens, P prefix tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.siglip import SiglipEncoder
from lara.nn.weightless import weights_wanted
from lara.ops.precision import full_precision
from lara.policy.hosts.pi import names
from lara.policy.hosts.pi.prompt import task, task_and_state
from lara.policy.hosts.pi.vlm import PaliGemmaWithExpert
from lara.policy.hosts.shared import vendor
from lara.policy.hosts.shared.checkpointing import run
from lara.policy.hosts.shared.decoder import beside
from lara.policy.hosts.shared.host import NativeHost, name_parts
from lara.policy.hosts.shared.prefix import Prefix, encode, sees_all, with_own
from lara.policy.hosts.shared.time import wave
from lara.policy.hosts.shared.tokenizer import Tokenizer
from lara.types import Observation


class Pi(NativeHost):
    """The sizes default to the vendor's (PaliGemma 3B and a 300M expert); NativeHost says what the others mean.

    path, revision: a checkpoint of lerobot or openpi (safetensors), or None for random weights.
    """

    adaptive: bool
    _linear = r"(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
    lora_regex = {  # noqa: RUF012 (read only)
        "vlm": rf"paligemma_with_expert\.paligemma\.model\.language_model\.layers\.\d+\.{_linear}",
        "expert": rf"paligemma_with_expert\.gemma_expert\.model\.layers\.\d+\.{_linear}",
    }

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        horizon: int = 50,
        action_dim: int = 32,
        state_dim: int = 32,
        views: int = 3,
        prompt_length: int,
        draws: int = 1,
        noise_in_padding: bool = False,
        checkpointing: str = "none",
        image_size: int = 224,
        patch: int = 14,
        vision_width: int = 1152,
        vision_heads: int = 16,
        vision_layers: int = 27,
        vision_mlp: int = 4304,
        width: int = 2048,
        mlp: int = 16384,
        vocabulary: int = 257152,
        expert_width: int = 1024,
        expert_mlp: int = 4096,
        layers: int = 18,
        heads: int = 8,
        key_heads: int = 1,
        head_dim: int = 256,
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
        self.width, self.blocks = expert_width, layers
        vision = SiglipEncoder(
            image_size=image_size,
            patch=patch,
            width=vision_width,
            heads=vision_heads,
            layers=vision_layers,
            mlp=vision_mlp,
        )
        self.paligemma_with_expert = PaliGemmaWithExpert(
            vision=vision,
            width=width,
            mlp=mlp,
            vocabulary=vocabulary,
            expert_width=expert_width,
            expert_mlp=expert_mlp,
            layers=layers,
            heads=heads,
            key_heads=key_heads,
            head_dim=head_dim,
            adaptive=self.adaptive,
        )
        self.image_size = image_size
        self.action_in_proj = nn.Linear(action_dim, expert_width)
        self.action_out_proj = nn.Linear(expert_width, action_dim)
        self.add_own_layers()
        if path is not None and weights_wanted():
            self.load_vendor(path, revision=revision)

    @abstractmethod
    def add_own_layers(self) -> None:
        """Registers what pi0 and pi0.5 do not have in common."""

    @abstractmethod
    def suffix(
        self, x_BHA: Tensor, state_BS: Tensor, time_B: Tensor, steps_BH: Tensor
    ) -> tuple[Float[Tensor, "B T E"], Bool[Tensor, "B T T"], Float[Tensor, "B E"] | None]:
        """The expert's own tokens, which of them each one sees, and what conditions the norms."""

    def parts(self) -> dict[str, nn.Module]:
        """ "backbone", and "expert.blocks" beside one part per projection; "expert" selects all of the latter."""
        both = self.paligemma_with_expert
        return name_parts(self, both, backbone=both.paligemma, blocks=both.gemma_expert)

    def embed_prefix(self, observation: Observation) -> Prefix:
        both = self.paligemma_with_expert
        pixels = self.pixels(observation, self.image_size)
        images = [run(both.encode_image, view, checkpointing=self.checkpointing) for view in pixels]
        ids, mask = self.tokenize(observation)
        words = both.language.embed_language_tokens(ids)
        x = torch.cat([*images, words], dim=1)
        seen = torch.ones(len(x), x.shape[1] - words.shape[1], dtype=torch.bool, device=x.device)
        mask = torch.cat([seen, mask], dim=1)
        return encode(both.language, x, mask, sees_all(mask, mask.shape[1]), self.checkpointing)

    def denoise(
        self,
        prefix: Prefix,
        x_BHA: Float[Tensor, "B H A"],
        state_BS: Float[Tensor, "B S"],
        time_B: Float[Tensor, " B"],
        steps_BH: Bool[Tensor, "B H"],
    ) -> tuple[Float[Tensor, "B H A"], dict[str, Tensor]]:
        expert = self.paligemma_with_expert.expert
        with full_precision(x_BHA):
            x, sees_own, condition = self.suffix(x_BHA, state_BS, time_B, steps_BH)
        visible = with_own(sees_all(prefix.mask_BP, x.shape[1]), sees_own)
        places = prefix.end_B[:, None] + torch.arange(x.shape[1], device=x.device)
        horizon = x_BHA.shape[1]
        states = {}
        for k, layer in enumerate(expert.layers):
            inputs = (layer, x, places, condition, prefix.keys[k], prefix.values[k], visible)
            x = run(beside, *inputs, checkpointing=self.checkpointing)
            states[f"block_{k + 1}"] = x[:, -horizon:]
        normed, _ = expert.norm(x, condition)
        states["norm_out"] = normed[:, -horizon:].float()
        with full_precision(x_BHA):
            return self.action_out_proj(states["norm_out"]), states

    def load_vendor(self, source: Mapping[str, Tensor] | str | Path, *, revision: str | None = None) -> dict[str, int]:
        """Weights of lerobot or openpi: tensors, a safetensors file, a folder or a hub name at a pinned revision.

        Raises CheckpointError, with the keys, for anything short of all parameters.
        """
        return vendor.load(self, source, revision=revision, rename=names.ours, prepare=names.with_tied_words)

    def vendor_state_dict(self, *, prefix: str = "model.") -> dict[str, Tensor]:
        """All keys of the vendor's model. prefix: "model." for lerobot, "" for openpi."""
        own = self.state_dict()
        words = own[names.WORDS]
        unread = words.new_zeros(len(words), self.width)
        return vendor.written({**own, names.HEAD: words.clone(), names.EXPERT_HEAD: unread}, prefix)


class Pi0(Pi):
    """State as one token, time mixed into every action token. Prompt: the instruction (48 tokens at the vendor's)."""

    buildable: ClassVar[str] = "model"

    adaptive = False
    exports = {"lerobot": "pi0", "openpi": "pi0"}  # noqa: RUF012 (read only)

    def add_own_layers(self) -> None:
        self.state_proj = nn.Linear(self.state_dim, self.width)
        self.action_time_mlp_in = nn.Linear(2 * self.width, self.width)
        self.action_time_mlp_out = nn.Linear(self.width, self.width)

    def prompts(self, observation: Observation) -> list[str]:
        return [task(instruction) for instruction in observation.instruction]

    def suffix(
        self, x_BHA: Tensor, state_BS: Tensor, time_B: Tensor, steps_BH: Tensor
    ) -> tuple[Float[Tensor, "B T E"], Bool[Tensor, "B T T"], Float[Tensor, "B E"] | None]:
        actions = self.action_in_proj(x_BHA)
        time = wave(time_B, self.width)[:, None].expand_as(actions)
        mixed = F.silu(self.action_time_mlp_in(torch.cat([actions, time], dim=2)))
        x = torch.cat([self.state_proj(state_BS)[:, None], self.action_time_mlp_out(mixed)], dim=1)
        real = F.pad(steps_BH, (1, 0), value=True)
        sees = real[:, None].repeat(1, x.shape[1], 1)
        sees[:, 0, 1:] = False  # the state is a block of its own: it cannot see actions
        return x, sees, None


class Pi05(Pi):
    """State as numbers in the prompt, expert norms conditioned on the time (200 prompt tokens at the vendor's).

    prompt_state_dims: leading state dims that the prompt names, padding included; lerobot writes all 32, openpi the
        robot's own number.
    """

    buildable: ClassVar[str] = "model"

    adaptive = True
    exports = {"lerobot": "pi05", "openpi": "pi05"}  # noqa: RUF012 (read only)

    def __init__(self, *, prompt_state_dims: int = 32, **pi: Any) -> None:
        self.prompt_state_dims = prompt_state_dims
        super().__init__(**pi)

    def add_own_layers(self) -> None:
        self.time_mlp_in = nn.Linear(self.width, self.width)
        self.time_mlp_out = nn.Linear(self.width, self.width)

    def prompts(self, observation: Observation) -> list[str]:
        states = observation.state_BS[:, : self.prompt_state_dims]
        # described, not run (lara show): a meta tensor has no numbers, any will do
        states = torch.zeros(states.shape, device="cpu") if states.is_meta else states.cpu()
        return [task_and_state(text, state) for text, state in zip(observation.instruction, states, strict=True)]

    def suffix(
        self, x_BHA: Tensor, state_BS: Tensor, time_B: Tensor, steps_BH: Tensor
    ) -> tuple[Float[Tensor, "B T E"], Bool[Tensor, "B T T"], Float[Tensor, "B E"] | None]:
        x = self.action_in_proj(x_BHA)
        time = F.silu(self.time_mlp_out(F.silu(self.time_mlp_in(wave(time_B, self.width)))))
        return x, steps_BH[:, None].expand(-1, x.shape[1], -1), time
