"""Released Moto and LARA "latent motion tokenizers", read without running a word of theirs.

The released architecture (Chen et al. 2024, Moto; 003 section A.1) is this project's own with other small print: a
frozen MAE ViT that keeps its class token, M-Former and decoder with exact GELU and LayerNorm eps 1e-12, a gradient
codebook. `MotoEncoder`, `MotoFormer` and `MotoDecoder` below carry that small print; everything else is the house's.

Two layouts are known: Moto's folder (config.yaml, pytorch_model.bin; `m_former`) and LARA's (config.json,
model.safetensors; `m_former_config`). Neither holds the MAE encoder, which comes from timm.

The release feeds the M-Former patches in a random order, another one for each frame and call (the Hugging Face ViTMAE
shuffles even at mask ratio 0). Here patches keep their order, which is one of those orders: z is one of the values
that the release could have given, and always the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lara.config.build import build
from lara.errors import CheckpointError
from lara.lam.decoders.pixel import PixelDecoder
from lara.lam.encoders.timm_vit import TimmEncoder
from lara.lam.former import MFormer
from lara.lam.model import LatentActionModel
from lara.lam.moto_files import read_config, read_tensors, size
from lara.nn.images import PixelNormalizer
from lara.nn.mlp import MLP

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MAE_OF_WIDTH = {768: "vit_base_patch16_224.mae", 1024: "vit_large_patch16_224.mae", 1280: "vit_huge_patch14_224.mae"}


class MotoEncoder(TimmEncoder):
    """A timm MAE ViT whose class token stays: (N, 3, h, w) uint8 -> (N, 1 + P, width).

    mean, std: of the pixels that the checkpoint was trained on, ImageNet's unless its training left them in [0, 1].
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        name: str,
        weights: str,
        image_size: int | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(name=name, weights=weights, image_size=image_size)
        self.normalizer = PixelNormalizer(tuple(mean), tuple(std))
        self.tokens += self.vit.num_prefix_tokens

    def _encode(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        if x.shape[-1] != self.image_size or x.shape[-2] != self.image_size:
            x = F.interpolate(x, size=(self.image_size, self.image_size), mode="bilinear", antialias=True)
        tokens: Tensor = self.vit.forward_features(x)
        return tokens


class MotoFormer(MFormer):
    """MFormer with the release's feed-forward width, exact GELU and LayerNorm eps."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, width: int, hidden: int, eps: float, **sizes: Any) -> None:
        super().__init__(width=width, **sizes)
        _small_print(self.trunk, width=width, hidden=hidden, eps=eps)


class MotoDecoder(PixelDecoder):
    """PixelDecoder with the release's small print, in pixels normalised by mean and std."""

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        width: int,
        hidden: int,
        eps: float,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        **sizes: Any,
    ) -> None:
        super().__init__(width=width, **sizes)
        self.normalizer = PixelNormalizer(tuple(mean), tuple(std))
        _small_print(self.trunk, width=width, hidden=hidden, eps=eps)


class _ExactMLP(MLP):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


def _small_print(trunk: Any, *, width: int, hidden: int, eps: float) -> None:
    for block in trunk.blocks:
        block.mlp = _ExactMLP(width, hidden)
    for module in trunk.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


