"""A frozen pretrained ViT from timm as frame encoder (LARA: MAE-L; RotVLA: DINOv2).

timm's ViTs keep patch order. The Hugging Face ViTMAE class shuffles patches at random even at mask ratio 0, so the
same pair would give another z each time; it is not used here on purpose.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.nn.images import PixelNormalizer
from lara.nn.weightless import weights_wanted


class TimmEncoder(nn.Module):
    """(N, 3, h, w) uint8 frames -> (N, P, width) patch tokens (class and register tokens dropped), without gradient.

    name:       timm model name, e.g. "vit_large_patch16_224.mae", "vit_base_patch14_dinov2.lvd142m".
    weights:    "hub" downloads through timm; a path loads a local safetensors file strictly; "random" is for tests.
    image_size: the input is resized to this (bilinear) when frames come in another size. Defaults to the model's own.

    Mean and std come from the model's own config, in every stage.
    """

    buildable: ClassVar[str] = "model"

    vit: Any

    def __init__(self, *, name: str, weights: str, image_size: int | None = None) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise missing_extra("timm", "vision", "A frozen ViT encoder") from error
        if not timm.is_model(name.split(".")[0]):
            raise ConfigError(f"timm has no model '{name}'; see timm.list_models('vit*')")
        extra: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
        try:
            self.vit = timm.create_model(name, pretrained=weights == "hub" and weights_wanted(), num_classes=0, **extra)
        except (OSError, RuntimeError) as error:
            if weights != "hub":
                raise
            raise CheckpointError(
                f"the weights of '{name}' could not be downloaded ({error}). Without network, pass a local safetensors "
                "file: lam.encoder.weights=/path/to/model.safetensors"
            ) from error
        if weights not in ("hub", "random") and weights_wanted():
            self._load(weights)
        self.vit.requires_grad_(False)
        config = self.vit.default_cfg
        self.normalizer = PixelNormalizer(config["mean"], config["std"])
        self.image_size = self.vit.patch_embed.img_size[0]
        self.width = self.vit.embed_dim
        self.tokens = self.vit.patch_embed.num_patches

    def _load(self, path: str) -> None:
        from safetensors.torch import load_file

        tensors = load_file(path)
        own = self.vit.state_dict()
        missing = sorted(set(own) - set(tensors))
        unexpected = sorted(k for k in set(tensors) - set(own) if not k.startswith(("head.", "fc_norm.")))
        if missing or unexpected:
            raise CheckpointError(
                f"{path} does not fit this ViT: {len(missing)} of {len(own)} keys missing (first: {missing[:3]}), "
                f"{len(unexpected)} unexpected (first: {unexpected[:3]}). Is it the timm export of this very model?"
            )
        self.vit.load_state_dict({k: v for k, v in tensors.items() if k in own})

    def train(self, mode: bool = True) -> TimmEncoder:
        """Always in eval mode: a frozen encoder has no dropout and no statistics to move."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: UInt8[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        return self._encode(self.normalizer(frames))

    def forward_unit(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        """The same for float images in [0, 1] (a prediction), with gradient to them through the frozen ViT."""
        return self._encode(self.normalizer.from_unit(images))

    def _encode(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        if x.shape[-1] != self.image_size or x.shape[-2] != self.image_size:
            x = F.interpolate(x, size=(self.image_size, self.image_size), mode="bilinear", antialias=True)
        tokens: Tensor = self.vit.forward_features(x)[:, self.vit.num_prefix_tokens :]
        return tokens
