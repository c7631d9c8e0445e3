"""SANA as the image stream of the unified decoder (002, section 6.2: initialised from SANA-1.6B's weights).

The frame is compressed by SANA's autoencoder (DC-AE, frozen), moved through the transformer's blocks, and decompressed.
What 002 leaves open, and what is done here: nothing is denoised. The current frame's latent, without noise and at one
fixed flow time, goes in; what comes out is added to it and is the future frame's latent, in one deterministic pass. The
scene tokens take the place of the caption.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.lam.decoders.unified import Canvas
from lara.nn.images import PixelNormalizer
from lara.nn.weightless import weights_wanted


class SanaStream(nn.Module):
    """path: a local folder in diffusers' format, with the subfolders "transformer" and "vae".

    timestep: SANA's conditioning time in [0, 1000], 0 = a clean image (which the current frame is).
    Frames must be square, with sides that are a multiple of the autoencoder's compression (32 px) times the patch.
    Raises MissingExtraError without diffusers, CheckpointError if the folder holds no such models, ConfigError for
    frames that do not fit.
    """

    buildable: ClassVar[str] = "model"

    transformer: Any
    vae: Any

    def __init__(self, *, scene: int, dim: int, path: str, timestep: float = 0.0, dtype: str = "float32") -> None:
        super().__init__()
        try:
            from diffusers import AutoencoderDC, SanaTransformer2DModel
        except ImportError as error:
            raise missing_extra("diffusers", "diffusers", "A SANA image stream") from error
        self.transformer = _load(SanaTransformer2DModel, path, "transformer", getattr(torch, dtype))
        self.vae = _load(AutoencoderDC, path, "vae", getattr(torch, dtype))
        self.vae.requires_grad_(False)
        config = self.transformer.config
        if config.guidance_embeds or config.in_channels != self.vae.config.latent_channels:
            raise ConfigError(
                f"'{path}' must hold an undistilled SANA and its own autoencoder; got guidance_embeds="
                f"{config.guidance_embeds}, {config.in_channels} transformer and {self.vae.config.latent_channels} "
                "autoencoder channels"
            )
        # scene tokens enter where SANA's captions enter, behind the map that was made for caption features
        self.up = nn.Linear(dim, config.caption_channels)
        self.timestep = timestep
        self.normalizer = PixelNormalizer()
        self.width = config.num_attention_heads * config.attention_head_dim
        self.layers = config.num_layers

    def train(self, mode: bool = True) -> SanaStream:
        super().train(mode)
        self.vae.eval()
        return self

    def start(self, now: UInt8[Tensor, "B C h w"], scene_BQD: Float[Tensor, "B Q D"]) -> Canvas:
        step = self.vae.spatial_compression_ratio * self.transformer.config.patch_size
        if now.shape[-1] % step or now.shape[-2] % step:
            raise ConfigError(f"frames for this SANA need sides that are multiples of {step}, got {tuple(now.shape)}")
        with torch.no_grad():
            latent = self.vae.encode(self.normalizer(now).to(self.vae.dtype)).latent * self.vae.config.scaling_factor
        n = len(now)
        time = torch.full((n,), self.timestep, device=now.device)
        modulation, embedded = self.transformer.time_embed(time, batch_size=n, hidden_dtype=self.transformer.dtype)
        caption = self.transformer.caption_projection(self.up(scene_BQD).to(self.transformer.dtype))
        caption = self.transformer.caption_norm(caption.view(n, -1, self.width))
        # between layers the tokens are in the precision of the other stream, which reads them
        x = self.transformer.patch_embed(latent.to(self.transformer.dtype)).to(scene_BQD.dtype)
        return Canvas(x, (latent, caption, modulation, embedded))

    def step(self, k: int, canvas: Canvas) -> Canvas:
        latent, caption, modulation, _ = canvas.fixed
        patch = self.transformer.config.patch_size
        rows, columns = latent.shape[-2] // patch, latent.shape[-1] // patch
        x = canvas.x.to(self.transformer.dtype)
        x = self.transformer.transformer_blocks[k](x, None, caption, None, modulation, rows, columns)
        return canvas._replace(x=x.to(canvas.x.dtype))

    def finish(self, canvas: Canvas) -> Float[Tensor, "B C h w"]:
        latent, _, _, embedded = canvas.fixed
        patch = self.transformer.config.patch_size
        rows, columns = latent.shape[-2] // patch, latent.shape[-1] // patch
        x = self.transformer.norm_out(canvas.x.to(self.transformer.dtype), embedded, self.transformer.scale_shift_table)
        x = self.transformer.proj_out(x).unflatten(1, (rows, columns)).unflatten(-1, (patch, patch, -1))
        change = x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        future = (latent + change) / self.vae.config.scaling_factor
        image: Tensor = self.vae.decode(future.to(self.vae.dtype)).sample.float()
        return image


def _load(cls: Any, path: str, subfolder: str, dtype: torch.dtype) -> Any:
    try:
        if not weights_wanted():
            return cls.from_config(cls.load_config(path, subfolder=subfolder, local_files_only=True)).to(dtype)
        return cls.from_pretrained(path, subfolder=subfolder, torch_dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"no {cls.__name__} could be loaded from '{path}/{subfolder}': {error}\nGive the path of a local folder as "
            "diffusers saves it (transformer/config.json, vae/config.json, *.safetensors)."
        ) from error