def load_moto(
    path: str | Path,
    *,
    encoder: nn.Module | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> LatentActionModel:
    """The latent action model of a released checkpoint folder, in eval mode.

    encoder: a ready-made frame encoder with `tokens` and `width`; the MAE that the config names, from timm's hub
        cache or download, when not given. mean, std: of the pixels, see `MotoEncoder`; LARA's stage 1 alone used
        mean 0 and std 1, everything else ImageNet's.
    Raises CheckpointError for a folder that is not such a checkpoint: foreign classes, other options, pickled code,
    missing, left-over or ill-shaped tensors.
    """
    config = moto_config(path, mean=mean, std=std)
    tensors, known = read_tensors(Path(path)), read_config(Path(path))
    if encoder is None:
        encoder = build(config["encoder"], "model")
    want = (size(known["m_former"], "num_patches"), size(known["m_former"], "input_hidden_size"))
    if (encoder.tokens, encoder.width) != want:
        raise CheckpointError(
            f"{path}: expected an encoder of {want[0]} tokens of width {want[1]} (class token included), got "
            f"{encoder.tokens} of width {encoder.width}"
        )
    made = {part: build(config[part], "model") for part in ("former", "space", "decoder")}
    lam = LatentActionModel(encoder=encoder, queries=config["queries"], **made)
    translated = _translated(tensors, known, str(path))
    for part in ("former", "decoder"):
        _fill(getattr(lam, part), translated[part], f"{path}: {part}")
    _fill(lam.space, translated["space"], f"{path}: space")
    return lam.eval()


def moto_config(
    path: str | Path, *, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> dict[str, Any]:
    """The checkpoint's architecture as a configuration of this project (conf/lam). Raises CheckpointError."""
    known = read_config(Path(path))
    former, decoder = known["m_former"], known["decoder"]
    width = size(former, "input_hidden_size")
    if width not in _MAE_OF_WIDTH:
        raise CheckpointError(f"{path}: expected a MAE ViT of width {sorted(_MAE_OF_WIDTH)}, got {width}")
    pixels = {"mean": list(mean), "std": list(std)}
    return {
        "_target_": "lara.lam.model.LatentActionModel",
        "queries": size(former, "query_num"),
        "encoder": {
            "_target_": "lara.lam.moto.MotoEncoder",
            "name": _MAE_OF_WIDTH[width],
            "weights": "hub",
            **pixels,
        },
        "former": {"_target_": "lara.lam.moto.MotoFormer", "_partial_": True, **_transformer(former)},
        "space": _quantizer(known["vector_quantizer"]),
        "decoder": {
            "_target_": "lara.lam.moto.MotoDecoder",
            "_partial_": True,
            "image_size": size(decoder, "image_size"),
            "patch": size(decoder, "patch_size"),
            **_transformer(decoder),
            **pixels,
        },
    }


def _quantizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """Unless their config says not to (`legacy: false`), Moto and LARA put beta on the codebook term."""
    sizes = {"dim": size(config, "e_dim"), "codes": size(config, "n_e")}
    if config.get("legacy", True):
        return {"_target_": "lara.latents.moto_vq.MotoVQSpace", **sizes, "beta": float(config.get("beta", 0.25))}
    # the two terms stand apart, so that beta is the stage's weight of "commitment"; dead codes are left alone
    return {"_target_": "lara.latents.vq.VQSpace", **sizes, "gradient": True, "revive_below": 0}


def _transformer(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width": size(config, "hidden_size"),
        "heads": size(config, "num_attention_heads"),
        "layers": size(config, "num_hidden_layers"),
        "hidden": size(config, "intermediate_size"),
        "eps": float(config.get("layer_norm_eps", 1e-12)),
    }


def _translated(tensors: dict[str, Tensor], known: Mapping[str, Any], path: str) -> dict[str, dict[str, Tensor]]:
    """{"former", "space", "decoder"}: state dicts in this project's names. Every tensor is used, or it is an error."""
    rest = dict(tensors)

    def take(name: str) -> Tensor:
        if name not in rest:
            raise CheckpointError(f"{path}: the tensor {name} is missing")
        return rest.pop(name)

    def layer(old: str, new: str) -> dict[str, Tensor]:
        return {f"{new}.{kind}": take(f"{old}.{kind}") for kind in ("weight", "bias")}

    def trunk(old: str, layers: int) -> dict[str, Tensor]:
        out = layer(f"{old}.layernorm", "trunk.norm")
        for k in range(layers):
            there, here = f"{old}.encoder.layer.{k}", f"trunk.blocks.{k}"
            out |= layer(f"{there}.layernorm_before", f"{here}.norm_attention")
            out |= layer(f"{there}.layernorm_after", f"{here}.norm_mlp")
            out |= layer(f"{there}.attention.attention.query", f"{here}.attention.query")
            out |= layer(f"{there}.attention.output.dense", f"{here}.attention.out")
            for kind in ("weight", "bias"):
                both = [take(f"{there}.attention.attention.{side}.{kind}") for side in ("key", "value")]
                out[f"{here}.attention.key_value.{kind}"] = torch.cat(both)
            out |= layer(f"{there}.intermediate.dense", f"{here}.mlp.up")
            out |= layer(f"{there}.output.dense", f"{here}.mlp.down")
        return out

    embeddings = "m_former.embeddings"
    types = take(f"{embeddings}.token_type_embeddings")
    # type 0 stands on everything, type 1 (where it is used at all) on the future frame only: folded into positions
    legacy = known["m_former"].get("legacy", True)
    future = torch.zeros_like(types[0]) if legacy else types[1] - types[0]
    former = {
        "queries": take(f"{embeddings}.latent_motion_token"),
        "separator": take(f"{embeddings}.sep_token"),
        "positions": take(f"{embeddings}.position_embeddings") + types[0],
        "frame_type": torch.stack([torch.zeros_like(future), future])[:, None, None],
        **layer(f"{embeddings}.projection", "project"),
        **trunk("m_former", known["m_former"]["num_hidden_layers"]),
        **layer("vq_down_resampler.0", "down.0"),
        **layer("vq_down_resampler.2", "down.2"),
    }
    inner = "decoder.transformer.embeddings"
    head = layer("decoder.decoder.0", "head")
    decoder = {
        "positions": take(f"{inner}.position_embeddings"),
        **layer(f"{inner}.patch_embeddings.projection", "embed.projection"),
        **layer(f"{inner}.query_pooling_layer", "fuse"),
        **trunk("decoder.transformer", known["decoder"]["num_hidden_layers"]),
        **layer("vq_up_resampler.0", "up.0"),
        **layer("vq_up_resampler.2", "up.2"),
        # a 1x1 convolution is a linear layer, and PixelShuffle's channel order is ours
        **head,
        "head.weight": head["head.weight"].flatten(1),
    }
    codes = take("vector_quantizer.embedding.weight")
    legacy_codes = known["vector_quantizer"].get("legacy", True)
    space = {"embedding.weight": codes} if legacy_codes else {"quantizer._codebook.embed": codes[None]}
    if rest:
        raise CheckpointError(f"{path}: {len(rest)} tensors of unknown meaning (first: {sorted(rest)[:3]})")
    return {"former": former, "space": space, "decoder": decoder}


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Every parameter from `tensors`; buffers (pixel statistics, the quantiser's counters) stay as built."""
    own = module.state_dict()
    missing = sorted({name for name, _ in module.named_parameters()} - set(tensors))
    wrong = sorted(name for name, t in tensors.items() if name not in own or own[name].shape != t.shape)
    if missing or wrong:
        raise CheckpointError(f"{where}: not filled: {missing[:3]}; of another name or shape: {wrong[:3]}")
    module.load_state_dict({**own, **tensors})
